/**
 * The main job on the real network, as a user runs it: killed in the middle, gone on with, run
 * again; then its sealed results are opened with the stock age program, and the data folder is
 * searched for what must not be in it.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { JobRecord } from '../../cli/job/journal.js';
import type { Summary } from '../../cli/job/summary.js';
import { openBlockStore } from '../../adapters/ipfs/block-store.js';
import { fromBase64 } from '../../adapters/seal/bytes.js';
import { loadConfig } from '../../cli/config.js';
import { obtain } from '../../servers/obtain/index.js';
import { run } from '../../servers/run.js';
import type { ExportedSession } from '../../sdk/index.js';
import { openSupervisor, startKubo, startTemporal } from '../../servers/start/index.js';
import { age as stockAge } from '../support/age.js';
import { filesWith, readHistories } from '../support/evidence.js';
import { killTree, runUp, startUp } from '../support/up.js';

const CANARY = `canary-${process.pid}-7f3a91c2`;
/** For one call of a program. */
const LIMITS = { timeoutMs: 20_000 };
const PROMPTS = [
  'What is the capital of France?',
  `My secret code is ${CANARY}. What is the capital of Italy?`,
  'What is the capital of Spain?',
  'Name a colour.',
  'What is two plus two?',
];

let data: string;
let promptsFile: string;
let options: string[];
before(async () => {
  data = await mkdtemp(join(tmpdir(), 'cortensor-e2e-'));
  promptsFile = `${data}.prompts`;
  await writeFile(promptsFile, PROMPTS.join('\n'));
  options = ['--data', data, '--prompts', promptsFile, '--config', await quietConfig()];
});
after(async () => {
  await rm(data, { recursive: true, force: true });
  await rm(promptsFile, { force: true });
});

/** The project's own configuration, on any free router port: tests may run beside a network. */
async function quietConfig(): Promise<string> {
  const file = `${data}.yaml`;
  await writeFile(file, 'router:\n  port: 0\n');
  return file;
}

async function readJob(): Promise<JobRecord> {
  return JSON.parse(await readFile(join(data, 'job.json'), 'utf8')) as JobRecord;
}

function assertHeld(summary: Summary): void {
  assert.equal(summary.money.balanced, true);
  const { deposited, paid, refunded, slashed, held } = summary.money;
  assert.equal(BigInt(deposited), BigInt(paid) + BigInt(refunded) + BigInt(slashed) + BigInt(held));
  assert.equal(summary.tasks.length, PROMPTS.length);
  assert.equal(new Set(summary.tasks.map((task) => task.id)).size, PROMPTS.length);
  assert.ok(summary.tasks.every((task) => task.verdict === 'agreed' && task.text !== ''));
  assert.ok(summary.tasks.every((task) => task.state === 'Settled' && task.settlementTx !== null));
  const honest = summary.miners.filter((miner) => miner.honest).map((miner) => miner.score);
  const dishonest = summary.miners.filter((miner) => !miner.honest).map((miner) => miner.score);
  assert.equal(honest.length, 3);
  assert.equal(dishonest.length, 1);
  assert.ok(Math.min(...honest) > Math.max(...dishonest));
}

let first: Summary;
/** Of the first session: its keys, sealed to the user. */
let exported: ExportedSession;

/** Kills everything once the job has got as far as a text says. */
async function killAfter(progress: RegExp): Promise<void> {
  const up = startUp([...options, '--once', '--json']);
  await up.untilProgress(progress);
  killTree(up, data);
  await up.ended;
}

test('up: a job whose whole process tree is killed twice on its way is finished by the next start', async () => {
  await killAfter(/agreed by 3 miners[^]*agreed by 3 miners/);
  const interrupted = (await readJob()).session?.sessionId;
  await killAfter(/✔ settle on chain/);

  first = await runUp(options);
  assertHeld(first);
  assert.equal(first.session.state, 'Closed');
  assert.equal(first.session.id, interrupted, 'it goes on with the same session');
  const { session } = await readJob();
  assert.ok(session !== null);
  exported = session;
});

test('up: runs again on the same data, with a session of its own', async () => {
  const second = await runUp(options);
  assertHeld(second);
  assert.notEqual(second.session.id, first.session.id);
  assert.deepEqual(
    second.miners.map((miner) => miner.address),
    first.miners.map((miner) => miner.address),
  );
});

test('up: a sealed result fetched by its CID from Kubo opens with the stock age program', async () => {
  const { path: age } = await obtain(stockAge);
  const supervisor = await openSupervisor({ data });
  try {
    const { apiUrl } = await startKubo({ data, supervisor });
    const store = openBlockStore({ apiUrl, timeoutMs: 10_000 });
    const [task] = first.tasks;
    const sealed = await store.get(task?.resultCids[0] ?? '');
    assert.match(Buffer.from(sealed).toString('latin1'), /^age-encryption\.org\/v1\n/);

    const keyring = join(data, 'keyring.age');
    await writeFile(keyring, fromBase64(exported.keyring ?? ''));
    const opened = await run(age, ['-d', '-i', join(data, 'keys', 'user.age'), keyring], LIMITS);
    const { identity } = JSON.parse(opened) as { identity: string };
    const identityFile = join(data, 'session.key');
    await writeFile(identityFile, identity, { mode: 0o600 });
    await writeFile(join(data, 'result.age'), sealed);
    const result = await run(age, ['-d', '-i', identityFile, join(data, 'result.age')], LIMITS);
    assert.equal((JSON.parse(result) as { text: string }).text, task?.text);
  } finally {
    await supervisor.stop();
  }
});

test('up: a canary in a sealed prompt is in no file of any server, in no log and in no history', async () => {
  const found = await filesWith(data, Buffer.from(CANARY));
  assert.deepEqual(found, []);
  const known = Buffer.from('cortensor');
  assert.ok((await filesWith(data, known)).length > 0, 'the search finds what is there');

  const supervisor = await openSupervisor({ data });
  try {
    const { address } = await startTemporal({ data, supervisor });
    const { temporal } = loadConfig({ file: join(data, 'temporal.yaml'), env: {}, secrets: [] });
    const histories = await readHistories({ ...temporal, address });
    assert.ok(histories.some((history) => history.includes(exported.sessionId)));
    assert.ok(histories.every((history) => !history.includes(CANARY)));
  } finally {
    await supervisor.stop();
  }
});

test('up: leaves no process behind', async () => {
  assert.deepEqual(await readdir(join(data, 'run')), []);
});
