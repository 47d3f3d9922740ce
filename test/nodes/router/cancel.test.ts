/** Cancelling: what has not begun is free, what has begun is finished and billed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { taskIdOf } from '../../../adapters/seal/task-id.js';
import type { TaskRecord } from '../../../domain/lease.js';
import { SessionLedger } from '../../../domain/ledger.js';
import { FakeGateway, gate, SESSION, startWorld, until, type World } from './support.js';

const KEY = { 'idempotency-key': 'k1' };
const TASK = await taskIdOf(SESSION, 'k1');

const cancel = (world: World, taskId: string = TASK) =>
  world.ask(`/api/v1/sessions/${SESSION}/tasks/${taskId}/cancel`, { method: 'POST' });
const codeOf = async (response: Response) =>
  ((await response.json()) as { error: { code: string } }).error.code;
const heard = (world: World, type: string) =>
  world.miners.flatMap((miner) => miner.heard).filter((message) => message.type === type).length;

test('a task whose answer has not begun ends as cancelled, free, and its miners are told', async (t) => {
  const world = await startWorld([{ isDeaf: true }, { isDeaf: true }], {
    policy: { redundancy: 2 },
  });
  t.after(() => world.close());
  const asked = world.chat('hi', {}, KEY);
  await until(() => heard(world, 'assign') === 2, 'the assignments');
  const response = await cancel(world);
  assert.equal(response.status, 200);
  assert.equal(((await response.json()) as TaskRecord).outcome, 'cancelled');
  const answer = await asked;
  assert.equal(answer.status, 409);
  assert.equal(await codeOf(answer), 'TASK_CANCELLED');
  assert.deepEqual(world.gateway.ends, [
    {
      taskId: TASK,
      outcome: 'cancelled',
      paidMiners: [],
      usage: { promptTokens: 0, completionTokens: 0 },
    },
  ]);
  await until(() => heard(world, 'cancel') === 2, 'the news');
  // What the session's own ledger makes of it: all that was reserved is free again.
  const ledger = new SessionLedger({
    sessionId: SESSION,
    policy: { ...world.lease.policy, redundancy: 2 },
    depositedWei: 100_000n,
    pricePerTokenWei: 1n,
    feeBps: 100,
    settlesFree: false,
  });
  const [task] = world.gateway.submitted.flat();
  const [end] = world.gateway.ends;
  assert.ok(task && end);
  ledger.submit(task, 0);
  assert.notEqual(ledger.budget(0n).reservedWei, '0');
  ledger.complete(end);
  const { freeWei, reservedWei, chargedWei } = ledger.budget(0n);
  assert.deepEqual([freeWei, reservedWei, chargedWei], ['100000', '0', '0']);
});

test('after its first frame a task is under way, and is finished and billed', async (t) => {
  const held = gate();
  const world = await startWorld([{ beforeFrame: (seq) => (seq === 1 ? held.opened : undefined) }]);
  t.after(() => world.close());
  const asked = await world.chat('hi', { stream: true }, KEY);
  // Until the router has read the frame, the answer has not begun there.
  const reader = asked.body?.getReader();
  let seen = '';
  while (!seen.includes('You')) seen += new TextDecoder().decode((await reader?.read())?.value);
  const early = await cancel(world);
  assert.equal(await codeOf(early), 'TASK_UNDER_WAY');
  held.open();
  while ((await reader?.read())?.done === false);
  assert.equal(world.gateway.ends[0]?.outcome, 'completed');
  assert.equal(world.gateway.ends[0]?.paidMiners.length, 1);
});

test('a task that has ended answers with its record, however often it is cancelled', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  await world.chat('hi', {}, KEY);
  for (let times = 0; times < 2; times++) {
    const response = await cancel(world);
    assert.equal(((await response.json()) as TaskRecord).outcome, 'completed');
  }
  assert.equal(world.gateway.ends.length, 1);
});

test('a task that came a moment ago can be cancelled before it is recorded', async (t) => {
  const recorded = gate();
  const gateway = new FakeGateway();
  gateway.beforeSubmit = () => recorded.opened;
  const world = await startWorld([{ isDeaf: true }], { gateway });
  t.after(() => world.close());
  const asked = world.chat('hi', {}, KEY);
  await until(() => heard(world, 'assign') === 1, 'the assignment');
  const cancelled = cancel(world);
  await until(() => heard(world, 'cancel') === 1, 'the news');
  recorded.open();
  assert.equal(((await (await cancelled).json()) as TaskRecord).outcome, 'cancelled');
  assert.equal(await codeOf(await asked), 'TASK_CANCELLED');
});

test('an open task that this router lost sight of is cancelled in the session itself', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const task = { taskId: TASK, requestCid: 'bafkrequest', model: 'tiny' };
  const bounds = { maxPromptTokens: 1, maxTokens: 1, seed: 1 };
  await world.gateway.submit(SESSION, [{ ...task, ...bounds }]);
  const response = await cancel(world);
  assert.equal(((await response.json()) as TaskRecord).outcome, 'cancelled');
});

test('nobody else can cancel a task, and an unknown one is not found', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const path = `/api/v1/sessions/${SESSION}/tasks/${TASK}/cancel`;
  const headers = { authorization: 'Bearer sk-other' };
  assert.equal((await world.ask(path, { method: 'POST', headers })).status, 401);
  assert.equal(await codeOf(await cancel(world)), 'TASK_NOT_FOUND');
  assert.equal(await codeOf(await cancel(world, '0x1')), 'REQUEST_INVALID');
});
