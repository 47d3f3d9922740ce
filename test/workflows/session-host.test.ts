import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Delivery } from '../../domain/hosting.js';
import type { Cid } from '../../domain/ids.js';
import type { SessionView } from '../../domain/session.js';
import {
  awaitStateUpdate,
  closeSessionUpdate,
  completeTasksUpdate,
  sessionQuery,
  submitTasksUpdate,
  taskQuery,
  tasksSettledSignal,
} from '../../workflows/messages.js';
import {
  down,
  durationMsOf,
  startTimeSkipping,
  untilQuiet,
  untilTrue,
  withWorkers,
} from '../support/workflows.js';
import {
  CLOSE,
  COMPLETION,
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

/** A user's store as workers reach it, and what was brought there. */
function userStore() {
  const world = {
    isAway: false,
    tries: 0,
    copied: [] as Cid[],
    moved: [] as Cid[],
    given: [] as Cid[],
  };
  const ipfs = {
    deliverTasks: async ({ host, tasks }: { host: string; tasks: readonly Delivery[] }) => {
      assert.equal(host, 'mine');
      world.tries++;
      if (world.isAway) throw down('HOST_UNREACHABLE');
      for (const { requestCid, letGo } of tasks)
        (letGo ? world.moved : world.copied).push(requestCid);
    },
    giveUpTasks: async ({ tasks }: { tasks: readonly Delivery[] }) => {
      for (const { requestCid } of tasks) world.given.push(requestCid);
    },
  };
  return { world, ipfs };
}

const HOSTED = { host: 'mine' };

test('results are copied to the host at once, and leave our nodes when they are settled', async () => {
  const { world, ipfs } = userStore();
  const { fakes } = network({ ipfs });
  await withWorkers(env, fakes, async () => {
    const handle = await startSession(env, sessionInput('link', undefined, HOSTED));
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });
    await untilQuiet(env, handle);
    assert.deepEqual(world, { isAway: false, tries: 0, copied: [], moved: [], given: [] });
    const [end] = await handle.executeUpdate(completeTasksUpdate, {
      args: [{ tasks: [COMPLETION] }],
    });
    assert.equal(end?.hostCode, undefined);
    await untilTrue(env, () => world.copied.length > 0, 'a copy at the host');
    assert.deepEqual(world.moved, [], 'oracles may still have to read it here');
    assert.deepEqual((await handle.query(taskQuery, TASK))?.host, { state: 'waiting', code: null });
    await untilQuiet(env, handle);
    await handle.signal(tasksSettledSignal, { ...SETTLED, taskIds: [TASK] });
    await untilTrue(env, () => world.moved.length > 0, 'the rest of the move');
    await untilQuiet(env, handle);
    assert.deepEqual((await handle.query(taskQuery, TASK))?.host, { state: 'held', code: null });
    const { host } = await handle.query(sessionQuery);
    assert.deepEqual(host, {
      ...{ name: 'mine', code: null, sinceMs: null },
      ...{ waiting: 0, held: 1, givenUp: 0 },
    });
    await handle.executeUpdate(closeSessionUpdate, CLOSE);
    await handle.result();
  });
  assert.equal(world.tries, 2);
});

test('a host that is away is named, results wait and are paid for, and arrive when it is back', async () => {
  const { world, ipfs } = userStore();
  world.isAway = true;
  const { fakes, closed } = network({ ipfs });
  const next = { ...SUBMISSION, taskId: `0x${'33'.repeat(32)}` as const };
  await withWorkers(env, fakes, async () => {
    const handle = await startSession(env, sessionInput('link', undefined, HOSTED));
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION, next] }] });
    await untilQuiet(env, handle);
    await handle.executeUpdate(completeTasksUpdate, { args: [{ tasks: [COMPLETION] }] });
    const codeOf = async () => (await handle.query(sessionQuery)).host?.code;
    await untilTrue(env, async () => (await codeOf()) === 'HOST_UNREACHABLE', 'the host away');
    const away = (await handle.query(taskQuery, TASK))?.host;
    assert.deepEqual(away, { state: 'waiting', code: 'HOST_UNREACHABLE' });
    await untilQuiet(env, handle);
    const [end] = await handle.executeUpdate(completeTasksUpdate, {
      args: [{ tasks: [{ ...COMPLETION, taskId: next.taskId }] }],
    });
    assert.deepEqual([end?.outcome, end?.hostCode], ['completed', 'HOST_UNREACHABLE']);
    await handle.signal(tasksSettledSignal, { ...SETTLED, taskIds: [TASK, next.taskId] });

    await untilQuiet(env, handle);
    await handle.executeUpdate(closeSessionUpdate, CLOSE);
    const stateOf = async () => (await handle.query(sessionQuery)).state;
    await untilTrue(env, async () => (await stateOf()) === 'Closed', 'the close', '10s');
    const { host, budget, tasks } = await handle.query(sessionQuery);
    assert.equal(tasks.settled, 2, 'miners are paid for what they have committed');
    assert.ok(BigInt(budget.refundedWei) > 0n);
    assert.equal(host?.waiting, 2);
    assert.ok(host.sinceMs !== null);

    await env.sleep('5 days');
    assert.equal(world.moved.length, 0);
    world.isAway = false;
    const view = (await handle.result()) as SessionView;
    assert.deepEqual([view.host?.waiting, view.host?.held, view.host?.code], [0, 2, null]);
  });
  assert.equal(closed.length, 1);
  assert.equal(new Set(world.moved).size, 1, 'the same request twice');
  assert.equal(world.moved.length, 2);
  assert.deepEqual(world.given, []);
});

test('a host that stays away for thirty days after the close has lost what waited for it', async () => {
  const { world, ipfs } = userStore();
  world.isAway = true;
  const { fakes } = network({ ipfs });
  await withWorkers(env, fakes, async () => {
    const handle = await startSession(env, sessionInput('link', undefined, HOSTED));
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });
    await untilQuiet(env, handle);
    const failed = { ...COMPLETION, outcome: 'failed' as const };
    await handle.executeUpdate(completeTasksUpdate, { args: [{ tasks: [failed] }] });
    await untilQuiet(env, handle);
    await handle.executeUpdate(closeSessionUpdate, CLOSE);
    const view = (await handle.result()) as SessionView;
    const days = (await durationMsOf(handle)) / 86_400_000;
    assert.ok(days >= 29.9 && days < 31, `${days} days`);
    const { waiting, held, givenUp, code } = view.host ?? assert.fail();
    assert.deepEqual([waiting, held, givenUp, code], [0, 0, 1, 'HOST_UNREACHABLE']);
  });
  assert.deepEqual(world.given, ['request-cid']);
  assert.deepEqual(world.moved, []);
  assert.ok(world.tries < 400, `${world.tries} tries: each is in the history`);
});

test('a session without a host says nothing of one', async () => {
  const { fakes } = network();
  await withWorkers(env, fakes, async () => {
    const handle = await startSession(env, sessionInput());
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] });
    await untilQuiet(env, handle);
    await handle.executeUpdate(completeTasksUpdate, {
      args: [{ tasks: [{ ...COMPLETION, outcome: 'failed' as const }] }],
    });
    assert.equal((await handle.query(taskQuery, TASK))?.host, undefined);
    assert.equal((await handle.query(sessionQuery)).host, undefined);
    await untilQuiet(env, handle);
    await handle.executeUpdate(closeSessionUpdate, CLOSE);
    await handle.result();
  });
});

test('what waits for its host is not forgotten, however much else is archived', async (t) => {
  // A server of its own: its clock is not to be kept by what others have left, nor theirs by this.
  const own = await startTimeSkipping();
  t.after(() => own.teardown());
  const { world, ipfs } = userStore();
  world.isAway = true;
  let pages = 0;
  const { fakes } = network({
    ipfs: {
      ...ipfs,
      archiveTasks: async () => {
        pages++;
        return 'page-cid';
      },
    },
  });
  const submissions = Array.from({ length: 1_500 }, (_, n) => ({
    ...SUBMISSION,
    taskId: `0x${(n + 1).toString(16).padStart(64, '0')}` as const,
    ...{ maxPromptTokens: 1, maxTokens: 1 },
  }));
  await withWorkers(own, fakes, async () => {
    const policy = { ...HOSTED, maxTasks: 3_000 };
    const handle = await startSession(own, sessionInput('link', undefined, policy));
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    for (let at = 0; at < submissions.length; at += 500) {
      const tasks = submissions.slice(at, at + 500);
      await handle.executeUpdate(submitTasksUpdate, { args: [{ tasks }] });
    }
    for (let at = 0; at < submissions.length; at += 500) {
      const ends = submissions.slice(at, at + 500).map(({ taskId }) => taskId);
      const tasks = ends.map((taskId) => ({ ...COMPLETION, taskId, outcome: 'failed' as const }));
      await untilQuiet(own, handle);
      await handle.executeUpdate(completeTasksUpdate, { args: [{ tasks }] });
    }
    await own.sleep('1 minute');
    await untilQuiet(own, handle);
    assert.equal((await handle.query(sessionQuery)).host?.waiting, 1_500);
    assert.equal(pages, 0);
    world.isAway = false;
    await untilTrue(own, () => pages > 0, 'the archive, once the host has them', '1 minute');
    assert.ok(world.moved.length >= 500);
    await untilQuiet(own, handle);
    await handle.executeUpdate(closeSessionUpdate, CLOSE);
    const view = (await handle.result()) as SessionView;
    assert.deepEqual([view.host?.waiting, view.host?.held], [0, 1_500]);
  });
});
