/**
 * Messages of the workflows: the one file that both sides import, the workflows to handle them and
 * clients to send them. Signals are facts, queries are nouns, updates are imperatives.
 */
import { defineSearchAttributeKey } from '@temporalio/common';
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { RepairReport } from '../domain/content.js';
import type { ErasureView } from '../domain/erasure.js';
import type { ExportAsk, ExportView } from '../domain/export.js';
import type { Cid, TaskId } from '../domain/ids.js';
import type {
  ClaimTerms,
  CompleteAnswer,
  LeaseClaim,
  SubmitAnswer,
  SubmittedTask,
  TaskBatch,
  TaskRecord,
} from '../domain/lease.js';
import type { KeyringRef } from '../domain/sealing.js';
import type {
  DepositRequest,
  PolicyChange,
  SessionView,
  WithdrawalRequest,
} from '../domain/session.js';
import type { EndedTasks, SettlementReport } from '../domain/settlement.js';
import type { IngestProgress } from '../domain/source.js';
import type { TaskCompletion } from '../domain/task.js';

/** Workflow types by the names that clients start them with. */
export const WORKFLOWS = {
  onboardMiner: 'onboardMiner',
  onboardUser: 'onboardUser',
  healthEpoch: 'healthEpoch',
  session: 'session',
  settlement: 'settlement',
  exportSession: 'exportSession',
  eraseSession: 'eraseSession',
  releaseContent: 'releaseContent',
  dappRequests: 'dappRequests',
  refuseInference: 'refuseInference',
  repairContent: 'repairContent',
  ingestSource: 'ingestSource',
} as const;

/** What sessions are found by, besides their workflow ids: all `Keyword`, to be registered with the
 * namespace. Owners in lower case. */
export const SEARCH_ATTRIBUTES = {
  owner: defineSearchAttributeKey('CortensorOwner', 'KEYWORD'),
  model: defineSearchAttributeKey('CortensorModel', 'KEYWORD'),
  state: defineSearchAttributeKey('CortensorState', 'KEYWORD'),
} as const;

/** What is wanted of a source has changed; the catalogue says to what. */
export const sourceChangedSignal = defineSignal('sourceChanged');

/** How far the ingestion of a source is. */
export const ingestProgressQuery = defineQuery<IngestProgress>('ingestProgress');

export const submitTasksUpdate = defineUpdate<readonly SubmitAnswer[], [TaskBatch<SubmittedTask>]>(
  'submitTasks',
);

export const completeTasksUpdate = defineUpdate<
  readonly CompleteAnswer[],
  [TaskBatch<TaskCompletion>]
>('completeTasks');

/** The client's (or, at level `link`, the engine's) keyring; opens the session. */
export const setKeyringUpdate = defineUpdate<SessionView, [KeyringRef]>('setKeyring');

/** Asks for the lease, for the router with this task queue; answers who holds it from now on. */
export const claimLeaseUpdate = defineUpdate<LeaseClaim, [taskQueue: string, terms?: ClaimTerms]>(
  'claimLease',
);

/** Closes after the open tasks have ended; what is left goes back to the owner. Cancelled, it does not
 * wait for tasks that no router has: they end as `cancelled`. */
export const closeSessionUpdate = defineUpdate<SessionView, [{ readonly isCancelled: boolean }]>(
  'closeSession',
);

/** Ends open tasks as `cancelled`, free; one that has ended answers with its end. */
export const cancelTasksUpdate = defineUpdate<
  readonly CompleteAnswer[],
  [{ readonly taskIds: readonly TaskId[] }]
>('cancelTasks');

/** Puts a deposit on chain. Answers when it is there, or a little later with the session as it is:
 * the deposit goes on then, and the same message again waits for the same deposit. */
export const addDepositUpdate = defineUpdate<SessionView, [DepositRequest]>('addDeposit');

/** Reads what others have deposited on chain. Answers like `addDeposit`. */
export const syncDepositUpdate = defineUpdate<SessionView, []>('syncDeposit');

/** Takes out of the deposit what is free, for the owner. Answers like `addDeposit`. */
export const withdrawDepositUpdate = defineUpdate<SessionView, [WithdrawalRequest]>(
  'withdrawDeposit',
);

/** Puts another policy in force once the tasks under way have ended. Answers like `addDeposit`. */
export const changePolicyUpdate = defineUpdate<SessionView, [PolicyChange]>('changePolicy');

/** Resolves once the session has left the states before `until`. */
export const awaitStateUpdate = defineUpdate<SessionView, [until: SessionView['state']]>(
  'awaitState',
);

export const sessionQuery = defineQuery<SessionView>('session');
export const taskQuery = defineQuery<TaskRecord | null, [TaskId]>('task');
/** Tasks by ordinal, from the given one on, at most `TASKS_A_PAGE`: read it with `readTasks`. */
export const tasksQuery = defineQuery<readonly TaskRecord[], [from?: number]>('tasks');
/** Pages of the session's archive, oldest first: tasks that `task` and `tasks` no longer know. */
export const archiveQuery = defineQuery<readonly Cid[]>('archive');
/** Of the last repair that this workflow has ended; `null` before the first. */
export const repairReportQuery = defineQuery<RepairReport | null>('repairReport');

/** Session → settlement. Repeating it is harmless; unheard tasks are to be reported again. */
export const tasksEndedSignal = defineSignal<[EndedTasks]>('tasksEnded');

/** Settlement → session: it was told of more than it had room for, and has room again. */
export const tasksWantedSignal = defineSignal('tasksWanted');

/** Settlement → session. */
export const tasksSettledSignal = defineSignal<[SettlementReport]>('tasksSettled');

/** How far the erasure of a session is. */
export const erasureQuery = defineQuery<ErasureView>('erasure');

/** What whoever owns an export asks of it. Given to one that does not run, it starts one for that. */
export const exportOrderedSignal = defineSignal<[ExportAsk]>('exportOrdered');
export const exportQuery = defineQuery<ExportView>('export');
