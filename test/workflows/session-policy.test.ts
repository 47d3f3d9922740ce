import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Context } from '@temporalio/activity';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { workflowIds } from '../../domain/ids.js';
import type { LeaseInput } from '../../domain/lease.js';
import type { PolicyChange, SessionPolicy, SessionView } from '../../domain/session.js';
import type { EndedTasks } from '../../domain/settlement.js';
import {
  awaitStateUpdate,
  changePolicyUpdate,
  claimLeaseUpdate,
  closeSessionUpdate,
  completeTasksUpdate,
  sessionQuery,
  submitTasksUpdate,
  taskQuery,
  tasksSettledSignal,
} from '../../workflows/messages.js';
import type { SessionInput } from '../../workflows/session.js';
import {
  argumentOf,
  refused,
  startLocal,
  untilTrue,
  updateCodeOf,
  withWorkers,
} from '../support/workflows.js';
import {
  CHAIN,
  CLOSE,
  COMPLETION,
  network,
  OTHER,
  sessionInput,
  SETTLED,
  startSession,
  SUBMISSION,
  TASK,
} from './session-network.js';

// A real server: the one that skips time loses an update that arrives while an activity ends.
let env: TestWorkflowEnvironment;
before(async () => {
  env = await startLocal();
});
after(async () => {
  await env.teardown();
});

async function open(
  input: SessionInput,
  fakes: ReturnType<typeof network>['fakes'],
  scenario: (session: WorkflowHandle) => Promise<void>,
): Promise<void> {
  await withWorkers(env, fakes, async () => {
    const handle = await startSession(env, input);
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await scenario(handle);
    await handle.executeUpdate(closeSessionUpdate, CLOSE);
    await handle.result();
  });
}

function changeOf(input: SessionInput, policy: Partial<SessionPolicy>, nonce = 0): PolicyChange {
  const { sessionId, policy: old } = input.request ?? input.inference;
  return { sessionId, policy: { ...old, ...policy }, nonce, signature: `0x0${nonce}` };
}

test('session: changes its policy once all under the old one has ended and is settled', async () => {
  const input = sessionInput('open');
  const statesAtChange: unknown[] = [];
  const { fakes } = network({
    chain: {
      // Judged by the policy on chain, the task must be settled before this.
      changePolicy: async () => {
        const session = env.client.workflow.getHandle(
          workflowIds.session(CHAIN, input.request?.sessionId ?? ''),
        );
        statesAtChange.push((await session.query(taskQuery, TASK))?.state);
        return '0x0c';
      },
    },
  });
  await open(input, fakes, async (session) => {
    await session.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });
    const changed = session.executeUpdate(changePolicyUpdate, {
      args: [changeOf(input, { redundancy: 1, minMiners: 1, maxMiners: 2 })],
    });
    await session.executeUpdate(awaitStateUpdate, { args: ['Changing'] });
    const answers = await session.executeUpdate(submitTasksUpdate, {
      args: [{ tasks: [SUBMISSION, OTHER] }],
    });
    assert.deepEqual(answers, [
      { taskId: TASK, ordinal: 0, ended: null },
      { taskId: OTHER.taskId, refused: 'SESSION_BUSY' },
    ]);
    assert.equal(
      await updateCodeOf(session.executeUpdate(claimLeaseUpdate, { args: ['router:x'] })),
      'SESSION_BUSY',
    );
    await session.executeUpdate(completeTasksUpdate, { args: [{ tasks: [COMPLETION] }] });
    await untilTrue(env, () => isSettlementUrged(session), 'its settlement to be urged', '100ms');
    assert.equal((await session.query(sessionQuery)).state, 'Changing');
    await session.signal(tasksSettledSignal, { taskIds: [TASK], ...SETTLED });

    const view = await changed;
    assert.deepEqual(statesAtChange, ['Settled']);
    assert.deepEqual(
      [view.state, view.policyNonce, view.policy.redundancy, view.miners.length],
      ['Open', 1, 1, 2],
    );
    const [accepted] = await session.executeUpdate(submitTasksUpdate, {
      args: [{ tasks: [OTHER] }],
    });
    assert.deepEqual(accepted, { taskId: OTHER.taskId, ordinal: 1, ended: null });
    // 100 tokens × 10 wei × 1 miner + 5 %
    assert.equal((await session.query(sessionQuery)).budget.reservedWei, '1050');
    await session.executeUpdate(completeTasksUpdate, {
      args: [{ tasks: [{ ...COMPLETION, taskId: OTHER.taskId, outcome: 'failed' }] }],
    });
  });
});

async function isSettlementUrged(session: WorkflowHandle): Promise<boolean> {
  const { events } = await session.fetchHistory();
  return (events ?? []).some(
    ({ signalExternalWorkflowExecutionInitiatedEventAttributes: signal }) =>
      signal?.signalName === 'tasksEnded' && argumentOf<EndedTasks>(signal.input).isUrgent,
  );
}

test('session: a router that serves it gets the new policy with its next lease', async () => {
  const input = sessionInput('open');
  const leases: LeaseInput[] = [];
  const holdLease = async (lease: LeaseInput) => {
    leases.push(lease);
    const beat = setInterval(() => Context.current().heartbeat(), 300);
    await Context.current().cancelled.finally(() => clearInterval(beat));
  };
  await open(input, { ...network().fakes, 'router:a': { holdLease } }, async (session) => {
    const claim = async () => {
      const before = leases.length;
      await session.executeUpdate(claimLeaseUpdate, { args: ['router:a'] });
      await untilTrue(env, () => leases.length > before, 'the lease', '100ms');
    };
    await claim();
    await session.executeUpdate(changePolicyUpdate, { args: [changeOf(input, { maxTasks: 7 })] });
    await claim();
    assert.deepEqual(
      leases.map((lease) => lease.policy.maxTasks),
      [100, 7],
    );
  });
});

test('session: a change that the contract refuses leaves the old policy, and the session open', async () => {
  const input = sessionInput('open');
  const { fakes } = network({
    chain: {
      changePolicy: async () => {
        throw refused('TRANSACTION_REVERTED');
      },
    },
  });
  await open(input, fakes, async (session) => {
    const change = changeOf(input, { maxTasks: 7 });
    assert.equal(
      await updateCodeOf(session.executeUpdate(changePolicyUpdate, { args: [change] })),
      'TRANSACTION_REVERTED',
    );
    const { state, policyNonce, policy } = await session.query(sessionQuery);
    assert.deepEqual([state, policyNonce, policy.maxTasks], ['Open', 0, 100]);
    const [answer] = await session.executeUpdate(submitTasksUpdate, {
      args: [{ tasks: [SUBMISSION] }],
    });
    assert.ok(answer !== undefined && 'ordinal' in answer);
    await session.executeUpdate(completeTasksUpdate, {
      args: [{ tasks: [{ ...COMPLETION, outcome: 'failed' }] }],
    });
  });
});

test('session: refuses changes of policy that cannot be before anything is recorded', async () => {
  const input = sessionInput('open');
  const net = network();
  await open(input, net.fakes, async (session) => {
    await session.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION, OTHER] }] });
    for (const taskId of [TASK, OTHER.taskId]) {
      const end = { ...COMPLETION, taskId, outcome: 'failed' as const };
      await session.executeUpdate(completeTasksUpdate, { args: [{ tasks: [end] }] });
    }
    const bad: [PolicyChange, string][] = [
      [changeOf(input, { model: 'n' }), 'POLICY_INVALID'],
      [changeOf(input, { level: 'link' }), 'POLICY_INVALID'],
      [changeOf(input, { validators: 1 }), 'POLICY_INVALID'],
      [changeOf(input, { settlement: 'stepwise' }), 'POLICY_INVALID'],
      [changeOf(input, { maxTasks: 1 }), 'POLICY_INVALID'],
      [changeOf(input, { priceCeilingWei: '9' }), 'POLICY_INVALID'],
      [changeOf(input, { redundancy: 99 }), 'POLICY_INVALID'],
      [changeOf(input, {}, 1), 'POLICY_INVALID'],
      [{ ...changeOf(input, {}), sessionId: '999' }, 'REQUEST_INVALID'],
    ];
    for (const [change, code] of bad) {
      const update = session.executeUpdate(changePolicyUpdate, { args: [change] });
      assert.equal(await updateCodeOf(update), code, JSON.stringify(change));
    }
    assert.equal((await session.query(sessionQuery)).policyNonce, 0);
  });
  assert.deepEqual(net.calls, ['openSession']);
});

test('session: closes on request also while its policy is being changed, and refunds', async () => {
  const input = sessionInput('open');
  const net = network();
  await withWorkers(env, net.fakes, async () => {
    const session = await startSession(env, input);
    await session.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await session.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });
    const change = updateCodeOf(
      session.executeUpdate(changePolicyUpdate, { args: [changeOf(input, { maxTasks: 7 })] }),
    );
    await session.executeUpdate(awaitStateUpdate, { args: ['Changing'] });
    await session.executeUpdate(closeSessionUpdate, { args: [{ isCancelled: true }] });
    assert.equal(await change, 'SESSION_NOT_OPEN');
    const view = (await session.result()) as SessionView;
    assert.deepEqual([view.state, view.budget.refundedWei], ['Closed', '1000000']);
  });
  assert.ok(!net.calls.includes('policy:0'));
});

test('session: is found by owner, model and state', async () => {
  const input = sessionInput('open');
  await open(input, network().fakes, async (session) => {
    const query = `CortensorModel = "m" AND CortensorState = "Open" AND CortensorOwner = "${input.request?.owner}"`;
    const found = async () => {
      for await (const run of env.client.workflow.list({ query })) {
        if (run.workflowId === session.workflowId) return true;
      }
      return false;
    };
    await untilTrue(env, found, 'the session to be found', '100ms');
  });
});
