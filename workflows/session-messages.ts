/** The messages that a session takes: who may send what, and when, is decided here. */
import { ApplicationFailure, condition, setHandler } from '@temporalio/workflow';
import { TASKS_A_PAGE } from '../domain/archive.js';
import { EngineError } from '../domain/errors.js';
import type { ClaimTerms, SubmittedTask, TaskBatch, TaskRecord } from '../domain/lease.js';
import { parseWei } from '../domain/money.js';
import type { KeyringRef } from '../domain/sealing.js';
import {
  checkPolicyChange,
  needsClientKeyring,
  parsePolicy,
  type DepositRequest,
  type PolicyChange,
  type SessionState,
  type SessionView,
  type WithdrawalRequest,
} from '../domain/session.js';
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
  tasksSettledSignal,
  withdrawDepositUpdate,
} from './messages.js';
import { UPDATES_PER_RUN, type SessionContext } from './session-context.js';
import { keyOfOrder, MAX_ORDERS, placeOrder, type DepositOrder } from './session-deposit.js';
import type { SessionLease } from './session-lease.js';
import { keyOfChange } from './session-policy.js';

/** An answer about the chain is awaited this long; then the session as it is is the answer. */
const ANSWER_WAIT = '20s';

/** Handles the messages of a session from its first moment on. */
export function handleMessages(session: SessionContext, lease: SessionLease): void {
  const { ledger } = session;

  setHandler(sessionQuery, () => session.view());
  setHandler(taskQuery, (taskId) => {
    const record = ledger.record(taskId);
    return record === null ? null : hosted(session, record);
  });
  setHandler(tasksQuery, (from) =>
    ledger
      .records(from)
      .slice(0, TASKS_A_PAGE)
      .map((record) => hosted(session, record)),
  );
  setHandler(archiveQuery, () => session.archive);
  setHandler(awaitStateUpdate, async (until) => {
    await condition(() => hasReached(session.state, until), '20s');
    return session.view();
  });
  handleTasks(session);
  handleOrders(session);

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
          throw refusal('SESSION_NOT_OPEN', 'a keyring is not awaited');
        }
      },
    },
  );
  setHandler(claimLeaseUpdate, (queue, terms) => lease.claim(queue, terms), {
    validator: (_queue: string, _terms?: ClaimTerms) => refuseUnlessOpen(session),
  });
  setHandler(closeSessionUpdate, ({ isCancelled }) => {
    session.isCloseAsked = true;
    session.isCancelled ||= isCancelled;
    return session.view();
  });
}

function handleTasks(session: SessionContext): void {
  const { ledger } = session;
  setHandler(
    submitTasksUpdate,
    ({ tasks }) => {
      session.updates++;
      session.lastTaskAtMs = Date.now();
      return tasks.map(({ notIn = [], ...task }) => {
        const { taskId } = task;
        const mayBeIn = ledger.knows(taskId) ? [] : session.archiveIndex.pagesWith(taskId, notIn);
        if (mayBeIn.length > 0) return { taskId, mayBeIn };
        const answer = ledger.submit(task, session.lastTaskAtMs);
        if ('ended' in answer && answer.ended === null) session.hosting?.expect(task.taskId);
        return answer;
      });
    },
    {
      // While the policy changes, the ledger answers: what it knows, and that it is busy.
      validator: (_: TaskBatch<SubmittedTask>) => {
        const isBusy = session.state === 'Changing' && session.updates < UPDATES_PER_RUN;
        if (!isBusy) refuseUnlessOpen(session);
      },
    },
  );
  setHandler(completeTasksUpdate, ({ tasks }) => {
    session.updates++;
    session.lastTaskAtMs = Date.now();
    const hostCode = session.hosting?.code ?? null;
    return tasks.map((task) => ({
      ...ledger.complete(task),
      ...(hostCode === null ? {} : { hostCode }),
    }));
  });
  setHandler(cancelTasksUpdate, ({ taskIds }) => {
    session.updates++;
    return ledger.cancel(taskIds);
  });
  setHandler(tasksSettledSignal, (report) => {
    ledger.settle(report);
  });
}

/** Says where a task's content is, in a session with a host. */
function hosted({ hosting }: SessionContext, record: TaskRecord): TaskRecord {
  return hosting === null ? record : { ...record, host: hosting.of(record.taskId) };
}

/** What the owner, or whoever pays, orders on chain. What is refused here was never recorded. */
function handleOrders(session: SessionContext): void {
  const { ledger } = session;

  async function order(placed: DepositOrder): Promise<SessionView> {
    session.updates++;
    placeOrder(session, placed);
    return await answered(session, keyOfOrder(placed));
  }

  function refuseOrder(given: { readonly sessionId: string; readonly amountWei: string }): void {
    refuseUnlessOpen(session);
    refuseForeign(session, given);
    if (amountOf(given.amountWei) === 0n) throw refusal('AMOUNT_INVALID', 'nothing is no amount');
    if (session.orders.length >= MAX_ORDERS) throw refusal('RATE_LIMITED', 'orders are waiting');
  }

  setHandler(addDepositUpdate, (request) => order({ kind: 'deposit', request }), {
    validator: (request: DepositRequest) => refuseOrder(request),
  });
  setHandler(syncDepositUpdate, () => order({ kind: 'sync' }), {
    validator: () => {
      refuseUnlessOpen(session);
      if (session.orders.length >= MAX_ORDERS) throw refusal('RATE_LIMITED', 'orders are waiting');
    },
  });
  setHandler(
    withdrawDepositUpdate,
    async (request) => {
      if (ledger.withdrawal(request.reference)?.isPending === false) return session.view();
      // Taken out at once: no task can be promised what is on its way to the owner.
      if (!ledger.withdraw(request.reference, BigInt(request.amountWei))) {
        throw refusal('BUDGET_EXHAUSTED', 'less is free');
      }
      return await order({ kind: 'withdrawal', request, signatures: null });
    },
    {
      validator: (request: WithdrawalRequest) => {
        refuseOrder(request);
        const { reference, amountWei } = request;
        const known = ledger.withdrawal(reference);
        if (known !== null && known.amountWei !== amountWei) {
          throw refusal('IDEMPOTENCY_CONFLICT', 'the reference was used for another amount');
        }
        if (known === null && amountOf(amountWei) > ledger.freeWei) {
          throw refusal('BUDGET_EXHAUSTED', 'less is free');
        }
      },
    },
  );
  setHandler(
    changePolicyUpdate,
    async (change) => {
      session.updates++;
      session.answers.delete(keyOfChange(change));
      session.change ??= change;
      return await answered(session, keyOfChange(change));
    },
    {
      validator: (change: PolicyChange) => {
        refuseForeign(session, change);
        // Asked again, it is waited for again.
        if (session.change?.signature === change.signature) return;
        refuseUnlessOpen(session);
        refuseChange(session, change);
      },
    },
  );
}

function refuseChange(session: SessionContext, change: PolicyChange): void {
  const { policy, policyNonce, ledger, input, miners } = session;
  try {
    if (change.nonce !== policyNonce) {
      throw new EngineError('POLICY_INVALID', { field: 'nonce', expected: `${policyNonce}` });
    }
    checkPolicyChange(parsePolicy(change.policy), {
      policy,
      accepted: ledger.accepted,
      pricePerTokenWei: input.pricePerTokenWei,
      reserved: needsClientKeyring(policy) ? miners.length : null,
    });
  } catch (error) {
    throw toRefusal(error);
  }
}

/** Waits for the end of what was ordered.
 * @throws the code of its refusal. */
async function answered(session: SessionContext, key: string): Promise<SessionView> {
  await condition(() => session.answers.has(key), ANSWER_WAIT);
  const code = session.answers.get(key) ?? null;
  if (code !== null) throw refusal(code, 'the chain or the committee refuses it');
  return session.view();
}

function refuseUnlessOpen(session: SessionContext): void {
  const { state, isCloseAsked, input } = session;
  if (state === 'Changing' && !isCloseAsked) throw refusal('SESSION_BUSY', 'its policy changes');
  if (state !== 'Open' || isCloseAsked || input.inference !== undefined) {
    throw refusal('SESSION_NOT_OPEN', `the session is ${state}`);
  }
}

function refuseForeign(session: SessionContext, given: { readonly sessionId: string }): void {
  if (given.sessionId !== session.sessionId) {
    throw refusal('REQUEST_INVALID', 'it is for another session');
  }
}

function amountOf(text: string): bigint {
  try {
    return parseWei(text);
  } catch (error) {
    throw toRefusal(error);
  }
}

function toRefusal(error: unknown): unknown {
  if (!(error instanceof EngineError)) return error;
  const { code, message, details } = error;
  return ApplicationFailure.nonRetryable(message, code, details);
}

function refusal(code: string, text: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(text, code);
}

const ORDER: readonly SessionState[] = [
  'Opening',
  'Reserving',
  'AwaitingKeyring',
  'Open',
  'Changing',
  'Closing',
  'Closed',
];

function hasReached(state: SessionState, until: SessionState): boolean {
  return state === 'Failed' || ORDER.indexOf(state) >= ORDER.indexOf(until);
}
