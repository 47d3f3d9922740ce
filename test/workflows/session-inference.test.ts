import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { AttestationRequest } from '../../domain/api.js';
import { TASK_QUEUES, workflowIds } from '../../domain/ids.js';
import type { SessionView } from '../../domain/session.js';
import type { SettledTask } from '../../domain/task.js';
import {
  awaitStateUpdate,
  completeTasksUpdate,
  submitTasksUpdate,
  taskQuery,
} from '../../workflows/messages.js';
import type { SessionInput } from '../../workflows/session.js';
import {
  refused,
  RETRIES,
  startTimeSkipping,
  untilIdle,
  untilQuiet,
  updateCodeOf,
  withWorkers,
} from '../support/workflows.js';
import {
  COMPLETION,
  network,
  OTHER,
  OWNER,
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

const DEADLINE_SECONDS = 900;
let chains = 500;

async function inferenceInput(): Promise<SessionInput> {
  const { request, ...terms } = sessionInput('open');
  assert.ok(request);
  const now = Math.floor((await env.currentTimeMs()) / 1_000);
  return {
    ...terms,
    chainId: ++chains,
    inference: {
      globalId: 1,
      sessionId: request.sessionId,
      consumer: OWNER,
      clientReference: '0x01',
      policyHash: '0x02',
      depositWei: '1000000',
      maxTokens: 50,
      deadline: now + DEADLINE_SECONDS,
      policy: request.policy,
      policyCid: 'policy-cid',
      task: SUBMISSION,
    },
  };
}

interface Scenario {
  /** Activities on chain that do otherwise. */
  readonly chain?: object;
  /** What the committee does with a batch; signs by default. */
  readonly sign?: (task: SettledTask) => void;
  /** Without it, the request waits for a router. */
  readonly whenOpen?: (session: WorkflowHandle) => Promise<void>;
  readonly hasSettlement?: boolean;
}

/** Runs a request to its end, beside the settlement of its chain. */
async function run({ chain, sign, whenOpen, hasSettlement = true }: Scenario) {
  const input = await inferenceInput();
  const ends: string[] = [];
  const batches: SettledTask[][] = [];
  const { fakes, closed } = network({
    chain: {
      fulfilInference: async ({ batchCid }: { batchCid: string }) => {
        const [task] = batches[Number(batchCid)] ?? [];
        ends.push(`fulfil ${task?.outcome} ${task?.chargeWei}`);
        return {
          transaction: '0x0d',
          refundedWei: String(1_000_000n - BigInt(task?.chargeWei ?? '0')),
        };
      },
      expireInference: async () => {
        ends.push('expire');
        return { transaction: '0x0e', refundedWei: '1000000' };
      },
      settleBatch: async ({ batchCid }: { batchCid: string }) => ({
        ...{ batchId: '0x', batchCid, root: '0x', settlementTx: '0x0c' },
      }),
      findSettled: async () => [],
      ...chain,
    },
    ipfs: {
      buildBatch: async (tasks: SettledTask[]) => ({ batchCid: String(batches.push(tasks) - 1) }),
    },
    oracles: {
      collectAttestations: async (request: AttestationRequest) => {
        assert.ok(request.kind === 'settle', 'the queue closes the account, not the committee');
        for (const task of batches[Number(request.batchCid)] ?? []) sign?.(task);
        return ['0x01', '0x02'];
      },
    },
  });
  return await withWorkers(env, fakes, async () => {
    const { chainId } = input;
    const settlement = hasSettlement
      ? await env.client.workflow.start('settlement', {
          workflowId: workflowIds.settlement(chainId),
          taskQueue: TASK_QUEUES.workflows,
          args: [
            { chainId, maxTasks: 10, maxAmountWei: null, maxAgeMs: 3_600_000, retries: RETRIES },
          ],
        })
      : null;
    const session = await startSession(env, input);
    if (whenOpen !== undefined) {
      await session.executeUpdate(awaitStateUpdate, { args: ['Open'] });
      await untilQuiet(env, session);
      await whenOpen(session);
    }
    const view = (await session.result()) as SessionView;
    const record = await session.query(taskQuery, TASK);
    // It has no timer left, so the clock may have been skipped to the end of its own time meanwhile.
    if (settlement !== null && (await settlement.describe()).status.name === 'RUNNING') {
      await untilIdle(env, settlement);
      await settlement.terminate();
    }
    assert.deepEqual(closed, []);
    return { view, ends, record, batches };
  });
}

/** Ends the one task of a request. */
function ending(change: Partial<typeof COMPLETION> | { outcome: 'no-quorum'; paidMiners: [] }) {
  return async (session: WorkflowHandle): Promise<void> => {
    await session.executeUpdate(completeTasksUpdate, {
      args: [{ tasks: [{ ...COMPLETION, ...change }] }],
    });
  };
}

test('session: a contract gets the answer to its request with proof, and the rest of its money', async () => {
  const { view, ends, batches } = await run({ whenOpen: ending({}) });
  assert.deepEqual([view.state, view.failure], ['Closed', null]);
  assert.deepEqual([view.budget.chargedWei, view.budget.refundedWei], ['945', '999055']);
  assert.deepEqual(ends, ['fulfil completed 945']);
  assert.equal(batches.length, 1);
});

test('session: a request whose miners disagree is settled free, and proven to the contract', async () => {
  const { view, ends } = await run({ whenOpen: ending({ outcome: 'no-quorum', paidMiners: [] }) });
  assert.deepEqual(ends, ['fulfil no-quorum 0']);
  assert.equal(view.budget.refundedWei, '1000000');
});

test('session: a request that the committee disputes is settled again without its charge', async () => {
  const { ends, record } = await run({
    whenOpen: ending({}),
    sign: ({ chargeWei, taskId }) => {
      if (chargeWei !== '0') throw refused('ATTESTATION_REFUSED', { disputed: taskId });
    },
  });
  assert.deepEqual(ends, ['fulfil disputed 0']);
  assert.equal(record?.outcome, 'disputed');
});

test('session: a request that no router serves expires as a task, and is proven as that', async () => {
  const { ends } = await run({});
  assert.deepEqual(ends, ['fulfil expired 0']);
});

test('session: what cannot be proven by its deadline is given back in full', async () => {
  const startedAt = await env.currentTimeMs();
  const { view, ends } = await run({ hasSettlement: false });
  assert.deepEqual(ends, ['expire']);
  assert.equal(view.budget.refundedWei, '1000000');
  assert.ok((await env.currentTimeMs()) - startedAt >= (DEADLINE_SECONDS - 60) * 1_000);
});

test('session: a proof that the queue refuses leaves the request to its deadline', async () => {
  const { ends } = await run({
    whenOpen: ending({}),
    chain: {
      fulfilInference: async () => {
        throw refused('TRANSACTION_REVERTED');
      },
    },
  });
  assert.deepEqual(ends, ['expire']);
});

test('session: takes no task but the one that the contract has paid for', async () => {
  await run({
    whenOpen: async (session) => {
      const more = session.executeUpdate(submitTasksUpdate, { args: [{ tasks: [OTHER] }] });
      assert.equal(await updateCodeOf(more), 'SESSION_NOT_OPEN');
      await ending({})(session);
    },
  });
});

test('session: a request that finds no miners ends as failed, which is proven as well', async () => {
  const { view, ends } = await run({ chain: { listCandidates: async () => [] } });
  assert.deepEqual([view.state, view.failure], ['Failed', 'NO_MINERS']);
  assert.deepEqual(ends, ['fulfil failed 0']);
});
