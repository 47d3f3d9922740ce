/**
 * Messages of the workflows: the one file that both sides import, the workflows to handle them and
 * clients to send them. Signals are facts, queries are nouns, updates are imperatives.
 */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { Hex, TaskId } from '../domain/ids.js';
import type { CompleteAnswer, SubmitAnswer, TaskBatch, TaskRecord } from '../domain/lease.js';
import type { KeyringRef } from '../domain/sealing.js';
import type { SessionView } from '../domain/session.js';
import type { SettledTask, TaskCompletion, TaskSubmission } from '../domain/task.js';

/** Workflow types by the names that clients start them with. */
export const WORKFLOWS = {
  onboardMiner: 'onboardMiner',
  onboardUser: 'onboardUser',
  healthEpoch: 'healthEpoch',
  session: 'session',
  settlement: 'settlement',
  exportSession: 'exportSession',
} as const;

export const submitTasksUpdate = defineUpdate<readonly SubmitAnswer[], [TaskBatch<TaskSubmission>]>(
  'submitTasks',
);

export const completeTasksUpdate = defineUpdate<
  readonly CompleteAnswer[],
  [TaskBatch<TaskCompletion>]
>('completeTasks');

/** The client's (or, at level `link`, the engine's) keyring; opens the session. */
export const setKeyringUpdate = defineUpdate<SessionView, [KeyringRef]>('setKeyring');

/** Asks for the lease, for the router with this task queue; answers who holds it from now on. */
export const claimLeaseUpdate = defineUpdate<{ readonly holder: string }, [taskQueue: string]>(
  'claimLease',
);

/** Closes after the open tasks have ended; what is left goes back to the owner. */
export const closeSessionUpdate = defineUpdate<SessionView, []>('closeSession');

/** Resolves once the session has left the states before `until`. */
export const awaitStateUpdate = defineUpdate<SessionView, [until: SessionView['state']]>(
  'awaitState',
);

export const sessionQuery = defineQuery<SessionView>('session');
export const taskQuery = defineQuery<TaskRecord | null, [TaskId]>('task');
export const tasksQuery = defineQuery<readonly TaskRecord[]>('tasks');

/** Session → settlement: tasks that have ended with a charge. A session that closes cannot wait for
 * a batch to fill: its signal is urgent. */
export const tasksEndedSignal =
  defineSignal<[{ readonly tasks: readonly SettledTask[]; readonly isUrgent: boolean }]>(
    'tasksEnded',
  );

/** Settlement → session: tasks whose batch is final on chain, or was disputed and is refunded. */
export const tasksSettledSignal =
  defineSignal<[{ readonly taskIds: readonly TaskId[]; readonly transaction: Hex | null }]>(
    'tasksSettled',
  );
