import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createIpfsActivities, type IpfsActivityDeps } from '../../activities/ipfs.js';
import { migrate } from '../../adapters/database/migrate.js';
import { openPinLedger } from '../../adapters/database/pin-ledger.js';
import { openPool } from '../../adapters/database/pool.js';
import { getJson, openBlockStore, putJson } from '../../adapters/ipfs/block-store.js';
import { cidOf } from '../../adapters/ipfs/cid.js';
import { openHeldStore, type HeldStore } from '../../adapters/ipfs/held-store.js';
import { openHost, type Host } from '../../adapters/ipfs/host.js';
import { sessionHolder } from '../../domain/content.js';
import { EngineError } from '../../domain/errors.js';
import type { Delivery } from '../../domain/hosting.js';
import type { Cid, SessionId } from '../../domain/ids.js';
import { startTestPostgres, type TestPostgres } from '../adapters/database/postgres.js';
import { openBucket } from '../adapters/ipfs/bucket-fixture.js';
import { api, Fixture, pattern, type RunningKubo } from '../adapters/ipfs/kubo-fixture.js';
import { activityEnvironment } from './environment.js';

const CREDENTIALS = 'AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY';

let fixture: Fixture;
let postgres: TestPostgres;
let ours: RunningKubo;
let theirs: RunningKubo;
let pool: ReturnType<typeof openPool>;
let store: HeldStore;
/** The stores of users, by name; some are not what they should be. */
const hosts = new Map<string, Host>();
let objects: Map<string, Buffer>;

before(async () => {
  [fixture, postgres] = await Promise.all([Fixture.create(), startTestPostgres()]);
  [ours, theirs] = await Promise.all([fixture.kubo('ours'), fixture.kubo('theirs')]);
  pool = openPool(await postgres.createDatabase());
  await migrate(pool);
  const bucket = await openBucket(fixture, CREDENTIALS);
  objects = bucket.objects;
  hosts.set('kubo', host('kubo', theirs.apiUrl));
  hosts.set('bucket', host('s3', bucket.url));
  store = openHeldStore(openBlockStore({ apiUrl: ours.apiUrl, timeoutMs: 10_000 }), {
    ledger: openPinLedger(pool),
    openHost: async (name) => hosts.get(name) ?? assert.fail(name),
  });
});
after(async () => {
  await pool.end();
  await Promise.all([fixture.close(), postgres.stop()]);
});

function host(kind: 'kubo' | 's3', url: string): Host {
  const options = { name: 'mine', timeoutMs: 5_000, credentials: CREDENTIALS };
  return openHost({ kind, url, region: 'auto', allowPrivate: true }, options);
}

const activities = () =>
  createIpfsActivities({
    store,
    readJson: (cid, parse) => getJson(store, cid, parse),
    copyTo: store.copyTo,
  } as Partial<IpfsActivityDeps> as IpfsActivityDeps);

/** Brings tasks to a host, as a worker does. */
function deliver(
  sessionId: SessionId,
  name: string,
  laid: readonly LaidTask[],
  letGo: boolean,
): Promise<void> {
  const tasks = laid.map(({ delivery }) => ({ ...delivery, letGo }));
  const input = { sessionId, host: name, tasks };
  return activityEnvironment().run(activities().deliverTasks, input) as Promise<void>;
}

interface LaidTask {
  readonly delivery: Delivery;
  /** Request and results. */
  readonly content: readonly Cid[];
  readonly evidence: Cid;
}

let seed = 1;
/** A task as its router lays it down on our nodes, with contents that no other has. */
async function layTask(sessionId: SessionId): Promise<LaidTask> {
  const holder = sessionHolder(sessionId);
  const put = () => store.put(pattern(900, ++seed), { holder });
  const content = [await put(), await put(), await put()];
  const [requestCid = '', ...results] = content;
  const commitments = results.map((resultCid) => ({ resultCid }));
  const evidence = await putJson(store, { sessionId, seed, commitments }, { holder });
  const delivery = { taskId: '0x01', requestCid, evidenceCid: evidence, letGo: false } as const;
  return { delivery, content, evidence };
}

async function areAt(kubo: RunningKubo, cids: readonly Cid[]): Promise<boolean[]> {
  await api(kubo, 'repo/gc');
  const found = cids.map(async (cid) => {
    return (await api(kubo, `block/stat?arg=${cid}&offline=true`)).includes('"Size"');
  });
  return await Promise.all(found);
}

const all = (cids: readonly unknown[], is: boolean): boolean[] => cids.map(() => is);

for (const name of ['kubo', 'bucket']) {
  test(`${name}: content is copied first, moves when it may, and is read from there then`, async () => {
    const task = await layTask('1');
    const before = await Promise.all(task.content.map((cid) => store.get(cid)));
    const isHeld = (cid: Cid): Promise<boolean> => {
      if (name === 'bucket') return Promise.resolve(objects.has(`/bucket/${cid}`));
      return areAt(theirs, [cid]).then(([is = false]) => is);
    };
    await deliver('1', name, [task], false);
    for (const cid of [...task.content, task.evidence]) assert.equal(await isHeld(cid), true);
    assert.deepEqual(await areAt(ours, task.content), all(task.content, true));

    await deliver('1', name, [task], true);
    await deliver('1', name, [task], true);
    assert.deepEqual(await areAt(ours, task.content), all(task.content, false), 'we keep CIDs');
    assert.deepEqual(await areAt(ours, [task.evidence]), [true], 'and what holds no content');
    const after = await Promise.all(task.content.map((cid) => store.get(cid)));
    assert.deepEqual(after.map(Buffer.from), before.map(Buffer.from));
  });
}

test('a host that is killed in the middle and comes back has all of it, and nothing is lost meanwhile', async () => {
  const tasks = await Promise.all(Array.from({ length: 6 }, () => layTask('2')));
  const contents = tasks.flatMap(({ content }) => content);
  const real = host('kubo', theirs.apiUrl);
  let puts = 0;
  hosts.set('killed', {
    get: (cid, options) => real.get(cid, options),
    put: async (bytes, options) => {
      if (++puts === 8) await theirs.stop();
      return await real.put(bytes, options);
    },
  });
  await assert.rejects(deliver('2', 'killed', tasks, true), { type: 'HOST_UNREACHABLE' });
  const held = await Promise.allSettled(contents.map((cid) => store.get(cid)));
  const away = held.filter((one) => one.status === 'rejected');
  assert.ok(away.length > 0 && away.length < contents.length, `${away.length} moved`);
  for (const { reason } of away) {
    assert.equal((reason as { readonly code?: string }).code, 'HOST_UNREACHABLE', 'not: missing');
  }
  const here = contents.filter((_, i) => held[i]?.status === 'fulfilled');
  assert.deepEqual(await areAt(ours, here), all(here, true));

  theirs = await fixture.kubo('theirs');
  hosts.set('killed', host('kubo', theirs.apiUrl));
  await deliver('2', 'killed', tasks, true);
  assert.deepEqual(await areAt(theirs, contents), all(contents, true));
  assert.deepEqual(await areAt(ours, contents), all(contents, false));
});

test('a host that takes what it does not keep, or keeps other bytes, is no home: we keep them', async () => {
  const kept = new Map<Cid, Uint8Array>();
  const liar = (keep: (bytes: Uint8Array) => Uint8Array | null): Host => ({
    put: async (bytes) => {
      const copy = keep(bytes);
      if (copy !== null) kept.set(cidOf(bytes), copy);
      return cidOf(bytes);
    },
    get: async (cid) => {
      const found = kept.get(cid);
      if (found === undefined) throw new EngineError('CONTENT_MISSING', { cid });
      if (cidOf(found) !== cid) throw new EngineError('CONTENT_MISMATCH', { cid });
      return found;
    },
  });
  hosts.set(
    'forgets',
    liar(() => null),
  );
  hosts.set(
    'alters',
    liar((bytes) => bytes.with(0, (bytes[0] ?? 0) ^ 1)),
  );
  for (const name of ['forgets', 'alters']) {
    const task = await layTask('3');
    await assert.rejects(deliver('3', name, [task], true), { type: 'HOST_UNREACHABLE' });
    assert.deepEqual(await areAt(ours, task.content), all(task.content, true));
  }
});

test('what was given up meanwhile is not brought anywhere, and the rest goes on', async () => {
  const [gone, there] = [await layTask('4'), await layTask('4')];
  const [request = ''] = gone.content;
  const holder = sessionHolder('4');
  for (const cid of [...gone.content, gone.evidence]) await store.unpin(cid, { holder });
  // Its blocks still lie there, until somebody collects them.
  await deliver('4', 'bucket', [gone, there], true);
  assert.equal(objects.has(`/bucket/${request}`), false);
  for (const cid of there.content) assert.equal(objects.has(`/bucket/${cid}`), true);
});

test("a session's own host takes nothing of another session's away", async () => {
  const victim = await layTask('5');
  const holder = sessionHolder('6');
  const [request = ''] = victim.content;
  await store.put(await store.get(request), { holder });
  const taken = { ...victim.delivery, evidenceCid: null, letGo: true };
  const input = { sessionId: '6', host: 'bucket', tasks: [taken] };
  await activityEnvironment().run(activities().deliverTasks, input);
  assert.equal(objects.has(`/bucket/${request}`), true);
  assert.deepEqual(await areAt(ours, victim.content), all(victim.content, true));
  await activityEnvironment().run(activities().giveUpTasks, { sessionId: '6', tasks: [taken] });
  assert.deepEqual(await areAt(ours, victim.content), all(victim.content, true));
});

test('what no host has taken in time is given up, and evidence stays', async () => {
  const task = await layTask('7');
  const input = { sessionId: '7', tasks: [task.delivery] };
  await activityEnvironment().run(activities().giveUpTasks, input);
  await activityEnvironment().run(activities().giveUpTasks, input);
  assert.deepEqual(await areAt(ours, task.content), all(task.content, false));
  assert.deepEqual(await areAt(ours, [task.evidence]), [true]);
});
