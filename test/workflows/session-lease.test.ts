import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { ClaimTerms, LeaseEnd, LeaseInput } from '../../domain/lease.js';
import type { SessionView } from '../../domain/session.js';
import {
  awaitStateUpdate,
  claimLeaseUpdate,
  closeSessionUpdate,
  completeTasksUpdate,
  sessionQuery,
  submitTasksUpdate,
  tasksSettledSignal,
} from '../../workflows/messages.js';
import type { SessionInput } from '../../workflows/session.js';
import {
  persistently,
  startLocal,
  untilTrue,
  withWorkers,
  type FakeActivities,
} from '../support/workflows.js';
import {
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

const start = (input: SessionInput) => startSession(env, input);

test('session: continues as new with its open tasks, charges and counts', async () => {
  const { fakes } = network();
  const input = sessionInput();
  await withWorkers(env, fakes, async () => {
    const handle = await start(input);
    const firstRun = handle.firstExecutionRunId;
    // Not bound to the first run, as routers are not.
    const session = env.client.workflow.getHandle(handle.workflowId);
    await session.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await session.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION, OTHER] }] });
    await session.executeUpdate(completeTasksUpdate, { args: [{ tasks: [COMPLETION] }] });
    const before = await session.query(sessionQuery);

    const repeat = async (times: number): Promise<void> => {
      for (let i = 0; i < times; i++) {
        await persistently(() =>
          session.executeUpdate(submitTasksUpdate, { args: [{ tasks: [OTHER] }] }),
        );
      }
    };
    // Two events an update at least. No more than 10 may be under way.
    await Promise.all(Array.from({ length: 7 }, () => repeat(100)));
    await untilTrue(
      env,
      async () => (await session.describe()).runId !== firstRun,
      'the next run',
      '10ms',
    );

    assert.deepEqual(await session.query(sessionQuery), before);
    assert.deepEqual(before.tasks, { accepted: 2, open: 1, ended: 1, settled: 0 });
    assert.equal(before.budget.chargedWei, '945');
    await session.executeUpdate(completeTasksUpdate, {
      args: [{ tasks: [{ ...COMPLETION, taskId: OTHER.taskId }] }],
    });
    await session.executeUpdate(closeSessionUpdate, CLOSE);
    await session.signal(tasksSettledSignal, {
      taskIds: [TASK, OTHER.taskId],
      ...SETTLED,
    });
    const view = (await session.result()) as SessionView;
    assert.deepEqual(view.tasks, { accepted: 2, open: 0, ended: 2, settled: 2 });
    assert.equal(view.budget.chargedWei, String(2 * 945));
  });
});

/** Routers that hold leases until a test ends them, and note which they were given. */
function routers() {
  const leases: {
    router: string;
    input: LeaseInput;
    end: (error?: Error | LeaseEnd) => void;
  }[] = [];
  const routerOf = (router: string) => ({
    holdLease: async (input: LeaseInput) => {
      const context = Context.current();
      const beat = setInterval(() => context.heartbeat(), 500);
      try {
        const held = new Promise<LeaseEnd | null>((resolve, reject) => {
          const end = (error?: Error | LeaseEnd) =>
            error instanceof Error ? reject(error) : resolve(error ?? null);
          leases.push({ router, input, end });
        });
        return await Promise.race([held, context.cancelled]);
      } finally {
        clearInterval(beat);
      }
    },
  });
  const lease = async (number: number) => {
    await untilTrue(env, () => leases.length >= number, `lease ${number}`, '100ms');
    const found = leases[number - 1];
    assert.ok(found);
    return found;
  };
  const fakes: FakeActivities = {
    'router:a': routerOf('a'),
    'router:b': routerOf('b'),
    routers: routerOf('any'),
  };
  return { fakes, lease, leases };
}

/** Has a scenario play on a session that is open, and closes it in the end. */
async function withOpenSession(
  scenario: (session: ReturnType<typeof hands>) => Promise<void>,
): Promise<void> {
  const fleet = routers();
  await withWorkers(env, { ...network().fakes, ...fleet.fakes }, async () => {
    const handle = await start(sessionInput());
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await scenario(hands(handle, fleet));
    await handle.executeUpdate(closeSessionUpdate, CLOSE);
    await handle.result();
  });
}

/** What routers do with a session. */
function hands(
  handle: Awaited<ReturnType<typeof start>>,
  { lease, leases }: Pick<ReturnType<typeof routers>, 'lease' | 'leases'>,
) {
  return {
    handle,
    lease,
    leases,
    claim: (queue: string, terms?: ClaimTerms) =>
      handle.executeUpdate(claimLeaseUpdate, {
        args: terms === undefined ? [queue] : [queue, terms],
      }),
    submit: () => handle.executeUpdate(submitTasksUpdate, { args: [{ tasks: [SUBMISSION] }] }),
    /** Completes it, without an answer. */
    fail: () =>
      handle.executeUpdate(completeTasksUpdate, {
        args: [{ tasks: [{ ...COMPLETION, outcome: 'failed' }] }],
      }),
  };
}

test('session: a router that claims the lease gets it, with all that it needs to serve', async () => {
  await withOpenSession(async ({ handle, claim, lease }) => {
    const claimed = await claim('router:a');
    assert.equal(claimed.holder, 'router:a');
    const { router, input, end } = await lease(1);
    assert.equal(router, 'a');
    assert.equal(input.workflowId, handle.workflowId);
    assert.equal(input.miners.length, 4);
    assert.equal(input.keyring?.cid, 'keyring-cid');
    assert.deepEqual(input.openTasks, []);
    end();
  });
});

test('session: a lease that is given back idle is free for the next router that claims it', async () => {
  await withOpenSession(async ({ handle, claim, lease, leases }) => {
    await claim('router:a');
    (await lease(1)).end();
    // Given back, not lost: an idle session costs no router anything.
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    assert.equal(leases.length, 1);
    await claim('router:b');
    const second = await lease(2);
    assert.equal(second.router, 'b');
    second.end();
  });
});

test('session: a lease moves to another router only while no task is open', async () => {
  await withOpenSession(async ({ claim, lease, submit, fail }) => {
    await claim('router:a');
    await lease(1);
    await submit();
    const refused = await claim('router:b');
    assert.equal(refused.holder, 'router:a');
    await fail();
    const moved = await claim('router:b');
    assert.equal(moved.holder, 'router:b');
    const second = await lease(2);
    assert.equal(second.router, 'b');
    second.end();
  });
});

test('session: a lease whose holder is known to have died moves at once, tasks and all', async () => {
  await withOpenSession(async ({ claim, lease, submit, fail }) => {
    await claim('router:a');
    await lease(1);
    await submit();
    assert.deepEqual(await claim('router:b', { gone: 7 }), { holder: 'router:a', number: 1 });
    assert.equal((await claim('router:b', { gone: 1 })).holder, 'router:b');
    const second = await lease(2);
    assert.equal(second.router, 'b');
    assert.equal(second.input.openTasks.length, 1);
    assert.equal(
      (await claim('router:b', { gone: 1 })).number,
      2,
      'the lease that is gone is another one',
    );
    await fail();
    second.end();
  });
});

test('session: a patient router leaves an idle session where it is', async () => {
  await withOpenSession(async ({ claim, lease }) => {
    await claim('router:a');
    const { end } = await lease(1);
    const terms = { isPatient: true };
    const asked = await claim('router:b', terms);
    assert.equal(asked.holder, 'router:a');
    end();
  });
});

test('session: tasks that a router finishes after it gave the lease back are named to the next', async () => {
  await withOpenSession(async ({ claim, lease, submit, fail }) => {
    await claim('router:a');
    const first = await lease(1);
    await submit();
    first.end({ leaving: [{ taskId: TASK, forMs: 15_000 }] });
    const second = await lease(2);
    assert.equal(second.router, 'any');
    const [leaving] = second.input.leaving;
    assert.equal(leaving?.taskId, TASK);
    assert.ok(leaving.forMs > 0 && leaving.forMs <= 15_000);
    assert.equal(second.input.openTasks.length, 1);
    await fail();
    second.end();
  });
});

test('session: open tasks whose router lost its lease go to any other router', async () => {
  await withOpenSession(async ({ claim, lease, submit, fail }) => {
    await claim('router:a');
    const first = await lease(1);
    await submit();
    first.end(ApplicationFailure.nonRetryable('the router dies', 'ROUTER_LEASE_LOST'));
    const second = await lease(2);
    assert.equal(second.router, 'any');
    assert.deepEqual(
      second.input.openTasks.map((task) => [task.taskId, task.ordinal]),
      [[TASK, 0]],
    );
    await fail();
    second.end();
  });
});

test('session: answers claims that came together before the lease begins, as every replay does', async () => {
  const { fakes, lease } = routers();
  const sessions = network().fakes;
  const handle = await withWorkers(env, sessions, async () => {
    const started = await start(sessionInput());
    await started.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    return started;
  });
  // No worker runs: both wait for the next one, which gets them in one task.
  const claims = ['router:a', 'router:b'].map((queue) =>
    handle.executeUpdate(claimLeaseUpdate, { args: [queue] }),
  );
  await withWorkers(env, { ...sessions, ...fakes }, async () => {
    await Promise.all(claims);
    const { end } = await lease(1);
    const { events } = await handle.fetchHistory();
    const steps = (events ?? []).flatMap((event) => {
      if (event.workflowExecutionUpdateCompletedEventAttributes) return ['answered'];
      return event.activityTaskScheduledEventAttributes?.activityType?.name ?? [];
    });
    assert.deepEqual(steps.slice(-3), ['answered', 'answered', 'holdLease']);
    end();
    await handle.executeUpdate(closeSessionUpdate, CLOSE);
    await handle.result();
  });
});
