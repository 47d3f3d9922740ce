import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { createErasureActivities, type ErasureActivityDeps } from '../../activities/erasure.js';
import { createIpfsActivities, type IpfsActivityDeps } from '../../activities/ipfs.js';
import { migrate } from '../../adapters/database/migrate.js';
import { openPinLedger } from '../../adapters/database/pin-ledger.js';
import { openPool, query } from '../../adapters/database/pool.js';
import { getJson, openBlockStore, putJson } from '../../adapters/ipfs/block-store.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { cidOf } from '../../adapters/ipfs/cid.js';
import { openHeldStore, type HeldStore } from '../../adapters/ipfs/held-store.js';
import { putDocument } from '../../adapters/ipfs/manifest.js';
import { sessionHolder } from '../../domain/content.js';
import type { Cid } from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import { startTestPostgres, type TestPostgres } from '../adapters/database/postgres.js';
import { api, Fixture, pattern, type RunningKubo } from '../adapters/ipfs/kubo-fixture.js';

const VICTIM = '101';
const ATTACKER = '202';
const text = (value: string) => new TextEncoder().encode(value);

let fixture: Fixture;
let postgres: TestPostgres;
let kubo: RunningKubo;
let pool: ReturnType<typeof openPool>;
let store: HeldStore;
before(async () => {
  [fixture, postgres] = await Promise.all([Fixture.create(), startTestPostgres()]);
  kubo = await fixture.kubo('ours');
  pool = openPool(await postgres.createDatabase());
  await migrate(pool);
  store = openHeldStore(openBlockStore({ apiUrl: kubo.apiUrl, timeoutMs: 10_000 }), {
    ledger: openPinLedger(pool),
    openHost: () => Promise.reject(new Error('no host is asked for')),
  });
});
after(async () => {
  await pool.end();
  await Promise.all([fixture.close(), postgres.stop()]);
});

/** What the workers do for a session that is released or erased, on these servers. */
function engine() {
  const ipfs = createIpfsActivities({
    store,
    readJson: (cid, parse) => getJson(store, cid, parse),
    putDocument: (value, holder) => putDocument(store, value, { holder }),
    encodeJson,
  } as Partial<IpfsActivityDeps> as IpfsActivityDeps);
  const erasure = createErasureActivities({
    removeBlock: (cid, holder) => store.remove(cid, { holder }),
  } as Partial<ErasureActivityDeps> as ErasureActivityDeps);
  return { ...ipfs, ...erasure };
}

/** A session's one task as its router lays it down: the request, what two miners said, the evidence. */
async function layTask(sessionId: string, request: Uint8Array, results: readonly Uint8Array[]) {
  const holder = sessionHolder(sessionId);
  const requestCid = await store.put(request, { holder });
  const commitments: { resultCid: Cid }[] = [];
  for (const result of results)
    commitments.push({ resultCid: await store.put(result, { holder }) });
  const evidenceCid = await putJson(store, { sessionId, commitments }, { holder });
  const record = { taskId: '0x01', ordinal: 0, requestCid, evidenceCid } as unknown as TaskRecord;
  const page = await engine().archiveTasks({ sessionId, previous: null, records: [record] });
  return { requestCid, evidenceCid, page, results: commitments.map((one) => one.resultCid) };
}

/** Whether blocks outlast a garbage collection. */
async function areThere(cids: readonly Cid[]): Promise<boolean[]> {
  await api(kubo, 'repo/gc');
  const found = cids.map(async (cid) => {
    const answer = await api(kubo, `block/stat?arg=${cid}&offline=true`);
    return answer.includes('"Size"');
  });
  return await Promise.all(found);
}

test("a client that sends another session's blocks as its own cannot have them unpinned", async () => {
  const sealed = { request: pattern(500, 3), result: pattern(700, 4) };
  const victim = await layTask(VICTIM, sealed.request, [sealed.result]);
  // All of it is public by its CIDs: request, result, and the evidence as a result of a miner of theirs.
  const evidence = await store.get(victim.evidenceCid);
  const page = await store.get(victim.page);
  const first = await layTask(ATTACKER, sealed.request, [sealed.result, evidence]);
  assert.equal(first.requestCid, victim.requestCid);
  const second = await layTask(ATTACKER, sealed.result, [page]);
  for (const taken of [first, second]) {
    assert.equal(await engine().releaseTasks({ page: taken.page, from: 0 }), null);
    assert.equal(await engine().releaseTasks({ page: taken.page, from: 0 }), null, 'once more');
  }
  const theirs = [victim.requestCid, victim.evidenceCid, victim.page, ...victim.results];
  assert.deepEqual(await areThere(theirs), [true, true, true, true]);
  assert.deepEqual(await areThere([first.evidenceCid]), [false], 'their own goes');

  assert.equal(await engine().releaseTasks({ page: victim.page, from: 0 }), null);
  assert.deepEqual(
    await areThere([victim.requestCid, victim.evidenceCid, ...victim.results]),
    [false, false, false],
    'the last who needed them has given them up',
  );
});

test('nobody can keep, or take away, the keys of another session', async () => {
  const holder = sessionHolder(VICTIM);
  const file = text('age-encryption.org/v1 the keyring of the victim');
  const keyring = await store.put(file, { holder, isKey: true });
  const theirs = { holder: sessionHolder(ATTACKER) };
  // As a keyring, to destroy it with; as a request, to keep it from being destroyed.
  await assert.rejects(store.put(file, { ...theirs, isKey: true }), { code: 'REQUEST_INVALID' });
  await assert.rejects(store.put(file, theirs), { code: 'REQUEST_INVALID' });
  await engine().destroyKeys({ sessionId: ATTACKER, keyrings: [keyring] });
  assert.deepEqual(await areThere([keyring]), [true]);

  const request = await store.put(text('a sealed request'), { holder });
  const asKey = store.put(text('a sealed request'), { ...theirs, isKey: true });
  await assert.rejects(asKey, { code: 'REQUEST_INVALID' });
  await engine().destroyKeys({ sessionId: ATTACKER, keyrings: [request] });
  assert.deepEqual(await areThere([request]), [true]);

  assert.equal(await store.put(file, { holder, isKey: true }), keyring, 'its own, once more');
  await engine().destroyKeys({ sessionId: VICTIM, keyrings: [keyring] });
  assert.deepEqual(await areThere([keyring]), [false]);
});

test('what the engine needs for itself stays, whoever sends the same bytes', async () => {
  const policy = await store.put(text('{"a":"policy"}'));
  const manifest = await putDocument(store, { kind: 'session', policy: { cid: policy } });
  const asBytes = await store.get(manifest);
  const theirs = { holder: sessionHolder(ATTACKER) };
  for (const bytes of [text('{"a":"policy"}'), asBytes]) {
    const cid = await store.put(bytes, theirs);
    await store.unpin(cid, theirs);
    await store.remove(cid, theirs);
  }
  assert.deepEqual(await areThere([policy, cidOf(asBytes)]), [true, true]);
});

test('a release that fails leaves the need as it was, and is made up for', async () => {
  const holder = sessionHolder(VICTIM);
  const ledger = openPinLedger(pool);
  const cid = cidOf(text('given up twice'));
  await ledger.hold({ cid, holder, isKey: false });
  const away = () => Promise.reject(new Error('away'));
  await assert.rejects(ledger.release(holder, cid, away), /away/);
  assert.equal(await ledger.isHeld(holder, cid), true);
  let calls = 0;
  const letGo = async () => void calls++;
  await ledger.release(holder, cid, letGo);
  await ledger.release(holder, cid, letGo);
  assert.equal(calls, 1);
  assert.equal(await ledger.find(cid), null);
});

test('nobody pins a block while it is being unpinned', async () => {
  const ledger = openPinLedger(pool);
  const cid = cidOf(text('contended'));
  await ledger.hold({ cid, holder: 'x', isKey: false });
  const order: string[] = [];
  let held: Promise<void> = Promise.resolve();
  await ledger.release('x', cid, async () => {
    held = ledger.hold({ cid, holder: 'y', isKey: false }).then(() => void order.push('held'));
    for (let isWaiting = false; !isWaiting && order.length === 0;) {
      const waiting = await query(pool, `select from pg_locks where not granted`);
      isWaiting = waiting.length > 0;
    }
    order.push('unpinned');
  });
  await held;
  assert.deepEqual(order, ['unpinned', 'held']);
  assert.equal(await ledger.isHeld('y', cid), true);
});

test('whoever needs a block finds it pinned, however needs begin and end at once', async () => {
  const ledgers = [openPinLedger(pool), openPinLedger(pool)];
  const cids = ['a', 'b', 'c'].map((name) => cidOf(text(`raced ${name}`)));
  const steps = fc.array(
    fc.record({
      holder: fc.constantFrom('x', 'y', 'z'),
      block: fc.nat({ max: 2 }),
      of: fc.nat({ max: 1 }),
      isEnd: fc.boolean(),
    }),
    { minLength: 5, maxLength: 40 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async (given) => {
      await query(pool, `delete from engine.pin`);
      const pinned = new Set<Cid>();
      await Promise.all(
        given.map(async ({ holder, block, of, isEnd }) => {
          const ledger = ledgers[of];
          const cid = cids[block];
          if (ledger === undefined || cid === undefined) return;
          if (isEnd) {
            await ledger.release(holder, cid, async () => {
              await new Promise(setImmediate);
              pinned.delete(cid);
            });
          } else {
            await ledger.hold({ cid, holder, isKey: false });
            pinned.add(cid);
          }
        }),
      );
      const rows = await query<{ cid: Cid }>(pool, `select distinct cid from engine.pin`);
      for (const { cid } of rows) assert.ok(pinned.has(cid));
    }),
    { numRuns: Number(process.env['CORTENSOR_PIN_RUNS'] ?? 25) },
  );
});
