/** Requests of contracts on a real chain: found through reorganisations, judged, and ended once. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { ApplicationFailure } from '@temporalio/common';
import { createAdmission, type Admission } from '../../activities/admission.js';
import {
  createInferenceActivities,
  type InferenceActivities,
  type QueueMark,
} from '../../activities/inference.js';
import { merkleProof, taskLeaf } from '../../adapters/chain/merkle.js';
import type { Intent } from '../../adapters/chain/outbox.js';
import { getJson, putJson } from '../../adapters/ipfs/block-store.js';
import { cidOf, cidOfDigest, digestOf } from '../../adapters/ipfs/cid.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { seedOf, taskIdOf } from '../../adapters/seal/task-id.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid, Hex, SessionId } from '../../domain/ids.js';
import { parsePolicy } from '../../domain/session.js';
import type { SettledTask } from '../../domain/task.js';
import {
  CALLBACK_GAS_PRICE_WEI,
  PAYMENT_WEI,
  startServiceWorld,
  type ServiceWorld,
} from '../adapters/chain/service-world.js';
import { activityEnvironment } from './environment.js';
import { memoryStore } from './memory-store.js';

const PRICE_WEI = 10n ** 12n;
const POLICY = parsePolicy({ model: 'm', level: 'open', priceCeilingWei: PRICE_WEI.toString() });
const NOW = { everyMs: 10, forMs: 0 };

let world: ServiceWorld;
let snapshot: unknown;
before(async () => {
  world = await startServiceWorld();
});
beforeEach(async () => {
  snapshot = await world.anvil.rpc('evm_snapshot');
});
afterEach(async () => {
  await world.anvil.rpc('evm_revert', snapshot);
});
after(async () => {
  await world.stop();
});

/** The activities on that chain, with IPFS in memory.
 * @param changes - `execute` in place of the world's own. */
function open(changes: { confirmations?: number; execute?: ServiceWorld['execute'] } = {}) {
  const { queue, service } = world;
  const store = memoryStore();
  const pin = (policy: unknown): Hex => {
    const bytes = encodeJson(policy);
    store.blocks.set(cidOf(bytes), bytes);
    return digestOf(cidOf(bytes));
  };
  const readJson = <T>(cid: Cid, parse: (value: unknown) => T) => getJson(store, cid, parse);
  const raw = createInferenceActivities({
    outbox: { execute: changes.execute ?? ((intent) => world.execute(intent)) },
    queue,
    service,
    confirmations: changes.confirmations ?? 0,
    admit: createAdmission({
      readText: (request, block) => queue.readText(request, block),
      readSession: (sessionId) => service.readSession(sessionId),
      readCallbackGasPriceWei: () => queue.readCallbackGasPriceWei(),
      readJson,
      putJson: (value) => putJson(store, value),
      cidOfDigest,
      taskIdOf,
      seedOf,
      models: [{ name: 'm', kind: 'chat', pricePerTokenWei: PRICE_WEI.toString(), file: null }],
      feeBps: 500,
    }),
    proveTask: (tasks, index) => merkleProof(tasks.map(taskLeaf), index),
    readJson,
  });
  const env = activityEnvironment();
  const activities = Object.fromEntries(
    Object.entries(raw).map(([name, activity]: [string, (...args: unknown[]) => unknown]) => [
      name,
      (...args: unknown[]) => env.run(activity as (...a: unknown[]) => Promise<unknown>, ...args),
    ]),
  ) as unknown as InferenceActivities;
  const put = (value: unknown) => putJson(store, value);
  return { activities, store, pin, put };
}

/** The sessions that a look finds, and the marks that it leaves. */
async function look(activities: InferenceActivities, marks: readonly QueueMark[] = []) {
  const seen = await activities.findInferences({ marks, ...NOW });
  return { sessions: seen.found.map(({ sessionId }) => sessionId), marks: seen.marks };
}

/** Mines over the last blocks; what was in them is gone unless it is asked again. */
async function reorganise(depth: number): Promise<void> {
  await world.anvil.rpc('anvil_reorg', depth, []);
}

async function freeTask(sessionId: SessionId): Promise<SettledTask> {
  return {
    sessionId,
    taskId: await taskIdOf(sessionId, 'request'),
    ordinal: 0,
    outcome: 'no-quorum',
    requestCid: cidOf(new TextEncoder().encode('request')),
    chargeWei: '0',
    feeWei: '0',
    payments: [],
  };
}

async function failureOf(promise: Promise<unknown>): Promise<ApplicationFailure> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof ApplicationFailure, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: 'nothing was thrown' });
}

test('requests are found in their order, and each look goes on where the last has ended', async () => {
  const { activities } = open();
  const first = [await world.ask(), await world.ask()];
  const one = await look(activities);
  assert.deepEqual(one.sessions, first);
  const third = await world.ask();
  const two = await look(activities, one.marks);
  assert.deepEqual(two.sessions, [third]);
  assert.deepEqual((await look(activities, two.marks)).sessions, []);
  // Nothing remembered is nothing lost.
  assert.deepEqual((await look(activities)).sessions, [...first, third]);
});

test('a look hands out a page at a time, and says that there is more', async () => {
  const { activities } = open();
  const asked: SessionId[] = [];
  for (let i = 0; i < 103; i++) asked.push(await world.ask());
  const one = await activities.findInferences({ marks: [], ...NOW });
  assert.equal(one.hasMore, true);
  const two = await activities.findInferences({ marks: one.marks, ...NOW });
  assert.equal(two.hasMore, false);
  assert.deepEqual(
    [...one.found, ...two.found].map(({ sessionId }) => sessionId),
    asked,
  );
});

test('requests that have ended are not handed out', async () => {
  const { activities, put } = open();
  const sessions = [await world.ask(), await world.ask()];
  const task = await freeTask(sessions[0] ?? '');
  const batchCid = await put(await world.settle(task));
  await activities.fulfilInference({ sessionId: task.sessionId, taskId: task.taskId, batchCid });
  assert.deepEqual((await look(activities)).sessions, sessions.slice(1));
});

test('a request counts once enough blocks are on top of it', async () => {
  const { activities } = open({ confirmations: 3 });
  const sessionId = await world.ask();
  assert.deepEqual((await look(activities)).sessions, []);
  await world.anvil.rpc('anvil_mine', 3);
  assert.deepEqual((await look(activities)).sessions, [sessionId]);
});

test('a look without news waits, and finds what comes meanwhile', async () => {
  const { activities } = open();
  const { marks } = await look(activities);
  const seen = activities.findInferences({ marks, everyMs: 10, forMs: 10_000 });
  const sessionId = await world.ask();
  assert.deepEqual(
    (await seen).found.map((request) => request.sessionId),
    [sessionId],
  );
});

test('what a reorganisation put in the place of known requests is found', async () => {
  const { activities } = open();
  await world.anvil.rpc('anvil_mine', 5);
  const kept = await world.ask({ reference: 'kept' });
  const { marks: early } = await look(activities);
  await world.ask({ reference: 'lost' });
  await world.ask({ reference: 'moved' });
  const { marks } = await look(activities, early);
  await reorganise(2);
  assert.equal(await world.queue.readRequestCount(), 1);
  // Other requests get the numbers that were read already, before anybody looks.
  const other = await world.ask({ reference: 'other' });
  const moved = await world.ask({ reference: 'moved' });
  const next = await look(activities, marks);
  assert.deepEqual(next.sessions, [other, moved]);
  assert.equal((await world.queue.readRequest(moved))?.globalId, 3);
  assert.deepEqual((await look(activities, next.marks)).sessions, []);
  assert.deepEqual((await look(activities)).sessions, [kept, other, moved]);
});

test('a chain that lost its last blocks is read again from what still stands', async () => {
  const { activities } = open();
  await world.ask({ reference: 'kept' });
  const { marks: early } = await look(activities);
  await world.ask({ reference: 'lost' });
  const { marks } = await look(activities, early);
  await world.anvil.rpc('anvil_rollback', 1);
  const back = await look(activities, marks);
  assert.deepEqual(back.sessions, []);
  const again = await world.ask({ reference: 'lost' });
  assert.deepEqual((await look(activities, back.marks)).sessions, [again]);
});

test('a look after a reorganisation of everything starts over', async () => {
  const { activities } = open();
  await world.ask();
  const { marks } = await look(activities);
  const strangers = marks.map((mark) => ({ ...mark, hash: `0x${'0f'.repeat(32)}` as const }));
  assert.equal((await look(activities, strangers)).sessions.length, 1);
});

test('many looks leave few marks', async () => {
  const { activities } = open();
  let marks: readonly QueueMark[] = [];
  for (let i = 0; i < 40; i++) {
    if (i % 2 === 0) await world.ask();
    await world.anvil.rpc('anvil_mine', 1);
    marks = (await look(activities, marks)).marks;
  }
  assert.equal(marks.length, 16);
  assert.equal(marks.at(-1)?.nextGlobalId, 21);
  assert.equal(new Set(marks.map(({ nextGlobalId }) => nextGlobalId)).size, 16);
});

async function admissionOf(
  ask: Parameters<ServiceWorld['ask']>[0],
  policy: unknown = POLICY,
): Promise<{ admission: Admission; sessionId: SessionId; readRequest: () => unknown }> {
  const { activities, pin, store } = open();
  const sessionId = await world.ask({ policyHash: pin(policy), ...ask });
  const admission = await activities.admitInference({ sessionId });
  const cid =
    admission.status === 'admitted'
      ? admission.inference.task.requestCid
      : admission.status === 'refused'
        ? admission.task.requestCid
        : '';
  const text = () => new TextDecoder().decode(store.blocks.get(cid));
  return { admission, sessionId, readRequest: () => JSON.parse(text()) as unknown };
}

test('an admitted request has its policy, its task, and its content at rest', async () => {
  const { admission, sessionId, readRequest } = await admissionOf({
    prompt: 'Why?',
    maxTokens: 9,
    callbackGas: 100_000,
  });
  assert.equal(admission.status, 'admitted');
  assert.ok(admission.status === 'admitted');
  const { inference, pricePerTokenWei } = admission;
  assert.equal(pricePerTokenWei, PRICE_WEI.toString());
  assert.equal(inference.consumer, world.consumer);
  assert.deepEqual(inference.policy, POLICY);
  assert.equal(digestOf(inference.policyCid), inference.policyHash);
  // The callback's fee is nobody else's.
  const depositWei = PAYMENT_WEI - 100_000n * CALLBACK_GAS_PRICE_WEI;
  assert.equal(inference.depositWei, depositWei.toString());
  assert.equal(inference.task.taskId, await taskIdOf(sessionId, 'request'));
  assert.equal(inference.task.maxTokens, 9);
  assert.deepEqual(readRequest(), {
    model: 'm',
    messages: [{ role: 'user', content: 'Why?' }],
    maxTokens: 9,
    temperature: 0,
    topP: 1,
  });
});

const REFUSED: readonly {
  readonly what: string;
  readonly code: string;
  readonly policy?: unknown;
  readonly ask?: Parameters<ServiceWorld['ask']>[0];
}[] = [
  { what: 'a policy that is none', policy: { model: 'm' }, code: 'POLICY_INVALID' },
  { what: 'a policy that is no object', policy: 'open', code: 'POLICY_INVALID' },
  {
    what: 'a level that asks for secrecy',
    policy: { ...POLICY, level: 'link' },
    code: 'POLICY_INVALID',
  },
  { what: 'a sink', policy: { ...POLICY, sinks: ['user'] }, code: 'POLICY_INVALID' },
  { what: 'a model that nobody serves', policy: { ...POLICY, model: 'n' }, code: 'MODEL_UNKNOWN' },
  {
    what: 'a ceiling below the price',
    policy: { ...POLICY, priceCeilingWei: '1' },
    code: 'POLICY_INVALID',
  },
  { what: 'a payment that does not do', ask: { paymentWei: 10n ** 14n }, code: 'BUDGET_EXHAUSTED' },
  {
    what: 'a payment that only the callback would use up',
    ask: { paymentWei: 6_000_000n, callbackGas: 2_000_000 },
    code: 'BUDGET_EXHAUSTED',
  },
  {
    what: 'a prompt that is no text',
    ask: { prompt: Uint8Array.of(0xff) },
    code: 'PROMPT_INVALID',
  },
];

for (const { what, code, policy, ask } of REFUSED) {
  test(`${what} is refused at once, by a task that costs nothing`, async () => {
    const { admission, sessionId } = await admissionOf(ask ?? {}, policy);
    assert.ok(admission.status === 'refused', JSON.stringify(admission));
    assert.equal(admission.reason, code);
    const { requestCid, ...task } = admission.task;
    const { requestCid: _, ...free } = await freeTask(sessionId);
    assert.deepEqual(task, { ...free, outcome: 'refused' });
    assert.match(requestCid, /^bafk/);
  });
}

test('a policy that is not there yet is waited for, and refused when it stays away', async (t) => {
  const { activities } = open();
  const sessionId = await world.ask();
  const early = await failureOf(activities.admitInference({ sessionId }));
  assert.equal(early.type, 'CONTENT_MISSING');
  assert.equal(early.nonRetryable, false);
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 180_000 });
  const late = await activities.admitInference({ sessionId });
  assert.ok(late.status === 'refused');
  assert.equal(late.reason, 'CONTENT_MISSING');
});

test('a request that has ended, or is not there, is gone', async () => {
  const { activities, put } = open();
  const task = await freeTask(await world.ask());
  const batchCid = await put(await world.settle(task));
  await activities.fulfilInference({ sessionId: task.sessionId, taskId: task.taskId, batchCid });
  assert.deepEqual(await activities.admitInference(task), { status: 'gone' });
  assert.deepEqual(await activities.admitInference({ sessionId: '1' }), { status: 'gone' });
});

test('a task among others in a batch proves its request', async () => {
  const { activities, put } = open();
  const tasks = [await freeTask(await world.ask()), await freeTask(await world.ask())];
  const batchCid = await put(await world.settle(...tasks));
  for (const { sessionId, taskId } of tasks) {
    const end = await activities.fulfilInference({ sessionId, taskId, batchCid });
    assert.equal(end.refundedWei, PAYMENT_WEI.toString());
    assert.notEqual(end.transaction, null);
    assert.equal((await world.queue.readRequest(sessionId))?.outcome, 'no-quorum');
  }
  const { sessionId } = tasks[0] ?? { sessionId: '' };
  const unknown = { sessionId, taskId: `0x${'0e'.repeat(32)}` as const, batchCid };
  assert.equal((await failureOf(activities.fulfilInference(unknown))).type, 'TASK_NOT_FOUND');
});

test('ending twice sends one transaction, and gives the same answer', async () => {
  const { activities, put } = open();
  const task = await freeTask(await world.ask());
  const batchCid = await put(await world.settle(task));
  const input = { sessionId: task.sessionId, taskId: task.taskId, batchCid };
  const end = await activities.fulfilInference(input);
  const sent = world.sent();
  assert.deepEqual(await activities.fulfilInference(input), end);
  assert.deepEqual(await activities.expireInference(input), { ...end, transaction: null });
  assert.equal(world.sent(), sent);
});

test('a request that somebody else has ended is ended', async () => {
  const { activities, put } = open();
  const task = await freeTask(await world.ask());
  const batch = await world.settle(task);
  const stranger = world.queue.encodeFulfil(task, batch.batchId, []);
  await world.execute({ key: `stranger:${task.sessionId}`, layer: 'service', ...stranger });
  const { sessionId, taskId } = task;
  const end = await activities.fulfilInference({ sessionId, taskId, batchCid: await put(batch) });
  assert.deepEqual(end, { transaction: null, refundedWei: PAYMENT_WEI.toString() });
});

test('a batch that the node has not seen settled is waited for', async () => {
  const { activities, put } = open();
  const task = await freeTask(await world.ask());
  const root = taskLeaf(task);
  const batch = { version: 1, batchId: root, root, tasks: [task], charges: [], payments: [] };
  const { sessionId, taskId } = task;
  const failure = await failureOf(
    activities.fulfilInference({ sessionId, taskId, batchCid: await put(batch) }),
  );
  assert.equal(failure.type, 'TRANSACTION_PENDING');
  assert.equal(failure.nonRetryable, false);
});

test('expiry waits for the clock of the chain, then refunds everything', async () => {
  const { activities } = open();
  const sessionId = await world.ask({ timeout: 30, callbackGas: 100_000 });
  const early = await failureOf(activities.expireInference({ sessionId }));
  assert.equal(early.nonRetryable, false);
  await world.anvil.rpc('evm_increaseTime', 31);
  await world.anvil.rpc('anvil_mine', 1);
  const end = await activities.expireInference({ sessionId });
  assert.equal(end.refundedWei, PAYMENT_WEI.toString());
});

test('a request that the chain has not is looked for, and then given up', async (t) => {
  const { activities } = open();
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const ending = failureOf(activities.expireInference({ sessionId: '1' }));
  await world.queue.readHead();
  t.mock.timers.tick(31_000);
  const { type, nonRetryable } = await ending;
  assert.deepEqual({ type, nonRetryable }, { type: 'SESSION_NOT_FOUND', nonRetryable: true });
});

test('an end that reverted on chain is tried again under another key, a few times', async () => {
  const keys: string[] = [];
  let reverts = 2;
  const { activities, put } = open({
    execute: async (intent: Intent) => {
      keys.push(intent.key);
      if (reverts-- > 0) throw new EngineError('TRANSACTION_REVERTED', { error: 'OutOfGas' });
      return await world.execute(intent);
    },
  });
  const task = await freeTask(await world.ask());
  const { sessionId, taskId } = task;
  const input = { sessionId, taskId, batchCid: await put(await world.settle(task)) };
  assert.notEqual((await activities.fulfilInference(input)).transaction, null);
  assert.deepEqual(
    keys,
    [1, 2, 3].map((n) => `fulfil:${sessionId}${n === 1 ? '' : `:${n}`}`),
  );
  reverts = 3;
  const other = await freeTask(await world.ask());
  const hopeless = { ...other, batchCid: await put(await world.settle(other)) };
  assert.equal(
    (await failureOf(activities.fulfilInference(hopeless))).type,
    'TRANSACTION_REVERTED',
  );
});
