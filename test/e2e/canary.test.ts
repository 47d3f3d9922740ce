/**
 * Nothing that is sealed by the client lies anywhere in plain. On the whole network in processes,
 * sessions at `sealed` and `sealed-pq` ask with a canary that the answer repeats, stream, export to the
 * user's PostgreSQL, close and settle. Then these are searched for it, also in UTF-16, hex and base64:
 * every file of the data folder (PostgreSQL, Kubo, Temporal, the chains' states, all logs, all keys), once
 * everything has ended in order and so written what it had; every Temporal history, decrypted; every
 * row of the sink; what the router tells of itself, the sessions and their tasks; and the memory of the
 * running routers and workers, and core dumps of both (Linux). Miners and oracles are readers.
 * What is compressed would not be found: none of the servers compresses what it stores of this size.
 * Each search must find what is there: another canary, from a session at `open` and from the
 * environment of all processes.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { readIdentityFile } from '../../adapters/seal/identity-file.js';
import { readSecret } from '../../adapters/seal/secret.js';
import { startWholeNetwork, type WholeNetwork } from '../../bench/network/whole-network.js';
import { USER_SINK } from '../../cli/up/network.js';
import type { SealingLevel } from '../../domain/sealing.js';
import { CortensorClient, type SessionHandle } from '../../sdk/index.js';
import {
  dumpCore,
  fileHolding,
  filesHolding,
  formsOf,
  holds,
  memoryHolding,
  whyNoCoreDumps,
} from '../support/canary.js';
import { readHistories } from '../support/evidence.js';

const CONFIG = `
router: { port: 0, firstToken: 5s }
settlement: { maxTasks: 20, maxAge: 1s }
models: [{ name: scripted, pricePerTokenWei: '1000000000000' }]
`;
const END_MS = 60_000;
const SEALED = `canary-${randomBytes(12).toString('hex')}`;
const PLAIN = `planted-${randomBytes(12).toString('hex')}`;
const PLANTED_ENVIRONMENT = `environment-${randomBytes(12).toString('hex')}`;
const VARIABLE = 'CORTENSOR_TEST_PLANTED';
const TEXTS = {
  sealed: formsOf(SEALED),
  plain: formsOf(PLAIN),
  environment: formsOf(PLANTED_ENVIRONMENT),
};

let network: WholeNetwork;
let client: CortensorClient;
let data: string;
/** Where the network's processes leave core dumps. */
let cores: string;
let hasStopped = false;
const sessions = new Map<SealingLevel, SessionHandle>();

before(async () => {
  data = await mkdtemp(join(tmpdir(), 'cortensor-canary-'));
  await writeFile(`${data}.yaml`, CONFIG);
  // Inherited by every process of the network, and by none of its files.
  process.env[VARIABLE] = PLANTED_ENVIRONMENT;
  cores = await mkdtemp(join(tmpdir(), 'cortensor-cores-'));
  process.chdir(cores);
  network = await startWholeNetwork({
    data,
    config: `${data}.yaml`,
    workers: 1,
    routers: 1,
    miners: [['echo', 'echo', 'echo']],
    users: 1,
    exitSeconds: 60,
    confirmations: 0,
  });
  const { identity } = await readIdentityFile(join(data, 'keys', 'user.age'));
  const [baseUrl = ''] = network.routerUrls;
  client = new CortensorClient({ baseUrl, apiKey: network.apiKey, identity });
});
after(async () => {
  if (!hasStopped) await network.stop();
  await rm(data, { recursive: true, force: true });
  await rm(`${data}.yaml`, { force: true });
  await rm(cores, { recursive: true, force: true });
});

/** A session's whole life, with one question whose answer repeats it. */
async function live(level: SealingLevel, prompt: string): Promise<void> {
  const session = await client.openSession({
    signer: network.users[0]?.wallet ?? assert.fail(),
    policy: {
      model: 'scripted',
      level,
      redundancy: 2,
      maxMiners: 3,
      priceCeilingWei: '1000000000000',
      sinks: [USER_SINK],
    },
    depositWei: 10n ** 18n,
  });
  sessions.set(level, session);
  const answer = session.ask({ messages: [{ role: 'user', content: prompt }], maxTokens: 64 });
  let streamed = '';
  for await (const delta of answer) streamed += delta;
  assert.ok(streamed.includes(prompt), `the answer repeats the prompt: ${streamed}`);
  assert.equal((await answer.done).verdictAgreed, true);
  await session.close();
  await session.waitUntil('Closed', { timeoutMs: END_MS });
  await session.exportTo(USER_SINK);
  for (const deadline = Date.now() + END_MS; ; await delay(100)) {
    const { state, lastError } = await session.exportView(USER_SINK);
    if (state === 'Done') break;
    assert.ok(Date.now() < deadline, `the export is ${state}: ${lastError}`);
  }
}

test('sessions at sealed and sealed-pq are asked, answered, exported, closed and settled', async () => {
  // The planted one first: what comes later could overwrite what a search must not find, not what it must.
  await live('open', PLAIN);
  await live('sealed', SEALED);
  await live('sealed-pq', SEALED);
});

test('the memory of routers and workers holds no sealed text', async (t) => {
  if (process.platform !== 'linux') return t.skip('reads /proc');
  for (const name of ['router-1', 'worker-1']) {
    const { found, bytes } = await memoryHolding(network.supervisor.pid(name) ?? 0, TEXTS);
    t.diagnostic(`${name}: ${(bytes / 1024 / 1024).toFixed(0)} MiB, with ${[...found].join(', ')}`);
    assert.ok(found.has('environment'), `the search finds what is in the memory of ${name}`);
    assert.ok(!found.has('sealed'), name);
  }
});

test('no Temporal history holds a sealed text, decrypted', async () => {
  const histories = await readHistories(network.config.temporal);
  for (const [level, { id }] of sessions) {
    assert.ok(
      histories.some((history) => history.includes(id)),
      level,
    );
  }
  for (const history of histories) assert.ok(!holds(Buffer.from(history), TEXTS.sealed));
});

test('no row of the sink holds a sealed text', async () => {
  const { url } = network.config.sinks[USER_SINK] ?? assert.fail();
  const sink = new pg.Client({ connectionString: await readSecret(url) });
  await sink.connect();
  try {
    const { rows: tables } = await sink.query<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = 'cortensor'`,
    );
    const rows: string[] = [];
    for (const { name } of tables) {
      const found = await sink.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t`);
      rows.push(...found.rows.map(({ row }) => row));
    }
    for (const [level, { id }] of sessions) assert.ok(rows.join().includes(id), level);
    assert.ok(
      rows.some((row) => holds(Buffer.from(row), TEXTS.plain)),
      'the search finds',
    );
    for (const row of rows) assert.ok(!holds(Buffer.from(row), TEXTS.sealed));
  } finally {
    await sink.end();
  }
});

test('what the router tells of itself, of sessions and of tasks holds no sealed text', async () => {
  const paths = ['/healthz', '/api/v1/status', '/api/v1/network', '/api/v1/miners'];
  for (const session of sessions.values()) {
    const base = `/api/v1/sessions/${session.id}`;
    const [task] = await session.tasks();
    paths.push(base, `${base}/tasks`, `${base}/exports/${USER_SINK}`);
    paths.push(`${base}/tasks/${task?.taskId}`, `${base}/tasks/${task?.taskId}/proof`);
  }
  const asked = new Set(paths);
  let hasFound = false;
  // A set's iteration goes on with what is added meanwhile: all content that an answer names.
  for (const path of asked) {
    const response = await fetch(`${network.routerUrls[0]}${path}`, {
      headers: { authorization: `Bearer ${network.apiKey}` },
      signal: AbortSignal.timeout(END_MS),
    });
    if (paths.includes(path)) assert.equal(response.status, 200, path);
    const body = await response.text();
    for (const [cid] of body.matchAll(/bafkrei[a-z2-7]{52}/g)) asked.add(`/api/v1/payloads/${cid}`);
    hasFound ||= holds(Buffer.from(body), TEXTS.plain);
    assert.ok(!holds(Buffer.from(body), TEXTS.sealed), path);
  }
  assert.ok(hasFound, 'the search finds an answer that nobody sealed');
});

test('core dumps of a router and of a worker hold no sealed text', async (t) => {
  const reason = await whyNoCoreDumps();
  if (reason !== undefined) return t.skip(reason);
  for (const name of ['router-1', 'worker-1']) {
    const core = await dumpCore(network.supervisor.pid(name) ?? 0, cores);
    const { found, bytes } = await fileHolding(core, TEXTS);
    await rm(core);
    t.diagnostic(`${name}: ${(bytes / 1024 / 1024).toFixed(0)} MiB, with ${[...found].join(', ')}`);
    assert.ok(found.has('environment'), `the search finds what is in the core dump of ${name}`);
    assert.ok(!found.has('sealed'), name);
  }
});

test('no file of any server and no log holds a sealed text, once all have ended', async (t) => {
  await network.stop();
  hasStopped = true;
  const found = await filesHolding(data, TEXTS);
  t.diagnostic(
    `the planted text is in ${found.plain.map((path) => path.slice(data.length)).join()}`,
  );
  assert.ok(found.plain.some((path) => path.includes('/ipfs/')));
  assert.deepEqual(found.sealed, []);
  assert.deepEqual(found.environment, [], 'an environment is written nowhere');
});
