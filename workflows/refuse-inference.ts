/**
 * `refuseInference`: what a contract's request gets in place of a session when the network does not
 * serve it. Its task is settled as `refused`, free, which gives the contract its money and an answer
 * at once; should that fail, the request ends at its deadline. It has the session's workflow id.
 */
import {
  condition,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  setHandler,
  sleep,
} from '@temporalio/workflow';
import type { InferenceEnd } from '../activities/inference.js';
import type { RetryPolicies } from '../domain/config.js';
import type { ErrorCode } from '../domain/errors.js';
import { workflowIds, type Cid } from '../domain/ids.js';
import type { SettledTask } from '../domain/task.js';
import { inferenceActivities } from './activities.js';
import { untilKnown } from './failure.js';
import { tasksEndedSignal, tasksSettledSignal } from './messages.js';

export interface RefuseInferenceInput {
  readonly chainId: number;
  /** Without a charge. */
  readonly task: SettledTask;
  /** Of the request, Unix seconds. */
  readonly deadline: number;
  readonly reason: ErrorCode;
  readonly retries: RetryPolicies;
}

export interface RefuseInferenceResult {
  readonly state: 'Closed';
  readonly reason: ErrorCode;
  /** `null`: a reorganisation has taken the request. */
  readonly end: InferenceEnd | null;
}

/** The settlement workflow is reminded this often: it knows what it has. */
const SETTLE_REMINDER_MS = 10 * 60_000;
export async function refuseInference(input: RefuseInferenceInput): Promise<RefuseInferenceResult> {
  const { task, deadline, reason, retries } = input;
  const { sessionId, taskId } = task;
  const chain = inferenceActivities(retries);
  let batchCid: Cid | null = null;
  setHandler(tasksSettledSignal, (report) => {
    if (report.taskIds.includes(taskId)) batchCid ??= report.batchCid;
  });

  await settle();
  let end: InferenceEnd | null = null;
  const proven: Cid | null = batchCid;
  if (proven !== null) {
    await untilKnown('refusal of a request', async () => {
      end = await chain.fulfilInference({ sessionId, taskId, batchCid: proven });
    });
  }
  if (end === null) {
    await sleep(Math.max(1, leftMs()));
    await untilKnown('refund of a request', async () => {
      end = await chain.expireInference({ sessionId });
    });
  }
  return { state: 'Closed', reason, end };

  function leftMs(): number {
    return deadline * 1_000 - Date.now();
  }

  /** Waits for the task's batch, at most to the deadline. */
  async function settle(): Promise<void> {
    while (batchCid === null && leftMs() > 0) {
      const settlement = getExternalWorkflowHandle(workflowIds.settlement(input.chainId));
      try {
        const ended = { tasks: [task], isUrgent: true, isAlone: true };
        await settlement.signal(tasksEndedSignal, ended);
      } catch (error) {
        if (isCancellation(error)) throw error;
        log.warn('settlement not reached', { sessionId });
      }
      await condition(() => batchCid !== null, Math.min(leftMs(), SETTLE_REMINDER_MS));
    }
  }
}
