/**
 * A session whose content is its user's own, on the whole network in processes: its policy names the
 * user's Kubo, a second real one. That is killed in the middle and comes back after the close; a worker
 * and the engine's own Kubo are killed on the way.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { readIdentityFile } from '../../adapters/seal/identity-file.js';
import { startWholeNetwork, type WholeNetwork } from '../../bench/network/whole-network.js';
import { USER_SINK } from '../../cli/up/network.js';
import { openParties } from '../../cli/up/parties.js';
import { findEngineError } from '../../domain/errors.js';
import type { ExportView } from '../../domain/export.js';
import type { Cid } from '../../domain/ids.js';
import { CortensorClient, type Answer, type SessionHandle } from '../../sdk/index.js';
import { startKubo } from '../../servers/start/index.js';
import { api, type RunningKubo } from '../adapters/ipfs/kubo-fixture.js';

const END_MS = 120_000;

let network: WholeNetwork;
let client: CortensorClient;
let data: string;
let theirs: RunningKubo;
let session: SessionHandle;
const answers: Answer[] = [];

before(async () => {
  data = await mkdtemp(join(tmpdir(), 'cortensor-hosting-'));
  theirs = await startKubo({ data: join(data, 'theirs') });
  const { user } = await openParties(join(data, 'network'));
  await writeFile(
    join(data, 'temporal.yaml'),
    `
router: { port: 0, firstToken: 5s }
settlement: { maxTasks: 20, maxAge: 1s }
models: [{ name: scripted, pricePerTokenWei: '1000000000000' }]
hosts:
  mine: { kind: kubo, url: '${theirs.apiUrl}', allowPrivate: true, owners: ['wallet:${user.address.toLowerCase()}'] }
`,
  );
  network = await startWholeNetwork({
    data: join(data, 'network'),
    config: join(data, 'temporal.yaml'),
    workers: 1,
    routers: 1,
    miners: [['echo', 'echo', 'echo']],
    users: 2,
    exitSeconds: 60,
    confirmations: 0,
  });
  const { identity } = await readIdentityFile(join(data, 'network', 'keys', 'user.age'));
  const [baseUrl = ''] = network.routerUrls;
  client = new CortensorClient({ baseUrl, apiKey: network.apiKey, identity });
});
after(async () => {
  await network.stop();
  await theirs.stop();
  await rm(data, { recursive: true, force: true });
});

const policy = {
  model: 'scripted',
  level: 'sealed',
  redundancy: 2,
  maxMiners: 3,
  priceCeilingWei: '1000000000000',
  host: 'mine',
  sinks: [USER_SINK],
} as const;
const depositWei = 10n ** 18n;

async function ask(prompt: string): Promise<Answer> {
  const messages = [{ role: 'user', content: prompt }] as const;
  const answer = await session.ask({ messages, maxTokens: 64 }).done;
  assert.ok(answer.text.includes(prompt));
  answers.push(answer);
  return answer;
}

async function until(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + END_MS; !(await isTrue()); await delay(200)) {
    assert.ok(Date.now() < deadline, `not in time: ${what}`);
  }
}

const hostOf = async () => (await session.view()).host ?? assert.fail('it has a host');
/** `null` until it has begun, which comes after the close. */
async function exportOf(): Promise<ExportView | null> {
  try {
    return await session.exportView(USER_SINK);
  } catch (error) {
    if (findEngineError(error)?.code === 'EXPORT_NOT_FOUND') return null;
    throw error;
  }
}

const contentOf = ({ requestCid, resultCids }: Answer): Cid[] => [requestCid, ...resultCids];

async function areAt(kubo: { readonly apiUrl: string }, cids: readonly Cid[]): Promise<boolean[]> {
  await until('a Kubo that was killed', async () => {
    return await api(kubo, 'version').then(
      () => true,
      () => false,
    );
  });
  await api(kubo, 'repo/gc');
  const found = cids.map(async (cid) => {
    return (await api(kubo, `block/stat?arg=${cid}&offline=true`)).includes('"Size"');
  });
  return await Promise.all(found);
}

function kill(name: string): void {
  process.kill(network.supervisor.pid(name) ?? assert.fail(name), 'SIGKILL');
}

test("a store is for its owner's sessions alone, and for none whose content is open", async () => {
  const signer = network.users[1]?.wallet ?? assert.fail();
  const stranger = client.openSession({ signer, policy, depositWei });
  await assert.rejects(stranger, { code: 'POLICY_INVALID' });
  const owner = network.users[0]?.wallet ?? assert.fail();
  for (const change of [{ host: 'nobodys' }, { level: 'open' as const }]) {
    const refused = client.openSession({
      signer: owner,
      policy: { ...policy, ...change },
      depositWei,
    });
    await assert.rejects(refused, { code: 'POLICY_INVALID' });
  }
});

test("what is asked and answered goes to the user's store, and leaves the engine's", async () => {
  const signer = network.users[0]?.wallet ?? assert.fail();
  session = await client.openSession({ signer, policy, depositWei });
  const first = await ask('the first question');
  assert.equal(first.hostCode, undefined);
  await until('the move', async () => (await hostOf()).held === 1);
  const content = contentOf(first);
  assert.ok(content.length > 1);
  assert.deepEqual(
    await areAt(theirs, content),
    content.map(() => true),
  );
  assert.deepEqual(
    await areAt(network.config.ipfs, content),
    content.map(() => false),
  );
  const [record] = await session.tasks();
  assert.deepEqual(record?.host, { state: 'held', code: null });
  assert.equal((await session.answer(record ?? assert.fail())).text, first.text, 'read from there');
});

test('while it is away, that is said, answers wait, miners are paid, and nothing is lost', async () => {
  await theirs.stop();
  await ask('the second question');
  await until('the word that it is away', async () => (await hostOf()).code === 'HOST_UNREACHABLE');
  const third = await ask('the third question');
  assert.equal(third.hostCode, 'HOST_UNREACHABLE');
  const records = await session.tasks();
  assert.deepEqual(records[2]?.host, { state: 'waiting', code: 'HOST_UNREACHABLE' });
  const gone = session.answer(records[0] ?? assert.fail());
  await assert.rejects(gone, { code: 'HOST_UNREACHABLE' }, 'away is not: not there');
  const there = await session.answer(records[1] ?? assert.fail());
  assert.equal(there.text, answers[1]?.text, 'what waits can be read');

  kill('worker-1');
  kill('ipfs');
  await session.close();
  await session.waitUntil('Closed', { timeoutMs: END_MS });
  const view = await session.view();
  assert.equal(view.tasks.settled, 3);
  assert.equal(view.host?.waiting, 2);
  await until('the word that the export waits', async () => {
    return (await exportOf())?.lastError === 'HOST_UNREACHABLE';
  });
  const waiting = answers.slice(1).flatMap(contentOf);
  assert.deepEqual(
    await areAt(network.config.ipfs, waiting),
    waiting.map(() => true),
  );
});

test('when it is back, all arrives, though the session is closed', async () => {
  theirs = await startKubo({ data: join(data, 'theirs') });
  await until('the rest', async () => (await hostOf()).waiting === 0);
  const { held, givenUp, code } = await hostOf();
  assert.deepEqual([held, givenUp, code], [3, 0, null]);
  const content = answers.flatMap(contentOf);
  assert.deepEqual(
    await areAt(theirs, content),
    content.map(() => true),
  );
  assert.deepEqual(
    await areAt(network.config.ipfs, content),
    content.map(() => false),
  );
  for (const record of await session.tasks()) {
    const answer = await session.answer(record);
    assert.equal(answer.text, answers[record.ordinal]?.text);
  }
  await until('the export', async () => (await exportOf())?.state === 'Done');
});

test("an erasure destroys the keys, and names the user's store, where sealed copies are left", async () => {
  await until('the manifest', async () => (await session.view()).manifestCid !== null);
  await session.erase();
  await until('the receipt', async () => (await session.erasure()).signed !== null);
  const { signed } = await session.erasure();
  assert.equal(signed?.receipt.host, 'mine');
  assert.equal(signed.receipt.keyrings.length, 1);
  const content = answers.flatMap(contentOf);
  assert.deepEqual(
    await areAt(theirs, content),
    content.map(() => true),
  );
  assert.deepEqual(await areAt(theirs, signed.receipt.keyrings), [false], 'never delivered');
});
