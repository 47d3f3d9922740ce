/**
 * `settlement`: one a chain, for ever. Finished tasks come in as signals; a batch is closed by
 * count or age, laid on IPFS, checked and signed by the committee, and settled in one transaction.
 * Tasks that the committee disputes are not paid: their sessions get the charge back.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { RetryPolicies } from '../domain/config.js';
import { workflowIds, type SessionId, type TaskId } from '../domain/ids.js';
import type { BatchReceipt } from '../domain/settlement.js';
import type { SettledTask } from '../domain/task.js';
import { chainActivities, ipfsActivities, oracleActivities } from './activities.js';
import { tasksEndedSignal, tasksSettledSignal } from './messages.js';

export interface SettlementInput {
  readonly chainId: number;
  /** A batch is closed at this many tasks, or this long after its first. */
  readonly maxTasks: number;
  readonly maxAgeMs: number;
  readonly retries: RetryPolicies;
  /** Tasks that an earlier run had not settled, and those it had lately. */
  readonly carried?: {
    readonly pending: readonly SettledTask[];
    readonly recent: readonly TaskId[];
  };
}

/** Pause after retries have ended in an outage, before they start again. */
const OUTAGE_PAUSE = '1 minute';
/** Ids that are remembered, so that a repeated signal does not put a task in a second batch. */
const REMEMBERED = 5_000;

export async function settlement(input: SettlementInput): Promise<never> {
  const { retries } = input;
  const chain = chainActivities(retries);
  const ipfs = ipfsActivities(retries);
  const oracles = oracleActivities(retries);
  const pending: SettledTask[] = [...(input.carried?.pending ?? [])];
  const seen = new Set<TaskId>([
    ...(input.carried?.recent ?? []),
    ...pending.map((task) => task.taskId),
  ]);

  let isUrgent = false;
  setHandler(tasksEndedSignal, ({ tasks, ...signal }) => {
    isUrgent ||= signal.isUrgent;
    for (const task of tasks) {
      if (seen.has(task.taskId)) continue;
      seen.add(task.taskId);
      pending.push(task);
    }
  });

  for (;;) {
    await condition(() => pending.length > 0 || workflowInfo().continueAsNewSuggested);
    if (pending.length > 0) {
      await condition(() => isUrgent || pending.length >= input.maxTasks, input.maxAgeMs);
      const batch = pending.splice(0, input.maxTasks);
      // A session that closes may have more tasks than a batch holds: none of them waits.
      isUrgent &&= pending.length > 0;
      await settleTasks(batch);
    }
    if (workflowInfo().continueAsNewSuggested) {
      const recent = [...seen].slice(-REMEMBERED);
      await continueAsNew<typeof settlement>({ ...input, carried: { pending, recent } });
    }
  }

  /** Settles what the committee agrees to, and hands the rest back. An outage is waited out with
   * the same batch: its transaction may be on its way. */
  async function settleTasks(tasks: readonly SettledTask[]): Promise<void> {
    while (tasks.length > 0) {
      try {
        const receipt = await settleBatch(tasks);
        return await report(tasks, receipt);
      } catch (error) {
        const refusal = refusalOf(error);
        if (refusal === null) {
          log.warn('batch not settled yet', { tasks: tasks.length });
          await sleep(OUTAGE_PAUSE);
          continue;
        }
        const disputed = tasks.filter((task) => refusal.has(task.taskId));
        log.warn('batch refused', { tasks: tasks.length, disputed: disputed.length });
        if (disputed.length > 0) {
          await report(disputed, null);
          return await settleTasks(tasks.filter((task) => !refusal.has(task.taskId)));
        }
        if (tasks.length <= 1) return await report(tasks, null);
        // Nobody was named: halves find the task that the rest must not suffer for.
        const half = Math.ceil(tasks.length / 2);
        await settleTasks(tasks.slice(0, half));
        return await settleTasks(tasks.slice(half));
      }
    }
  }

  async function settleBatch(tasks: readonly SettledTask[]): Promise<BatchReceipt> {
    const batch = await ipfs.buildBatch(tasks);
    const signatures = await oracles.collectAttestations({
      kind: 'settle',
      batchCid: batch.batchCid,
    });
    return await chain.settleBatch({ batchCid: batch.batchCid, signatures });
  }

  /** @param receipt - `null`: the tasks are disputed. */
  async function report(
    tasks: readonly SettledTask[],
    receipt: BatchReceipt | null,
  ): Promise<void> {
    const outcome = {
      isSettled: receipt !== null,
      transaction: receipt?.settlementTx ?? null,
      batchCid: receipt?.batchCid ?? null,
    };
    const bySession = new Map<SessionId, TaskId[]>();
    for (const task of tasks) {
      bySession.set(task.sessionId, [...(bySession.get(task.sessionId) ?? []), task.taskId]);
    }
    await Promise.all(
      [...bySession].map(async ([sessionId, taskIds]) => {
        const session = getExternalWorkflowHandle(workflowIds.session(input.chainId, sessionId));
        try {
          await session.signal(tasksSettledSignal, { taskIds, ...outcome });
        } catch (error) {
          if (isCancellation(error)) throw error;
          // The session's workflow has ended; the chain holds the truth.
          log.warn('session is gone', { sessionId, tasks: taskIds.length });
        }
      }),
    );
  }
}

/** The tasks that a final refusal names, possibly none; `null` when the error is an outage. */
function refusalOf(error: unknown): ReadonlySet<string> | null {
  if (!(error instanceof ActivityFailure)) throw error;
  const failure = error.cause;
  if (!(failure instanceof ApplicationFailure) || failure.nonRetryable !== true) return null;
  const [details] = (failure.details ?? []) as [{ disputed?: string }?];
  return new Set(details?.disputed?.split(',') ?? []);
}
