/** The messages that a session takes: who may send what, and when, is decided here. */
import { ApplicationFailure, condition, setHandler } from '@temporalio/workflow';
import type { TaskBatch } from '../domain/lease.js';
import type { KeyringRef } from '../domain/sealing.js';
import { needsClientKeyring, type SessionState } from '../domain/session.js';
import type { TaskSubmission } from '../domain/task.js';
import {
  archiveQuery,
  awaitStateUpdate,
  claimLeaseUpdate,
  closeSessionUpdate,
  completeTasksUpdate,
  sessionQuery,
  setKeyringUpdate,
  submitTasksUpdate,
  taskQuery,
  tasksQuery,
  tasksSettledSignal,
} from './messages.js';
import type { SessionContext } from './session-context.js';
import type { SessionLease } from './session-lease.js';

/** Handles the messages of a session from its first moment on. */
export function handleMessages(session: SessionContext, lease: SessionLease): void {
  const { ledger } = session;

  function refuseUnlessOpen(): void {
    if (session.state !== 'Open' || session.isCloseAsked) {
      throw notOpen(`the session is ${session.state}`);
    }
  }

  setHandler(sessionQuery, () => session.view());
  setHandler(taskQuery, (taskId) => ledger.record(taskId));
  setHandler(tasksQuery, () => ledger.records());
  setHandler(archiveQuery, () => session.archive);
  setHandler(
    submitTasksUpdate,
    ({ tasks }) => {
      session.updates++;
      session.lastTaskAtMs = Date.now();
      return tasks.map((task) => ledger.submit(task, session.lastTaskAtMs));
    },
    { validator: (_: TaskBatch<TaskSubmission>) => refuseUnlessOpen() },
  );
  setHandler(completeTasksUpdate, ({ tasks }) => {
    session.updates++;
    session.lastTaskAtMs = Date.now();
    return tasks.map((task) => ledger.complete(task));
  });
  setHandler(
    setKeyringUpdate,
    (ref) => {
      session.keyring ??= ref;
      return session.view();
    },
    {
      validator: (ref: KeyringRef) => {
        const isExpected =
          session.state === 'AwaitingKeyring' && needsClientKeyring(session.policy);
        if (!isExpected && session.keyring?.cid !== ref.cid) {
          throw notOpen('a keyring is not awaited');
        }
      },
    },
  );
  setHandler(claimLeaseUpdate, (queue) => lease.claim(queue), {
    validator: (_: string) => refuseUnlessOpen(),
  });
  setHandler(closeSessionUpdate, (_) => {
    session.isCloseAsked = true;
    return session.view();
  });
  setHandler(awaitStateUpdate, async (until) => {
    await condition(() => hasReached(session.state, until), '20s');
    return session.view();
  });
  setHandler(tasksSettledSignal, (report) => {
    ledger.settle(report);
  });
}

const ORDER: readonly SessionState[] = [
  'Opening',
  'Reserving',
  'AwaitingKeyring',
  'Open',
  'Closing',
  'Closed',
];

function hasReached(state: SessionState, until: SessionState): boolean {
  return state === 'Failed' || ORDER.indexOf(state) >= ORDER.indexOf(until);
}

function notOpen(text: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(text, 'SESSION_NOT_OPEN');
}
