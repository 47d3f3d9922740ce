import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { workflowIds } from '../../domain/ids.js';
import type { SessionView } from '../../domain/session.js';
import type { Reader } from '../../domain/sealing.js';
import {
  awaitStateUpdate,
  cancelTasksUpdate,
  closeSessionUpdate,
  completeTasksUpdate,
  sessionQuery,
  submitTasksUpdate,
  syncDepositUpdate,
  taskQuery,
} from '../../workflows/messages.js';
import type { SessionInput } from '../../workflows/session.js';
import {
  durationMsOf,
  startTimeSkipping,
  untilQuiet,
  untilTrue,
  withWorkers,
} from '../support/workflows.js';
import {
  CHAIN,
  COMPLETION,
  DAY_SECONDS,
  MINERS,
  network,
  OTHER,
  sessionInput,
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

/** A test with a server of its own: with this one, a workflow that outlives the session which has
 * started it keeps the clock from being skipped ever after. */
function testAlone(name: string, run: (env: TestWorkflowEnvironment) => Promise<void>): void {
  test(name, async () => {
    const own = await startTimeSkipping();
    try {
      await run(own);
    } finally {
      await own.teardown();
    }
  });
}

test('session: closes when its life is over, however busy it is', async () => {
  const { fakes, closed } = network();
  const input = sessionInput('link', DAY_SECONDS, { lifeSeconds: 3_600 });
  await withWorkers(env, fakes, async () => {
    const handle = await start(input);
    const open = await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    const opened = Date.parse((await handle.describe()).startTime.toISOString());
    assert.ok(Math.abs(open.expiresAtMs - opened - 3_600_000) < 60_000);
    await env.sleep('3590s');
    await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });
    await untilQuiet(env, handle);
    const view = (await handle.result()) as SessionView;
    assert.deepEqual([view.state, view.budget.refundedWei], ['Closed', '1000000']);
    assert.equal((await handle.query(taskQuery, TASK))?.outcome, 'expired');
    // The task that was under way had its time, and no more.
    const seconds = (await durationMsOf(handle)) / 1_000;
    assert.ok(seconds >= 3_600 && seconds < 3_600 + 200, `${seconds} s`);
  });
  assert.equal(closed.length, 1);
});

test('session: cancelled, it does not wait for tasks that no router has, and refunds', async () => {
  const { fakes, closed } = network();
  await withWorkers(env, fakes, async () => {
    const handle = await start(sessionInput());
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });
    await untilQuiet(env, handle);
    await handle.executeUpdate(closeSessionUpdate, { args: [{ isCancelled: true }] });
    const view = (await handle.result()) as SessionView;
    assert.deepEqual([view.state, view.budget.refundedWei], ['Closed', '1000000']);
    assert.equal((await handle.query(taskQuery, TASK))?.outcome, 'cancelled');
    assert.ok((await durationMsOf(handle)) < 60_000, 'not the time of a task');
  });
  assert.equal(closed.length, 1);
});

test('session: a cancelled task is free, and one that has ended stays as it ended', async () => {
  const { fakes } = network();
  await withWorkers(env, fakes, async () => {
    const handle = await start(sessionInput());
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION, OTHER] }] });
    await untilQuiet(env, handle);
    const failed = { ...COMPLETION, taskId: OTHER.taskId, outcome: 'failed' as const };
    await handle.executeUpdate(completeTasksUpdate, { args: [{ tasks: [failed] }] });
    const ends = await handle.executeUpdate(cancelTasksUpdate, {
      args: [{ taskIds: [TASK, OTHER.taskId] }],
    });
    assert.deepEqual(
      ends.map((end) => [end.outcome, end.chargeWei]),
      [
        ['cancelled', '0'],
        ['failed', '0'],
      ],
    );
    assert.equal((await handle.query(sessionQuery)).budget.freeWei, '1000000');
    await untilQuiet(env, handle);
    await handle.executeUpdate(closeSessionUpdate, { args: [{ isCancelled: false }] });
    await handle.result();
  });
});

test('session: closes at once when it sees that its owner takes the exit on chain', async () => {
  const { fakes, closed, account } = network();
  await withWorkers(env, fakes, async () => {
    const handle = await start(sessionInput());
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await untilQuiet(env, handle);
    account.isOpen = false;
    await handle.executeUpdate(syncDepositUpdate);
    const view = (await handle.result()) as SessionView;
    assert.deepEqual([view.state, view.budget.refundedWei], ['Closed', '1000000']);
  });
  assert.equal(closed.length, 1);
});

test('session: closes when its tasks are used up', async () => {
  const { fakes, closed } = network();
  await withWorkers(env, fakes, async () => {
    const handle = await start(sessionInput('link', DAY_SECONDS, { maxTasks: 1 }));
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });
    await untilQuiet(env, handle);
    const failed = { ...COMPLETION, outcome: 'failed' as const };
    await handle.executeUpdate(completeTasksUpdate, { args: [{ tasks: [failed] }] });
    assert.equal(((await handle.result()) as SessionView).state, 'Closed');
    assert.ok((await durationMsOf(handle)) < 60_000);
  });
  assert.equal(closed.length, 1);
});

test('session: takes any number of miners its policy allows, and no fewer', async () => {
  const { fakes } = network();
  await withWorkers(env, fakes, async () => {
    for (const [minMiners, maxMiners, reserved] of [
      [3, 3, 3],
      [3, 9, 4],
    ] as const) {
      const handle = await start(sessionInput('open', DAY_SECONDS, { minMiners, maxMiners }));
      const view = await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
      assert.equal(view.miners.length, reserved);
      await handle.executeUpdate(closeSessionUpdate, { args: [{ isCancelled: false }] });
      await handle.result();
    }
    const lacking = await start(sessionInput('open', DAY_SECONDS, { minMiners: 5, maxMiners: 9 }));
    assert.equal(((await lacking.result()) as SessionView).failure, 'NO_MINERS');
  });
});

testAlone('session: exports itself to the sinks of its policy when it has closed', async (env) => {
  const sealed: string[] = [];
  const { fakes } = network();
  const database = {
    prepareSink: async () => undefined,
    exportPage: async ({ from }: { from: object }) => {
      return { next: from, isMore: false, isEnded: true, tasks: 0, rows: 1, lag: 0 };
    },
    sealExport: async ({ sink }: { sink: string }) => {
      sealed.push(sink);
      return {};
    },
  };
  await withWorkers(env, { ...fakes, database }, async () => {
    const handle = await startSession(env, sessionInput('open', 60, { sinks: ['one', 'two'] }));
    assert.equal(((await handle.result()) as SessionView).state, 'Closed');
    for (const sink of ['one', 'two']) {
      const id = workflowIds.exportSession(handle.workflowId.split(':').at(-1) ?? '', sink);
      await env.client.workflow.getHandle(id).result();
    }
  });
  assert.deepEqual(sealed.sort(), ['one', 'two']);
});
testAlone(
  'session: replaces miners that are no candidates any more, and lets the others in',
  async (env) => {
    const rewraps: { keyring: { cid: string }; readers: readonly Reader[] }[] = [];
    const unpinned: string[] = [];
    let candidates = MINERS;
    const spare = { ...MINERS[0], address: '0x05' as const, recipient: 'age10x05' };
    const { fakes } = network({
      chain: { listCandidates: async () => candidates },
      ipfs: {
        archiveTasks: async () => 'page',
        releaseTasks: async () => null,
        unpin: async ({ cid }: { cid: string }) => {
          unpinned.push(cid);
        },
      },
      routers: {
        rewrapKeyring: async (input: (typeof rewraps)[number]) => {
          rewraps.push(input);
          return { recipient: 'age1session', cid: 'second-keyring' };
        },
      },
    });
    const input = sessionInput('link', DAY_SECONDS, {
      reserveSeconds: 600,
      taskSeconds: 3_600,
      maxMiners: 4,
      retentionSeconds: 60,
    });
    await withWorkers(env, fakes, async () => {
      const handle = await startSession(env, input);
      const { miners } = await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
      assert.equal(miners.length, 4);
      candidates = [...MINERS.slice(1), spare as (typeof MINERS)[number]];
      await env.sleep('1 hour');
      const idle = await handle.query(sessionQuery);
      assert.deepEqual(idle.miners, miners, 'an idle session costs nothing');

      await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });

      await untilQuiet(env, handle);
      const isReplaced = async () =>
        (await handle.query(sessionQuery)).miners.some((miner) => miner.address === '0x05');
      await untilTrue(env, isReplaced, 'the miners to be replaced');
      const view = await handle.query(sessionQuery);
      assert.deepEqual(
        view.miners.map((miner) => miner.address).sort(),
        ['0x02', '0x03', '0x04', '0x05'],
        'those that still may stay',
      );
      assert.equal(view.keyring?.cid, 'second-keyring');
      assert.equal(rewraps[0]?.keyring.cid, 'keyring-cid');
      assert.ok(rewraps[0]?.readers.some((reader) => reader.recipient === 'age10x05'));
      assert.ok(!rewraps[0]?.readers.some((reader) => reader.recipient === 'age10x01'));
      assert.equal(view.tasks.open, 1, 'no task has failed by it');
      await untilQuiet(env, handle);
      await handle.executeUpdate(closeSessionUpdate, { args: [{ isCancelled: true }] });
      await handle.result();
      const release = workflowIds.releaseContent(CHAIN, input.request?.sessionId ?? '');
      await env.client.workflow.getHandle(release).result();
    });
    assert.deepEqual(unpinned, ['keyring-cid', 'second-keyring'], 'both open what is sealed');
    assert.equal(rewraps.length, 1);
  },
);
