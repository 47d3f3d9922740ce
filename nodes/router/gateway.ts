/**
 * The session workflows, seen from a router. Temporal is named in this file only: its failures come
 * out as the engine's, and its waits have deadlines.
 */
import {
  isGrpcServiceError,
  QueryNotRegisteredError,
  ServiceError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
  type WorkflowHandle,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import {
  EngineError,
  findEngineError,
  isErrorCode,
  type ErrorDetails,
} from '../../domain/errors.js';
import { readTasks } from '../../domain/archive.js';
import { workflowIds, type Cid, type SessionId, type TaskId } from '../../domain/ids.js';
import type {
  ClaimTerms,
  CompleteAnswer,
  LeaseClaim,
  RouterActivities,
  SubmitAnswer,
  SubmittedTask,
  TaskRecord,
} from '../../domain/lease.js';
import type { KeyringRef } from '../../domain/sealing.js';
import type {
  DepositRequest,
  OpenSessionRequest,
  PolicyChange,
  SessionState,
  SessionView,
  WithdrawalRequest,
} from '../../domain/session.js';
import type { TaskCompletion } from '../../domain/task.js';
import {
  addDepositUpdate,
  archiveQuery,
  awaitStateUpdate,
  cancelTasksUpdate,
  changePolicyUpdate,
  claimLeaseUpdate,
  closeSessionUpdate,
  completeTasksUpdate,
  sessionQuery,
  setKeyringUpdate,
  submitTasksUpdate,
  syncDepositUpdate,
  taskQuery,
  tasksQuery,
  withdrawDepositUpdate,
} from '../../workflows/messages.js';

/** The activity that is a router's lease. */
const LEASE: keyof RouterActivities = 'holdLease';
const DEADLINE = 'no answer in time';
const QUERY_MS = 10_000;
const UPDATE_MS = 30_000;
/** Below the time after which the workflow answers a waiter in any case. */
const SHARED_WAIT_MS = 15_000;

/** What a router asks of sessions. All methods throw SESSION_NOT_FOUND for a session that was never
 * opened, and TEMPORAL_UNREACHABLE without an answer in time. */
export interface SessionGateway {
  /** Starts the session; the same request twice is one session. */
  start(request: OpenSessionRequest): Promise<void>;
  view(sessionId: SessionId): Promise<SessionView>;
  /** Waits until the session has left the states before `state`, or `waitMs` are over.
   * @returns the session as it is then, whichever came first. */
  awaitState(sessionId: SessionId, state: SessionState, waitMs: number): Promise<SessionView>;
  /** @returns one answer a task, in order. */
  submit(sessionId: SessionId, tasks: readonly SubmittedTask[]): Promise<readonly SubmitAnswer[]>;
  /** @returns one answer a task, in order. */
  complete(
    sessionId: SessionId,
    tasks: readonly TaskCompletion[],
  ): Promise<readonly CompleteAnswer[]>;
  /** Asks that the lease be given to the router with this task queue. */
  claimLease(sessionId: SessionId, taskQueue: string, terms?: ClaimTerms): Promise<LeaseClaim>;
  /** @returns the name of the worker that has the lease, as its router gave it; `null` when it is on
   *   its way, or nobody's. */
  leaseHolder(sessionId: SessionId): Promise<string | null>;
  setKeyring(sessionId: SessionId, keyring: KeyringRef): Promise<SessionView>;
  /** Closes the session after its open tasks have ended. Closing it again changes nothing.
   * @param how.isCancelled - open tasks that no router has are not waited for. */
  close(sessionId: SessionId, how?: { readonly isCancelled: boolean }): Promise<SessionView>;
  /** Ends open tasks as `cancelled`, free; one that has ended keeps its end.
   * @returns one answer a task, in order. */
  cancelTasks(sessionId: SessionId, taskIds: readonly TaskId[]): Promise<readonly CompleteAnswer[]>;
  /** Adds a deposit; its signatures were checked. Waits for the chain up to 20 s, and answers with the
   * session as it is then: the rest goes on by itself. The same reference is the same deposit.
   * @throws SESSION_NOT_OPEN, AMOUNT_INVALID, RATE_LIMITED — nothing was begun.
   * @throws TRANSACTION_REVERTED — the contract refuses it; nothing has changed. */
  addDeposit(request: DepositRequest): Promise<SessionView>;
  /** Takes over what the chain has as the session's deposit. Waits like `addDeposit`.
   * @throws SESSION_NOT_OPEN, RATE_LIMITED */
  syncDeposit(sessionId: SessionId): Promise<SessionView>;
  /** Gives back what is free. Waits like `addDeposit`. The same reference is the same withdrawal.
   * @throws SESSION_NOT_OPEN, AMOUNT_INVALID, RATE_LIMITED — nothing was begun.
   * @throws BUDGET_EXHAUSTED — less is free.
   * @throws TRANSACTION_REVERTED, ATTESTATION_REFUSED — refused; nothing has changed. */
  withdrawDeposit(request: WithdrawalRequest): Promise<SessionView>;
  /** Changes the policy once the tasks under way have ended. Waits like `addDeposit`.
   * @throws SESSION_NOT_OPEN, SESSION_BUSY — another change is under way; nothing was begun.
   * @throws POLICY_INVALID — the policy, its nonce, or a field that cannot change.
   * @throws TRANSACTION_REVERTED — the contract refuses it; the old policy stays. */
  changePolicy(change: PolicyChange): Promise<SessionView>;
  task(sessionId: SessionId, taskId: TaskId): Promise<TaskRecord | null>;
  tasks(sessionId: SessionId): Promise<readonly TaskRecord[]>;
  /** Pages of the session's archive, oldest first: tasks that `task` and `tasks` no longer know. */
  archive(sessionId: SessionId): Promise<readonly Cid[]>;
}

/** Opens the gateway on a Temporal client.
 * @param deps - `startSession` starts the workflow with the deployment's configuration in its
 *   input; starting one that runs must do nothing. */
export function openSessionGateway(deps: {
  readonly client: Client;
  /** Of the service layer. */
  readonly chainId: number;
  readonly startSession: (request: OpenSessionRequest) => Promise<void>;
}): SessionGateway {
  const { client, chainId } = deps;

  async function call<T>(
    sessionId: SessionId,
    timeoutMs: number,
    ask: (handle: WorkflowHandle) => Promise<T>,
  ): Promise<T> {
    const handle = client.workflow.getHandle(workflowIds.session(chainId, sessionId));
    try {
      return await client.withDeadline(Date.now() + timeoutMs, () => ask(handle));
    } catch (error) {
      throw translate(error, sessionId);
    }
  }

  const view = (sessionId: SessionId) =>
    call(sessionId, QUERY_MS, (handle) => handle.query(sessionQuery));

  /** A session that has ended takes no orders, which is not the same as never having been. */
  async function order(
    sessionId: SessionId,
    ask: (handle: WorkflowHandle) => Promise<SessionView>,
  ): Promise<SessionView> {
    try {
      return await call(sessionId, UPDATE_MS, ask);
    } catch (error) {
      if (findEngineError(error)?.code !== 'SESSION_NOT_FOUND') throw error;
      const { state } = await view(sessionId);
      throw new EngineError('SESSION_NOT_OPEN', { sessionId, state }, { cause: error });
    }
  }

  // No update id of our own: the client makes one a call, so a retried RPC is one update, and the
  // workflow answers for a known task as it did first. An id from the contents would be worse: it
  // would bring back the old answer for a task that has ended since.
  return {
    async start(request) {
      try {
        await deps.startSession(request);
      } catch (error) {
        throw translate(error, request.sessionId);
      }
    },
    view,
    async awaitState(sessionId, state, waitMs) {
      try {
        // One id for all who wait at about the same time: a workflow takes ten updates at a time.
        const updateId = `await:${state}:${Math.floor(Date.now() / SHARED_WAIT_MS)}`;
        await call(sessionId, waitMs, (handle) =>
          handle.executeUpdate(awaitStateUpdate, { args: [state], updateId }),
        );
      } catch (error) {
        // The wait is over, or the session has ended and takes no updates: it is asked below.
        const known = findEngineError(error);
        const isAnswered = known?.code === 'SESSION_NOT_FOUND';
        if (!isAnswered && known?.details['reason'] !== DEADLINE) throw error;
      }
      return view(sessionId);
    },
    submit: (sessionId, tasks) =>
      call(sessionId, UPDATE_MS, (handle) =>
        handle.executeUpdate(submitTasksUpdate, { args: [{ tasks }] }),
      ),
    complete: (sessionId, tasks) =>
      call(sessionId, UPDATE_MS, (handle) =>
        handle.executeUpdate(completeTasksUpdate, { args: [{ tasks }] }),
      ),
    claimLease: (sessionId, taskQueue, terms = {}) =>
      call(sessionId, QUERY_MS, (handle) =>
        handle.executeUpdate(claimLeaseUpdate, { args: [taskQueue, terms] }),
      ),
    async leaseHolder(sessionId) {
      const { raw } = await call(sessionId, QUERY_MS, (handle) => handle.describe());
      const lease = raw.pendingActivities?.find(({ activityType }) => activityType?.name === LEASE);
      return lease?.lastWorkerIdentity || null;
    },
    setKeyring: (sessionId, keyring) =>
      call(sessionId, UPDATE_MS, (handle) =>
        handle.executeUpdate(setKeyringUpdate, { args: [keyring] }),
      ),
    async close(sessionId, how = { isCancelled: false }) {
      try {
        return await call(sessionId, UPDATE_MS, (handle) =>
          handle.executeUpdate(closeSessionUpdate, { args: [how] }),
        );
      } catch (error) {
        // Closing a session that has ended is no error.
        if (findEngineError(error)?.code !== 'SESSION_NOT_FOUND') throw error;
        return await view(sessionId);
      }
    },
    cancelTasks: (sessionId, taskIds) =>
      call(sessionId, UPDATE_MS, (handle) =>
        handle.executeUpdate(cancelTasksUpdate, { args: [{ taskIds }] }),
      ),
    addDeposit: (request) =>
      order(request.sessionId, (handle) =>
        handle.executeUpdate(addDepositUpdate, { args: [request] }),
      ),
    syncDeposit: (sessionId) =>
      order(sessionId, (handle) => handle.executeUpdate(syncDepositUpdate)),
    withdrawDeposit: (request) =>
      order(request.sessionId, (handle) =>
        handle.executeUpdate(withdrawDepositUpdate, { args: [request] }),
      ),
    changePolicy: (change) =>
      order(change.sessionId, (handle) =>
        handle.executeUpdate(changePolicyUpdate, { args: [change] }),
      ),
    task: (sessionId, taskId) =>
      call(sessionId, QUERY_MS, (handle) => handle.query(taskQuery, taskId)),
    tasks: (sessionId) =>
      readTasks((from) => call(sessionId, QUERY_MS, (handle) => handle.query(tasksQuery, from))),
    archive: (sessionId) => call(sessionId, QUERY_MS, (handle) => handle.query(archiveQuery)),
  };
}

function translate(error: unknown, sessionId: SessionId): EngineError {
  const known = findEngineError(error);
  if (known !== undefined) return known;
  const options = { cause: error };
  // A contract's request that the network refused has a workflow under this id, and no session.
  if (error instanceof WorkflowNotFoundError || error instanceof QueryNotRegisteredError) {
    return new EngineError('SESSION_NOT_FOUND', { sessionId }, options);
  }
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
    return new EngineError('TEMPORAL_UNREACHABLE', { sessionId, reason: DEADLINE }, options);
  }
  if (error instanceof WorkflowUpdateFailedError) {
    const { type: code, details } =
      error.cause instanceof ApplicationFailure ? error.cause : ({} as Partial<ApplicationFailure>);
    // Our own workflow's, which puts the details of an EngineError there.
    const [known] = (details ?? []) as [ErrorDetails?];
    return new EngineError(isErrorCode(code) ? code : 'INTERNAL', { sessionId, ...known }, options);
  }
  // The client puts most of what gRPC says, deadlines of queries among it, into an error of its own.
  const isUnreachable = error instanceof ServiceError || isGrpcServiceError(error);
  const code = isUnreachable ? 'TEMPORAL_UNREACHABLE' : 'INTERNAL';
  return new EngineError(code, { sessionId }, options);
}
