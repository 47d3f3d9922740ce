import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { TASK_QUEUES, workflowIds } from '../../domain/ids.js';
import type { SessionView } from '../../domain/session.js';
import type { SettledTask } from '../../domain/task.js';
import {
  awaitStateUpdate,
  closeSessionUpdate,
  completeTasksUpdate,
  setKeyringUpdate,
  submitTasksUpdate,
  taskQuery,
  tasksSettledSignal,
} from '../../workflows/messages.js';
import type { SessionInput } from '../../workflows/session.js';
import {
  RETRIES,
  startTimeSkipping,
  untilIdle,
  untilQuiet,
  withWorkers,
} from '../support/workflows.js';
import {
  CHAIN,
  CLOSE,
  COMPLETION,
  DAY_SECONDS,
  MINERS,
  network,
  sessionInput,
  SETTLED,
  startSession,
  SUBMISSION,
  TASK,
} from './session-network.js';

let env: TestWorkflowEnvironment;
before(async () => {
  env = await startTimeSkipping();
});
after(async () => {
  await env.teardown();
});

const start = (input: SessionInput) => startSession(env, input);

test('session: idles for 30 days, then closes and refunds the whole deposit', async () => {
  const { fakes, closed } = network();
  const input = sessionInput();
  const view = await withWorkers(env, fakes, async () => {
    const startedAt = await env.currentTimeMs();
    const handle = await start(input);
    const result = (await handle.result()) as SessionView;
    const days = ((await env.currentTimeMs()) - startedAt) / 1_000 / DAY_SECONDS;
    assert.ok(days >= 30 && days < 31, `${days} days`);
    return result;
  });
  assert.equal(view.state, 'Closed');
  assert.equal(view.budget.refundedWei, '1000000');
  assert.deepEqual(
    closed.map((c) => c.chargedWei),
    ['0'],
  );
});

test('session: charges a completed task, waits for its settlement, and refunds the rest', async () => {
  const { fakes, closed } = network();
  const input = sessionInput();
  const view = await withWorkers(env, fakes, async () => {
    const handle = await start(input);
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    const [accepted] = await handle.executeUpdate(submitTasksUpdate, {
      args: [{ tasks: [SUBMISSION] }],
    });
    await untilQuiet(env, handle);
    assert.deepEqual(accepted, { taskId: TASK, ordinal: 0, ended: null });
    await handle.executeUpdate(completeTasksUpdate, { args: [{ tasks: [COMPLETION] }] });
    await untilQuiet(env, handle);
    await handle.executeUpdate(closeSessionUpdate, CLOSE);
    await handle.signal(tasksSettledSignal, { taskIds: [TASK], ...SETTLED });
    return (await handle.result()) as SessionView;
  });
  // (10 + 20) tokens × 10 wei × 3 miners + 5 %
  assert.equal(view.budget.chargedWei, '945');
  assert.equal(view.budget.refundedWei, String(1_000_000 - 945));
  assert.deepEqual(
    closed.map((c) => c.chargedWei),
    ['945'],
  );
});

test('session: a task whose router is gone for good expires, and its reservation comes back', async () => {
  const { fakes } = network();
  const input = sessionInput('link', DAY_SECONDS);
  const view = await withWorkers(env, fakes, async () => {
    const handle = await start(input);
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });
    await untilQuiet(env, handle);
    return (await handle.result()) as SessionView;
  });
  assert.equal(view.state, 'Closed');
  assert.deepEqual(view.tasks, { accepted: 1, open: 0, ended: 1, settled: 0 });
  assert.equal(view.budget.refundedWei, '1000000');
});

test('session: finds no miners until its time is up, then ends as failed and refunds', async () => {
  let asked = 0;
  const { fakes, closed } = network({
    chain: {
      listCandidates: async () => {
        asked++;
        return MINERS.slice(0, 2);
      },
    },
  });
  const view = await withWorkers(env, fakes, async () => {
    const handle = await start(sessionInput());
    return (await handle.result()) as SessionView;
  });
  assert.equal(view.state, 'Failed');
  assert.equal(view.failure, 'NO_MINERS');
  assert.ok(asked > 100, `asked ${asked} times`);
  assert.equal(closed.length, 1);
});

test('session: an activity that fails until its retries end does not keep the money', async () => {
  let attempts = 0;
  const { fakes, closed } = network({
    ipfs: {
      createKeyring: async () => {
        attempts++;
        throw ApplicationFailure.create({ type: 'IPFS_UNREACHABLE', message: 'down' });
      },
    },
  });
  const view = await withWorkers(env, fakes, async () => {
    const handle = await start(sessionInput());
    return (await handle.result()) as SessionView;
  });
  assert.ok(attempts > 5, `${attempts} attempts`);
  assert.equal(view.failure, 'IPFS_UNREACHABLE');
  assert.equal(view.budget.refundedWei, '1000000');
  assert.equal(closed.length, 1);
});

test('session: an opening that the contract refuses moves no money and ends at once', async () => {
  const { fakes, closed } = network({
    chain: {
      openSession: async () => {
        throw ApplicationFailure.nonRetryable('refused', 'TRANSACTION_REVERTED');
      },
    },
  });
  const view = await withWorkers(env, fakes, async () => {
    const handle = await start(sessionInput());
    return (await handle.result()) as SessionView;
  });
  assert.equal(view.failure, 'TRANSACTION_REVERTED');
  assert.deepEqual(closed, []);
});

test('session: closing goes on after an outage of the committee that outlasts every retry', async () => {
  const until = { ms: 0 };
  const { fakes, closed } = network({
    oracles: {
      collectAttestations: async () => {
        if ((await env.currentTimeMs()) < until.ms) {
          throw ApplicationFailure.create({ type: 'NO_QUORUM', message: 'down' });
        }
        return ['0x01'];
      },
    },
  });
  const view = await withWorkers(env, fakes, async () => {
    const handle = await start(sessionInput('link', 60));
    until.ms = (await env.currentTimeMs()) + (DAY_SECONDS / 4) * 1_000;
    return (await handle.result()) as SessionView;
  });
  assert.equal(view.state, 'Closed');
  assert.equal(closed.length, 1);
});

test('session: at a sealed level it opens with the keyring of its client, not before', async () => {
  const { fakes } = network();
  await withWorkers(env, fakes, async () => {
    const handle = await start(sessionInput('sealed'));
    const waiting = await handle.executeUpdate(awaitStateUpdate, { args: ['AwaitingKeyring'] });
    assert.equal(waiting.state, 'AwaitingKeyring');
    assert.equal(waiting.miners.length, 4, 'one more miner than asked for, as a spare');
    await assert.rejects(
      handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] }),
    );
    await handle.executeUpdate(setKeyringUpdate, { args: [{ recipient: 'age1s', cid: 'k' }] });
    const open = await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    assert.equal(open.state, 'Open');
    await handle.executeUpdate(closeSessionUpdate, CLOSE);
    await handle.result();
  });
});

test('session: a client that never sends its keyring gets its deposit back', async () => {
  const { fakes, closed } = network();
  const view = await withWorkers(env, fakes, async () => {
    const handle = await start(sessionInput('sealed'));
    return (await handle.result()) as SessionView;
  });
  assert.equal(view.state, 'Failed');
  assert.equal(view.budget.refundedWei, '1000000');
  assert.equal(closed.length, 1);
});

test('session: tells the settlement workflow of each charged task', async () => {
  const { fakes } = network();
  await withWorkers(env, fakes, async () => {
    const settlement = await env.client.workflow.start('settlement', {
      workflowId: workflowIds.settlement(CHAIN),
      taskQueue: TASK_QUEUES.workflows,
      args: [
        { chainId: CHAIN, maxTasks: 10, maxAmountWei: null, maxAgeMs: 3_600_000, retries: RETRIES },
      ],
    });
    const handle = await start(sessionInput());
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });
    await untilQuiet(env, handle);
    await handle.executeUpdate(completeTasksUpdate, { args: [{ tasks: [COMPLETION] }] });
    await env.sleep('10s');
    const history = await settlement.fetchHistory();
    const signals = (history.events ?? []).filter(
      (event) => event.workflowExecutionSignaledEventAttributes?.signalName === 'tasksEnded',
    );
    assert.equal(signals.length, 1);
    const payload = signals[0]?.workflowExecutionSignaledEventAttributes?.input?.payloads?.[0];
    const { tasks } = JSON.parse(Buffer.from(payload?.data ?? []).toString()) as {
      tasks: SettledTask[];
    };
    assert.deepEqual(
      tasks.map((task) => [task.taskId, task.chargeWei]),
      [[TASK, '945']],
    );
    await untilIdle(env, settlement);
    await untilIdle(env, handle);
    await settlement.terminate();
    await handle.terminate();
  });
});

test('session: a task that the committee disputes is not charged', async () => {
  const { fakes, closed } = network();
  await withWorkers(env, fakes, async () => {
    const handle = await start(sessionInput());
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });
    await untilQuiet(env, handle);
    await handle.executeUpdate(completeTasksUpdate, { args: [{ tasks: [COMPLETION] }] });
    await handle.signal(tasksSettledSignal, {
      taskIds: [TASK],
      isSettled: false,
      transaction: null,
      batchCid: null,
    });
    await untilQuiet(env, handle);
    await handle.executeUpdate(closeSessionUpdate, CLOSE);
    const view = (await handle.result()) as SessionView;
    assert.equal(view.budget.chargedWei, '0');
    assert.equal(view.budget.refundedWei, '1000000');
    assert.equal((await handle.query(taskQuery, TASK))?.outcome, 'disputed');
  });
  assert.deepEqual(
    closed.map((c) => c.chargedWei),
    ['0'],
  );
});
