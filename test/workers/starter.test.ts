import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ScheduleNotFoundError } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { EngineConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import { TASK_QUEUES, workflowIds } from '../../domain/ids.js';
import type { NodeApplication } from '../../domain/onboarding.js';
import { parsePolicy, type OpenSessionRequest, type SessionPolicy } from '../../domain/session.js';
import { createStarter, HEALTH_SCHEDULE } from '../../workers/starter.js';
import type { SessionInput } from '../../workflows/session.js';
import { argumentOf, RETRIES, startLocal } from '../support/workflows.js';

const HOUR_MS = 3_600_000;
const OWNER = `0x${'0a'.repeat(20)}` as const;

/** As much of a configuration as starting workflows takes. */
function config(everyMs = HOUR_MS): EngineConfig {
  return {
    retries: RETRIES,
    settlement: { maxTasks: 10, maxAmountWei: null, maxAgeMs: 1_000, feeBps: 500 },
    dapps: { everyMs: 1_000 },
    layers: { onboarding: { chainId: 1 }, service: { chainId: 3 } },
    models: [{ name: 'm', kind: 'chat', pricePerTokenWei: '10', file: null }],
    schedules: { healthEpoch: { everyMs, jitterMs: 1_000 } },
    oracles: [1, 2, 3].map((i) => ({
      address: `0x${String(i).repeat(40)}`,
      url: 'http://127.0.0.1:1',
      recipient: `age1oracle${i}`,
    })),
    quorum: 2,
    router: { recipient: 'age1router' },
    sinks: { mine: { url: 'env:SINK' } },
    hosts: {
      mine: { kind: 'kubo', owners: [`wallet:${OWNER.toLowerCase()}`] },
      theirs: { kind: 'kubo', owners: [`wallet:0x${'0b'.repeat(20)}`] },
      reads: { kind: 'gateway', owners: [`wallet:${OWNER.toLowerCase()}`] },
    },
  } as unknown as EngineConfig;
}

function request(sessionId: string): OpenSessionRequest {
  return {
    sessionId,
    owner: OWNER,
    clientReference: '0x01',
    depositWei: '1000',
    signature: '0x',
    permit: { owner: OWNER, valueWei: '1000', deadline: 1, signature: '0x' },
    policy: parsePolicy({
      model: 'm',
      redundancy: 3,
      level: 'link',
      priceCeilingWei: '10',
      maxTasks: 10,
      idleSeconds: 60,
      taskSeconds: 60,
    }),
  };
}

let env: TestWorkflowEnvironment;
before(async () => {
  env = await startLocal();
});
after(async () => {
  await env.teardown();
});

const starter = (everyMs?: number) =>
  createStarter({ config: config(everyMs), client: env.client });

function isCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof EngineError && error.code === code;
}

test('scheduleEpochs: skips an epoch while one runs, and lets an outage swallow epochs', async () => {
  const handle = env.client.schedule.getHandle(HEALTH_SCHEDULE);
  await assert.rejects(handle.describe(), ScheduleNotFoundError);
  await starter().scheduleEpochs();
  const { spec, policies, action } = await handle.describe();
  assert.deepEqual(
    spec.intervals?.map((interval) => interval.every),
    [HOUR_MS],
  );
  assert.equal(spec.jitter, 1_000);
  assert.equal(policies.overlap, 'SKIP');
  assert.equal(policies.catchupWindow, 2 * HOUR_MS);
  assert.equal(action.workflowType, 'healthEpoch');
  assert.equal(action.taskQueue, TASK_QUEUES.workflows);
});

test('scheduleEpochs: brings an existing schedule up to date, and leaves a paused one paused', async () => {
  await starter().scheduleEpochs();
  const handle = env.client.schedule.getHandle(HEALTH_SCHEDULE);
  await handle.pause('maintenance');
  await starter(6 * HOUR_MS).scheduleEpochs();
  const { spec, policies, state } = await handle.describe();
  assert.deepEqual(
    spec.intervals?.map((interval) => interval.every),
    [6 * HOUR_MS],
  );
  assert.equal(policies.catchupWindow, 12 * HOUR_MS);
  assert.deepEqual([state.paused, state.note], [true, 'maintenance']);
});

test('startSession: starts a session once, however often it is asked to', async () => {
  await starter().startSession(request('71'), null);
  const handle = env.client.workflow.getHandle(workflowIds.session(3, '71'));
  const { runId } = await handle.describe();
  await starter().startSession(request('71'), null);
  assert.equal((await handle.describe()).runId, runId);
  await handle.terminate();
  await starter().startSession(request('71'), null);
  const { runId: last, status } = await handle.describe();
  assert.deepEqual([last, status.name], [runId, 'TERMINATED'], 'money flows run once');
});

test("startSession: takes a session to its owner's own host", async () => {
  const asked = request('79');
  await starter().startSession({ ...asked, policy: { ...asked.policy, host: 'mine' } }, null);
  const handle = env.client.workflow.getHandle(workflowIds.session(3, '79'));
  assert.equal((await handle.describe()).status.name, 'RUNNING');
  await handle.terminate();
});

test('startSession: refuses what cannot be served before anything is started', async () => {
  const { startSession } = starter();
  const good = request('72');
  const policy = (change: object) => ({ ...good, policy: { ...good.policy, ...change } });
  await assert.rejects(startSession(policy({ model: 'n' }), null), isCode('MODEL_UNKNOWN'));
  await assert.rejects(
    startSession({ ...good, depositWei: '0' }, null),
    isCode('SESSION_UNFUNDED'),
  );
  const tooCheap = policy({ priceCeilingWei: '9' });
  await assert.rejects(startSession(tooCheap, null), isCode('POLICY_INVALID'));
  const unread = policy({ validators: 1 });
  await assert.rejects(startSession(unread, null), isCode('POLICY_INVALID'));
  await assert.rejects(startSession(policy({ sinks: ['x'] }), null), isCode('POLICY_INVALID'));
  for (const host of ['x', 'theirs', 'reads', 'constructor']) {
    await assert.rejects(startSession(policy({ host }), null), isCode('POLICY_INVALID'));
  }
  await assert.rejects(env.client.workflow.getHandle(workflowIds.session(3, '72')).describe());
});

test('startSession: names the first of the committee as judges, as many as the policy asks for', async () => {
  const { validators } = await startedWith('73', { validators: 2 });
  assert.deepEqual(validators, ['age1oracle1', 'age1oracle2']);
  // What anyone may read, anyone may judge: no quorum of readers is needed.
  assert.deepEqual((await startedWith('74', { validators: 1, level: 'open' })).validators, [
    'age1oracle1',
  ]);
});

async function startedWith(sessionId: string, change: Partial<SessionPolicy>) {
  const good = request(sessionId);
  await starter().startSession({ ...good, policy: { ...good.policy, ...change } }, null);
  const handle = env.client.workflow.getHandle(workflowIds.session(3, sessionId));
  const [started] = (await handle.fetchHistory()).events ?? [];
  const input = argumentOf<SessionInput>(started?.workflowExecutionStartedEventAttributes?.input);
  await handle.terminate();
  return { validators: input.validators.map((validator) => validator.recipient) };
}

test('startSettlement: there is one settlement a chain', async () => {
  await starter().startSettlement();
  const handle = env.client.workflow.getHandle(workflowIds.settlement(3));
  const { runId } = await handle.describe();
  await starter().startSettlement();
  assert.equal((await handle.describe()).runId, runId);
});

test('startDappRequests: the requests of a chain are served by one workflow', async () => {
  await starter().startDappRequests();
  const handle = env.client.workflow.getHandle(workflowIds.dappRequests(3));
  const { runId } = await handle.describe();
  await starter().startDappRequests();
  assert.equal((await handle.describe()).runId, runId);
});

test('onboardMiner: may be repeated after it failed, and not while it runs', async () => {
  const application = { node: OWNER } as NodeApplication;
  const first = await starter().onboardMiner(application);
  const { runId } = await first.describe();
  const second = await starter().onboardMiner(application);
  assert.equal((await second.describe()).runId, runId);
  await first.terminate();
  const third = await starter().onboardMiner(application);
  assert.notEqual((await third.describe()).runId, runId);
});

test('exportSession: takes configured sinks only', async () => {
  await assert.rejects(starter().exportSession('71', 'yours'), isCode('REQUEST_INVALID'));
  await assert.rejects(starter().exportSession('71', 'toString'), isCode('REQUEST_INVALID'));
  const handle = await starter().exportSession('71', 'mine');
  assert.equal(handle.workflowId, workflowIds.exportSession('71', 'mine'));
});
