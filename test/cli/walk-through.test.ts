/**
 * The commands of owners, miners and operators, one after the other on the whole network with
 * scripted miners: first with everything up, then with routers and workers gone.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { toQuantity } from 'ethers';
import { startWholeNetwork, type WholeNetwork } from '../../bench/network/whole-network.js';
import { sameAddress } from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import { parseTokens } from '../../domain/money.js';
import type { SessionView } from '../../domain/session.js';
import { openJournal } from '../../nodes/miner/journal.js';
import { recoverTextSigner } from '../../adapters/chain/text-signer.js';
import { openPool, query } from '../../adapters/database/pool.js';
import { getJson, openBlockStore } from '../../adapters/ipfs/block-store.js';
import { canonicalJson } from '../../adapters/ipfs/canonical.js';
import { digestOf } from '../../adapters/ipfs/cid.js';
import { readSecret } from '../../adapters/seal/secret.js';
import type { ErasureView } from '../../domain/erasure.js';
import { cortensor, cortensorJson } from './cortensor.js';

/** Nothing settles by itself while the test runs: only what closes. */
const CONFIG = `
router: { port: 0 }
settlement: { maxTasks: 1000, maxAge: 1h }
models: [{ name: scripted, pricePerTokenWei: '1000000000000' }]
`;
const EXIT_SECONDS = 3_600;
const GAS = toQuantity(10n ** 18n);

let data: string;
let network: WholeNetwork;
let router: string[];
let config: string[];
before(async () => {
  data = await mkdtemp(join(tmpdir(), 'cortensor-cli-'));
  await writeFile(`${data}.yaml`, CONFIG);
  network = await startWholeNetwork({
    data,
    config: `${data}.yaml`,
    workers: 1,
    routers: 1,
    miners: [['honest', 'honest', 'honest']],
    users: 2,
    exitSeconds: EXIT_SECONDS,
    confirmations: 0,
  });
  for (const { address } of [...network.miners, ...network.users]) {
    await network.service.send('anvil_setBalance', [address, GAS]);
  }
  config = ['--config', join(data, 'temporal-1.yaml')];
  router = [
    '--router',
    network.routerUrls[0] ?? '',
    '--api-key',
    `file:${keyFile('user.api-key')}`,
  ];
});
after(async () => {
  await network?.stop();
  await rm(data, { recursive: true, force: true });
  await rm(`${data}.yaml`, { force: true });
});

function keyFile(name: string): string {
  return join(data, 'keys', name);
}

function keyOf(name: string): string[] {
  return ['--key', `file:${keyFile(`${name}.key`)}`];
}

async function policyFile(name: string, policy: object): Promise<string> {
  const file = join(data, `${name}.json`);
  const common = { model: 'scripted', redundancy: 3, priceCeilingWei: '1000000000000' };
  await writeFile(file, JSON.stringify({ ...common, ...policy }));
  return file;
}

async function policyFields(fields: object): Promise<string> {
  const file = join(data, 'fields.json');
  await writeFile(file, JSON.stringify(fields));
  return file;
}

function tokens(text: string): string {
  return parseTokens(text).toString();
}

/** The session of the first test, which is closed. */
let settledSession: string;

interface Opened {
  readonly sessionId: string;
  readonly view: SessionView;
}
interface Asked {
  readonly taskId: string;
  readonly text: string;
  readonly verdictAgreed: boolean;
}
interface Proof {
  readonly proven: boolean;
  readonly outcome: string;
  readonly chargeWei: string;
}

test('an owner opens a session, asks, pays in and out, closes it, and has the task proven', async () => {
  const policy = await policyFile('link', { level: 'link' });
  const { policyHash } = await cortensorJson<{ policyHash: string }>(['policy', policy]);
  const opened = await cortensorJson<Opened>([
    ...['session', 'open', '--policy', policy, '--deposit', '10'],
    ...[...keyOf('user'), ...router],
  ]);
  const { sessionId } = opened;
  settledSession = sessionId;
  assert.equal(opened.view.state, 'Open');
  assert.equal(digestOf(opened.view.policyCid ?? ''), policyHash);

  const { taskId, text, verdictAgreed } = await cortensorJson<Asked>([
    ...['session', 'ask', sessionId, 'What is the capital of France?', ...router],
  ]);
  assert.ok(verdictAgreed && text !== '');
  const streamed = await cortensor(['session', 'ask', sessionId, 'And of Italy?', ...router]);
  assert.equal(streamed.code, 0);
  assert.match(streamed.stdout, /\w{4}/);

  const prove = ['task', 'prove', taskId, '--session', sessionId, ...router, ...config];
  const early = await cortensor(prove);
  assert.equal(early.code, 2);
  assert.match(early.errors[0] ?? '', /TASK_NOT_SETTLED/);

  const paid = await cortensorJson<Opened>([
    ...['session', 'deposit', sessionId, '2.5', ...keyOf('user-2'), ...router],
  ]);
  assert.equal(paid.view.budget.depositedWei, tokens('12.5'));
  const withdrawn = await cortensorJson<Opened>([
    ...['session', 'withdraw', sessionId, '7', ...keyOf('user'), ...router],
  ]);
  assert.equal(withdrawn.view.budget.refundedWei, tokens('7'));
  const changes = await policyFields({ taskSeconds: 90 });
  const changed = await cortensorJson<Opened>([
    ...['session', 'policy', sessionId, changes, ...keyOf('user'), ...router],
  ]);
  assert.deepEqual([changed.view.policy.taskSeconds, changed.view.policyNonce], [90, 1]);

  const closed = await cortensorJson<Opened>(['session', 'close', sessionId, ...router]);
  assert.equal(closed.view.state, 'Closed');
  const { depositedWei, chargedWei, refundedWei } = closed.view.budget;
  assert.equal(BigInt(depositedWei), BigInt(chargedWei) + BigInt(refundedWei));
  const { tasks } = await cortensorJson<{ tasks: TaskRecord[] }>([
    ...['task', 'list', '--session', sessionId, ...router],
  ]);
  assert.deepEqual(
    tasks.map(({ state, outcome }) => [state, outcome]),
    [
      ['Settled', 'completed'],
      ['Settled', 'completed'],
    ],
  );
  const proof = await cortensorJson<Proof>(prove);
  assert.deepEqual([proof.proven, proof.outcome], [true, 'completed']);
  const [first] = tasks;
  assert.equal(proof.chargeWei, first?.chargeWei);
});

test('a miner withdraws what it has earned, once', async () => {
  const miner = network.miners[0]?.address ?? '';
  const shown = await cortensorJson<{ earnedWei: string }>(['earnings', 'show', miner, ...config]);
  assert.ok(BigInt(shown.earnedWei) > 0n);
  const withdraw = ['earnings', 'withdraw', ...keyOf('scripted-1'), ...config];
  const first = await cortensorJson<{ withdrawnWei: string; transaction: string }>(withdraw);
  assert.equal(first.withdrawnWei, shown.earnedWei);
  assert.match(first.transaction, /^0x[0-9a-f]{64}$/);
  const second = await cortensorJson<{ withdrawnWei: string; transaction: null }>(withdraw);
  assert.deepEqual([second.withdrawnWei, second.transaction], ['0', null]);
});

test('an operator deploys what is there already, schedules epochs, onboards and exports', async () => {
  const { service } = network.config.layers;
  const settled = await cortensorJson<{ status: string }>(['settlement', 'show', ...config]);
  assert.equal(settled.status, 'RUNNING');
  const deployed = await cortensorJson<{ layers: { service: { contracts: object } } }>([
    ...['deploy', '--layer', 'service', '--minimum-stake', '1000', ...config],
    ...['--exit-delay', '1h'],
  ]);
  assert.deepEqual(deployed.layers.service.contracts, service.contracts);
  const other = await cortensor(['deploy', '--layer', 'service', ...config]);
  assert.match(other.errors[0] ?? '', /IDEMPOTENCY_CONFLICT/);

  await cortensorJson(['schedule', 'update', ...config]);
  const paused = await cortensorJson<{ paused: boolean }>(['schedule', 'pause', ...config]);
  assert.equal(paused.paused, true);

  const who = (name: string) => [...keyOf(name), '--identity', `file:${keyFile(`${name}.age`)}`];
  const user = await cortensorJson<{ level: string }>([
    ...['onboard', 'user', '--level', 'sealed', ...who('user-2'), ...config],
  ]);
  assert.equal(user.level, 'sealed');
  const miner = await cortensorJson<{ status: string }>([
    ...['onboard', 'miner', ...who('scripted-1'), ...config],
  ]);
  assert.equal(miner.status, 'Active');

  const exported = await cortensorJson<{ receipt: { rows: { task: number } } }>([
    ...['export', 'start', settledSession, 'user', '--wait', ...config],
  ]);
  assert.equal(exported.receipt.rows.task, 2);
  const status = await cortensorJson(['export', 'status', settledSession, 'user', ...config]);
  assert.deepEqual(status, exported);
});

test('an owner has a closed session erased: its keys are gone, its rows too, and a receipt says so', async () => {
  const show = ['session', 'show', settledSession, ...router];
  const { view } = await cortensorJson<Opened>(show);
  const keyring = view.keyring?.cid ?? '';
  const store = openBlockStore(network.config.ipfs);
  await store.get(keyring);
  const sink = openPool(await readSecret(network.config.sinks['user']?.url ?? 'env:NONE'));
  const countRows = async (): Promise<unknown> => {
    const count = 'select count(*)::int as n from cortensor.task where session_id = $1';
    return (await query<{ n: number }>(sink, count, [settledSession]))[0]?.n;
  };
  try {
    assert.equal(await countRows(), 2);
    const erase = ['session', 'erase', settledSession, ...router];
    const { erasure } = await cortensorJson<{ erasure: ErasureView }>(erase);
    assert.equal(erasure.stage, 'Done');
    assert.ok(erasure.signed !== null);
    const { receipt, signer, signature, cid } = erasure.signed;
    assert.deepEqual([receipt.keyrings, receipt.tasks], [[keyring], 2]);
    assert.deepEqual(
      receipt.sinks.map((removed) => [removed.sink, removed.rows.task]),
      [['user', 2]],
    );
    const signed = recoverTextSigner(canonicalJson(receipt), signature);
    assert.ok(signed !== null && sameAddress(signed, signer));
    assert.deepEqual(await getJson(store, cid, (value) => value), { receipt, signer, signature });
    await assert.rejects(store.get(keyring), { code: 'CONTENT_MISSING' });
    assert.equal(await countRows(), 0);
    assert.deepEqual(await cortensorJson(erase), { erasure }, 'again: the same receipt');
  } finally {
    await sink.end();
  }
});

test('a miner claims its work, and an owner exits, with routers and workers gone', async () => {
  const policy = await policyFile('sealed', { level: 'sealed' });
  const saved = join(data, 'saved.json');
  const identity = ['--identity', `file:${keyFile('user-2.age')}`];
  const open = [
    ...['session', 'open', '--policy', policy, '--deposit', '3', '--save', saved],
    ...[...keyOf('user-2'), ...identity, ...router, ...config],
  ];
  const { sessionId } = await cortensorJson<Opened>(open);
  assert.equal((await cortensorJson<Opened>(open)).sessionId, sessionId, 'again: the same session');
  await cortensorJson([
    'session',
    'ask',
    saved,
    'What is the capital of Spain?',
    ...identity,
    ...router,
  ]);
  const { tasks } = await cortensorJson<{ tasks: TaskRecord[] }>([
    ...['task', 'list', '--session', saved, ...router],
  ]);
  const [task] = tasks;
  assert.equal(task?.state, 'Ended');
  const journal = join(data, 'journal');
  await openJournal(journal).append({
    sessionId,
    taskId: task.taskId,
    ordinal: task.ordinal,
    outcome: 'completed',
    evidenceCid: task.evidenceCid,
    resultDigest: digestOf(task.resultCid ?? ''),
    endedAtMs: Date.now(),
  });

  await Promise.all(['worker-1', 'router-1'].map((name) => network.supervisor.stopOne(name)));
  const claims = ['miner', 'claims', '--journal', journal, ...config];
  assert.equal((await cortensorJson<{ claimable: number }>(claims)).claimable, 1);
  const claim = await cortensorJson<{ earnedWei: string; batches: { tasks: string[] }[] }>([
    ...['miner', 'claim', '--journal', journal, ...keyOf('scripted-2'), ...config],
    ...['--identity', `file:${keyFile('scripted-2.age')}`],
  ]);
  assert.deepEqual(claim.batches[0]?.tasks, [task.taskId]);
  const paid = task.payments.find(({ miner }) =>
    sameAddress(miner, network.miners[1]?.address ?? ''),
  );
  assert.equal(claim.earnedWei, paid?.amountWei);
  assert.equal((await cortensorJson<{ settled: number }>(claims)).settled, 1);

  const asks = ['session', 'exit', sessionId, ...config];
  const foreign = await cortensor([...asks, ...keyOf('user')]);
  assert.equal(foreign.code, 2);
  assert.match(foreign.errors[0] ?? '', /SIGNATURE_INVALID.*owner/);
  const waiting = await cortensorJson<{ status: string }>([...asks, ...keyOf('user-2')]);
  assert.equal(waiting.status, 'Exiting');
  await network.service.send('evm_increaseTime', [EXIT_SECONDS]);
  const exit = await cortensorJson<{ status: string; refundedWei: string; chargedWei: string }>([
    ...[...asks, ...keyOf('user-2')],
  ]);
  assert.equal(exit.status, 'Closed');
  assert.equal(exit.chargedWei, task.chargeWei);
  assert.equal(BigInt(exit.refundedWei) + BigInt(exit.chargedWei), 3n * 10n ** 18n);
});
