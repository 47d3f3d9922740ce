import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Admission } from '../../activities/admission.js';
import type { FoundInferences, QueueMark } from '../../activities/inference.js';
import { TASK_QUEUES, workflowIds, type SessionId } from '../../domain/ids.js';
import { parsePolicy } from '../../domain/session.js';
import type { SettledTask } from '../../domain/task.js';
import type { DappRequestsInput } from '../../workflows/dapp-requests.js';
import { tasksSettledSignal } from '../../workflows/messages.js';
import {
  down,
  refused,
  RETRIES,
  startLocal,
  startTimeSkipping,
  untilTrue,
  withWorkers,
  type FakeActivities,
} from '../support/workflows.js';

const MINUTE_MS = 60_000;
const POLICY = parsePolicy({ model: 'm', level: 'open', priceCeilingWei: '10' });
/** Chains' numbers count up, so that no test sees another's workflows. */
let chains = 50_000;
let env: TestWorkflowEnvironment;
before(async () => {
  env = await startTimeSkipping();
});
after(async () => {
  await env.teardown();
});

/** A chain with contracts' requests, and what the engine did with them. */
interface World {
  readonly chainId: number;
  readonly workflow: WorkflowHandle;
  /** Puts requests on chain; their numbers follow those that are there. */
  ask(...sessionIds: SessionId[]): void;
  /** Takes the last requests off the chain. */
  reorganise(count: number): void;
  readonly admitted: SessionId[];
  readonly ends: {
    readonly verb: 'fulfil' | 'expire';
    readonly sessionId: SessionId;
    readonly atMs: number;
  }[];
  /** Marks that the looks were given. */
  readonly looks: (readonly QueueMark[])[];
  isOver(sessionId: SessionId): boolean;
}

interface Terms {
  /** Minutes from now to the requests' deadline. */
  readonly minutes?: number;
  readonly everyMs?: number;
  admit?(sessionId: SessionId): Promise<Admission | undefined> | Admission | undefined;
  /** Whether a settlement workflow answers. */
  readonly settles?: boolean;
  onExpire?(sessionId: SessionId): void;
}

const freeTask = (sessionId: SessionId): SettledTask => ({
  sessionId,
  taskId: `0x${sessionId.padStart(64, '0')}`,
  ordinal: 0,
  outcome: 'refused',
  requestCid: 'request-cid',
  chargeWei: '0',
  feeWei: '0',
  payments: [],
});

async function serving(terms: Terms, scenario: (world: World) => Promise<void>): Promise<void> {
  const chainId = ++chains;
  const deadline = Math.floor((await env.currentTimeMs()) / 1_000) + (terms.minutes ?? 30) * 60;
  const onChain: SessionId[] = [];
  const over = new Set<SessionId>();
  const admitted: SessionId[] = [];
  const ends: World['ends'] = [];
  const looks: World['looks'] = [];
  let chain = 0;

  async function end(verb: 'fulfil' | 'expire', sessionId: SessionId) {
    if (!onChain.includes(sessionId)) throw refused('SESSION_NOT_FOUND');
    if (!over.has(sessionId)) ends.push({ verb, sessionId, atMs: await env.currentTimeMs() });
    over.add(sessionId);
    return { transaction: '0x0f', refundedWei: '1' };
  }

  const fakes: FakeActivities = {
    chain: {
      findInferences: async ({ marks }: { marks: QueueMark[] }): Promise<FoundInferences> => {
        looks.push(marks);
        // A reorganisation leaves none of the marks that are above it.
        const standing = marks.filter((mark) => mark.hash === `0x${chain}`);
        const from = standing.at(-1)?.nextGlobalId ?? 1;
        const found = onChain
          .map((sessionId, i) => ({ globalId: i + 1, sessionId, deadline }))
          .filter(({ globalId, sessionId }) => globalId >= from && !over.has(sessionId));
        const mark = {
          block: looks.length,
          hash: `0x${chain}` as const,
          nextGlobalId: onChain.length + 1,
        };
        return { found, marks: [...standing.slice(-1), mark], hasMore: false };
      },
      admitInference: async ({ sessionId }: { sessionId: SessionId }): Promise<Admission> => {
        admitted.push(sessionId);
        if (!onChain.includes(sessionId) || over.has(sessionId)) return { status: 'gone' };
        return (await terms.admit?.(sessionId)) ?? admission(sessionId, deadline);
      },
      fulfilInference: async ({ sessionId }: { sessionId: SessionId }) => end('fulfil', sessionId),
      expireInference: async ({ sessionId }: { sessionId: SessionId }) => {
        terms.onExpire?.(sessionId);
        return await end('expire', sessionId);
      },
      // Nobody is there to serve: tasks end as `failed`, free, and so are soon settled.
      listCandidates: async () => {
        throw refused('NO_MINERS');
      },
      settleBatch: async () => ({
        batchId: '0x0b',
        batchCid: 'batch-cid',
        root: '0x0b',
        settlementTx: '0x0c',
      }),
    },
    ipfs: { buildBatch: async () => ({ batchCid: 'batch-cid' }) },
    oracles: { collectAttestations: async () => ['0x01', '0x02'] },
  };
  await withWorkers(env, fakes, async () => {
    if (terms.settles === true) {
      await env.client.workflow.start('settlement', {
        workflowId: workflowIds.settlement(chainId),
        taskQueue: TASK_QUEUES.workflows,
        args: [{ chainId, maxTasks: 10, maxAmountWei: null, maxAgeMs: 1_000, retries: RETRIES }],
      });
    }
    const workflow = await env.client.workflow.start('dappRequests', {
      workflowId: workflowIds.dappRequests(chainId),
      taskQueue: TASK_QUEUES.workflows,
      args: [inputOf(chainId, terms.everyMs)],
    });
    await scenario({
      chainId,
      workflow,
      ask: (...sessionIds) => onChain.push(...sessionIds),
      reorganise(count) {
        onChain.splice(-count, count);
        chain++;
      },
      admitted,
      ends,
      looks,
      isOver: (sessionId) => over.has(sessionId),
    });
    const isDone = async (sessionId: SessionId) => !(await isRunning(chainId, sessionId));
    for (const sessionId of new Set(admitted)) {
      await untilTrue(env, () => isDone(sessionId), `session ${sessionId} to end`, '1m');
    }
    await endIdle(env.client.workflow.getHandle(workflow.workflowId));
  });
}

/** Ends a run between two looks: ended in the middle of one, it would keep the clock from skipping. */
async function endIdle(workflow: WorkflowHandle): Promise<void> {
  const isIdle = async (): Promise<boolean> => {
    const last = (await workflow.fetchHistory()).events?.at(-1);
    return last?.timerStartedEventAttributes != null;
  };
  await untilTrue(env, isIdle, 'a pause between two looks');
  await workflow.terminate();
}

function inputOf(chainId: number, everyMs = MINUTE_MS): DappRequestsInput {
  return {
    chainId,
    everyMs,
    feeBps: 500,
    validators: [],
    routerRecipient: 'age1router',
    retries: RETRIES,
  };
}

function admission(sessionId: SessionId, deadline: number): Admission {
  const { taskId, requestCid } = freeTask(sessionId);
  return {
    status: 'admitted',
    pricePerTokenWei: '10',
    inference: {
      globalId: 1,
      sessionId,
      consumer: `0x${'0c'.repeat(20)}`,
      clientReference: '0x01',
      policyHash: '0x02',
      depositWei: '1000000',
      maxTokens: 50,
      deadline,
      policy: POLICY,
      policyCid: 'policy-cid',
      task: { taskId, requestCid, model: 'm', maxPromptTokens: 50, maxTokens: 50, seed: 1 },
    },
  };
}

function isRunning(chainId: number, sessionId: SessionId): Promise<boolean> {
  const handle = env.client.workflow.getHandle(workflowIds.session(chainId, sessionId));
  return handle.describe().then(
    ({ status }) => status.name === 'RUNNING',
    () => false,
  );
}

test('each request has a session, which ends it by its settled task', async () => {
  await serving({ settles: true }, async (world) => {
    world.ask('1', '2');
    await untilTrue(env, () => world.isOver('1') && world.isOver('2'), 'two ends');
    world.ask('3');
    await untilTrue(env, () => world.isOver('3'), 'the third end', '1m');
    assert.deepEqual(
      world.ends.map(({ verb }) => verb),
      ['fulfil', 'fulfil', 'fulfil'],
    );
    assert.deepEqual(world.admitted.toSorted(), ['1', '2', '3']);
    await untilTrue(env, async () => !(await isRunning(world.chainId, '3')), 'its session to end');
  });
});

test('a request whose task is never settled ends at its deadline', async () => {
  await serving({ minutes: 30 }, async (world) => {
    const startMs = await env.currentTimeMs();
    world.ask('1');
    await untilTrue(env, () => world.isOver('1'), 'the end', '1m');
    const [end] = world.ends;
    assert.equal(end?.verb, 'expire');
    assert.ok((end?.atMs ?? 0) >= startMs + 29 * MINUTE_MS);
    assert.ok((end?.atMs ?? 0) < startMs + 45 * MINUTE_MS);
  });
});

test('a request that the network does not serve ends at once, without a session of its own', async () => {
  const refusal = (sessionId: SessionId): Admission => {
    return { status: 'refused', reason: 'POLICY_INVALID', task: freeTask(sessionId) };
  };
  await serving({ settles: true, admit: refusal }, async (world) => {
    const startMs = await env.currentTimeMs();
    world.ask('1');
    await untilTrue(env, () => world.isOver('1'), 'the end');
    const [end] = world.ends;
    assert.equal(end?.verb, 'fulfil');
    assert.ok((end?.atMs ?? 0) < startMs + 5 * MINUTE_MS);
    const handle = env.client.workflow.getHandle(workflowIds.session(world.chainId, '1'));
    assert.deepEqual(await handle.result(), {
      state: 'Closed',
      reason: 'POLICY_INVALID',
      end: { transaction: '0x0f', refundedWei: '1' },
    });
  });
});

test('a refusal that is not settled gives the money back at the deadline', async () => {
  const refusal = (sessionId: SessionId): Admission => {
    return { status: 'refused', reason: 'MODEL_UNKNOWN', task: freeTask(sessionId) };
  };
  await serving({ admit: refusal }, async (world) => {
    world.ask('1');
    await untilTrue(env, () => world.isOver('1'), 'the end', '1m');
    assert.equal(world.ends[0]?.verb, 'expire');
  });
});

test('a refusal ends at the deadline when its batch came without its name', async () => {
  const task = freeTask('1');
  const refusal = (): Admission => ({ status: 'refused', reason: 'MODEL_UNKNOWN', task });
  await serving({ admit: refusal }, async (world) => {
    world.ask('1');
    const handle = env.client.workflow.getHandle(workflowIds.session(world.chainId, '1'));
    await untilTrue(env, () => isRunning(world.chainId, '1'), 'the refusal');
    const disputed = { isSettled: false, transaction: null, batchCid: null };
    await handle.signal(tasksSettledSignal, { taskIds: [task.taskId], ...disputed });
    await untilTrue(env, () => world.isOver('1'), 'the end', '1m');
    assert.equal(world.ends[0]?.verb, 'expire');
  });
});

test('a request under another number is the same request', async () => {
  await serving({ minutes: 60 }, async (world) => {
    world.ask('1', '2');
    await untilTrue(env, () => isRunning(world.chainId, '2'), 'its session');
    world.reorganise(2);
    world.ask('2', '3');
    await untilTrue(env, () => isRunning(world.chainId, '3'), 'the other session', '1m');
    assert.deepEqual(world.admitted.toSorted(), ['1', '2', '3']);
    await untilTrue(env, () => world.isOver('2') && world.isOver('3'), 'the ends', '2m');
    assert.deepEqual(world.ends.map(({ sessionId }) => sessionId).toSorted(), ['2', '3']);
    world.ask('1');
  });
});

test('a request that a reorganisation took before it was admitted is served when it is back', async () => {
  let isGone = true;
  const admit = (): Admission | undefined => (isGone ? { status: 'gone' } : undefined);
  await serving({ settles: true, admit }, async (world) => {
    world.ask('1');
    await untilTrue(env, () => world.admitted.length === 1, 'the first look', '1m');
    assert.equal(await isRunning(world.chainId, '1'), false);
    world.reorganise(1);
    isGone = false;
    world.ask('1');
    await untilTrue(env, () => world.isOver('1'), 'the end', '1m');
    assert.equal(world.ends[0]?.verb, 'fulfil');
  });
});

test('a request that vanished after its session began is ended once when it comes back', async () => {
  await serving({ minutes: 60 }, async (world) => {
    world.ask('1');
    await untilTrue(env, () => isRunning(world.chainId, '1'), 'its session');
    world.reorganise(1);
    await env.sleep('10m');
    world.ask('1');
    await untilTrue(env, () => world.isOver('1'), 'the end', '2m');
    assert.deepEqual(world.admitted, ['1']);
    assert.equal(world.ends.length, 1);
  });
});

test('what cannot be admitted is tried until the deadline, and then refunded', async () => {
  let tries = 0;
  const admit = (): never => {
    tries++;
    throw down('IPFS_UNREACHABLE');
  };
  await serving({ minutes: 180, admit, everyMs: 10 * MINUTE_MS }, async (world) => {
    world.ask('1');
    await untilTrue(env, () => world.isOver('1'), 'the end', '10m');
    assert.ok(tries > 3);
    assert.equal(await isRunning(world.chainId, '1'), false);
    assert.deepEqual(
      world.ends.map(({ verb }) => verb),
      ['expire'],
    );
  });
});

test('a request that was found after its deadline is refunded without being served', async () => {
  await serving({ minutes: -5 }, async (world) => {
    world.ask('1');
    await untilTrue(env, () => world.isOver('1'), 'the end');
    assert.deepEqual(world.admitted, []);
    assert.equal(world.ends[0]?.verb, 'expire');
  });
});

test('a refund that fails is tried again', async () => {
  let failures = 2;
  const onExpire = (): void => {
    if (failures-- > 0) throw refused('TRANSACTION_REVERTED');
  };
  await serving({ minutes: -5, onExpire }, async (world) => {
    world.ask('1');
    await untilTrue(env, () => world.isOver('1'), 'the end', '1m');
    assert.equal(failures, -1);
  });
});

test('another run, which knows nothing, gives no request a second session', async () => {
  await serving({ minutes: 60 }, async (world) => {
    world.ask('1', '2');
    const areRunning = async () =>
      (await isRunning(world.chainId, '1')) && (await isRunning(world.chainId, '2'));
    await untilTrue(env, areRunning, 'two sessions');
    const again = await env.client.workflow.start('dappRequests', {
      workflowId: `again-${world.chainId}`,
      taskQueue: TASK_QUEUES.workflows,
      args: [inputOf(world.chainId)],
    });
    await untilTrue(env, () => world.isOver('1') && world.isOver('2'), 'the ends', '2m');
    assert.deepEqual(world.ends.map(({ sessionId }) => sessionId).toSorted(), ['1', '2']);
    assert.equal(world.admitted.length, 4);
    await endIdle(again);
  });
});

test('a run that is full hands on how far was read, up to the oldest request under way', async () => {
  const local = await startLocal();
  const looks: (readonly QueueMark[])[] = [];
  const found = [
    { globalId: 5, sessionId: '5', deadline: Math.floor(Date.now() / 1_000) + 36_000 },
  ];
  const fakes: FakeActivities = {
    chain: {
      findInferences: async ({ marks }: { marks: QueueMark[] }): Promise<FoundInferences> => {
        looks.push(marks);
        const mark = { block: 1, hash: '0x01' as const, nextGlobalId: 9 };
        const isNew = (marks.at(-1)?.nextGlobalId ?? 1) < 9;
        // Temporal counts a history's bytes, too.
        const filling = 'x'.repeat(200_000);
        return Object.assign(
          { found: isNew ? found : [], marks: [mark], hasMore: true },
          { filling },
        );
      },
      admitInference: async () => {
        throw down('IPFS_UNREACHABLE');
      },
    },
  };
  try {
    await withWorkers(local, fakes, async () => {
      const workflow = await local.client.workflow.start('dappRequests', {
        workflowId: 'full',
        taskQueue: TASK_QUEUES.workflows,
        args: [inputOf(++chains)],
      });
      const isReadAgain = () => looks.at(-1)?.at(-1)?.nextGlobalId === 5;
      for (const deadline = Date.now() + 60_000; !isReadAgain(); await delay(5)) {
        assert.ok(Date.now() < deadline, `not read again in ${looks.length} looks`);
      }
      const { runId } = await local.client.workflow.getHandle('full').describe();
      assert.notEqual(runId, workflow.firstExecutionRunId);
      await local.client.workflow.getHandle('full').terminate();
    });
  } finally {
    await local.teardown();
  }
});
