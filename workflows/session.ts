/**
 * `session`: a session's whole life. Fund on chain → reserve miners → keyring → serve → settle →
 * close with refund. No activity runs per task: a router holds the lease and talks to the workflow
 * in updates that carry many tasks. Every end, failures included, gives the rest of the money back.
 */
import {
  ActivityFailure,
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import { chooseMiners } from '../domain/choice.js';
import type { RetryPolicies } from '../domain/config.js';
import { TASK_QUEUES, workflowIds, type Cid, type TaskId } from '../domain/ids.js';
import { SessionLedger, type LedgerState } from '../domain/ledger.js';
import type { LeaseInput, TaskBatch } from '../domain/lease.js';
import type { KeyringRef, Reader } from '../domain/sealing.js';
import {
  needsClientKeyring,
  type OpenSessionRequest,
  type ReservedMiner,
  type SessionState,
  type SessionView,
} from '../domain/session.js';
import type { SettledTask, TaskSubmission } from '../domain/task.js';
import { chainActivities, ipfsActivities, leaseActivity, oracleActivities } from './activities.js';
import {
  awaitStateUpdate,
  claimLeaseUpdate,
  closeSessionUpdate,
  completeTasksUpdate,
  sessionQuery,
  setKeyringUpdate,
  submitTasksUpdate,
  taskQuery,
  tasksEndedSignal,
  tasksQuery,
  tasksSettledSignal,
} from './messages.js';

export interface SessionInput {
  readonly request: OpenSessionRequest;
  readonly chainId: number;
  readonly pricePerTokenWei: string;
  readonly feeBps: number;
  /** Judges of sealed results; they are readers of the keyring. */
  readonly validators: readonly ReservedMiner[];
  /** age recipient of the routers, readers at level `link`. */
  readonly routerRecipient: string;
  /** age recipient of the owner, a reader at level `link`; `null` when it is not registered. */
  readonly ownerRecipient: string | null;
  readonly retries: RetryPolicies;
  readonly carried?: Carried;
}

interface Carried {
  readonly policyCid: Cid;
  readonly miners: readonly ReservedMiner[];
  readonly keyring: KeyringRef | null;
  readonly ledger: LedgerState;
  readonly isClosing: boolean;
}

/** Updates that one run takes before it continues as new; Temporal allows 2,000. */
const UPDATES_PER_RUN = 1_500;
/** Ended tasks wait this long for company before they are reported to the settlement workflow. */
const SETTLE_DELAY = '300ms';
/** Unsettled tasks are reported again this often: the settlement workflow knows what it has. */
const SETTLE_REMINDER = '10 minutes';
/** A session that finds no miners in this time closes and refunds. */
const RESERVE_TIMEOUT_MS = 10 * 60_000;
const RESERVE_INTERVAL = '5s';
/** While tasks are open, idleness is looked at no more often than this. */
const IDLE_CHECK_MS = 30_000;
/** Pause after retries have ended in an outage, before they start again. */
const OUTAGE_PAUSE = '1 minute';
/** Pauses between leases while tasks are open: doubled with each one that is lost. */
const LEASE_PAUSE_MS = 200;
const LEASE_PAUSE_MAX_MS = 10_000;
/** The keyring is awaited this long. */
const KEYRING_TIMEOUT = '1 hour';

export async function session(input: SessionInput): Promise<SessionView> {
  const { request, retries } = input;
  const { sessionId, policy, owner } = request;
  const chain = chainActivities(retries);
  const ipfs = ipfsActivities(retries);
  const oracles = oracleActivities(retries);

  let state: SessionState = 'Opening';
  let policyCid = input.carried?.policyCid ?? null;
  let miners = input.carried?.miners ?? [];
  let keyring = input.carried?.keyring ?? null;
  let refundedWei = 0n;
  let failure: string | null = null;
  let isCloseAsked = input.carried?.isClosing ?? false;
  let lastTaskAtMs = Date.now();
  /** Queue of the router that has the lease, and of one that wants it. */
  let holder: string | null = null;
  let claimant: string | null = null;
  let leaseScope: CancellationScope | null = null;
  let updates = 0;
  const ledger = new SessionLedger(
    {
      sessionId,
      policy,
      depositedWei: BigInt(request.depositWei),
      pricePerTokenWei: BigInt(input.pricePerTokenWei),
      feeBps: input.feeBps,
    },
    input.carried?.ledger,
  );

  handleMessages();
  if (input.carried === undefined) {
    if (!(await open())) return view();
    await prepare();
  }
  if (!isCloseAsked && failure === null) {
    state = 'Open';
    await serve();
  }
  state = 'Closing';
  await close();
  state = failure === null ? 'Closed' : 'Failed';
  await condition(allHandlersFinished);
  return view();

  function handleMessages(): void {
    setHandler(sessionQuery, view);
    setHandler(taskQuery, (taskId) => ledger.record(taskId));
    setHandler(tasksQuery, () => ledger.records());
    setHandler(
      submitTasksUpdate,
      ({ tasks }) => {
        updates++;
        lastTaskAtMs = Date.now();
        return tasks.map((task) => ledger.submit(task, lastTaskAtMs));
      },
      { validator: (_: TaskBatch<TaskSubmission>) => refuseUnlessOpen() },
    );
    setHandler(completeTasksUpdate, ({ tasks }) => {
      updates++;
      lastTaskAtMs = Date.now();
      return tasks.map((task) => ledger.complete(task));
    });
    setHandler(
      setKeyringUpdate,
      (ref) => {
        keyring ??= ref;
        return view();
      },
      {
        validator: (ref: KeyringRef) => {
          const isExpected = state === 'AwaitingKeyring' && needsClientKeyring(policy);
          if (!isExpected && keyring?.cid !== ref.cid) throw notOpen('a keyring is not awaited');
        },
      },
    );
    setHandler(claimLeaseUpdate, claimLease, { validator: (_: string) => refuseUnlessOpen() });
    setHandler(closeSessionUpdate, () => {
      isCloseAsked = true;
      return view();
    });
    setHandler(awaitStateUpdate, async (until) => {
      await condition(() => hasReached(state, until), '20s');
      return view();
    });
    setHandler(tasksSettledSignal, ({ taskIds, transaction }) => {
      ledger.settle(taskIds, transaction);
    });
  }

  function refuseUnlessOpen(): void {
    if (state !== 'Open' || isCloseAsked) throw notOpen(`the session is ${state}`);
  }

  function view(): SessionView {
    return {
      sessionId,
      owner,
      state,
      policy,
      policyCid,
      policyNonce: 0,
      expiresAtMs: 0,
      pricePerTokenWei: input.pricePerTokenWei,
      miners,
      validators: input.validators,
      keyring,
      budget: ledger.budget(refundedWei),
      tasks: ledger.counts,
      failure,
    };
  }

  /** Puts policy and deposit in place. False: nothing of the user's has moved. Anything but a
   * final refusal may still come true on chain, so it is tried until it is known. */
  async function open(): Promise<boolean> {
    for (;;) {
      try {
        policyCid ??= await ipfs.pinPolicy(policy);
        await chain.openSession({ request, policyCid });
        return true;
      } catch (error) {
        if (isFinal(error)) {
          failure = codeOf(error);
          state = 'Failed';
          return false;
        }
        log.warn('session not open yet', { sessionId, code: codeOf(error) });
        await sleep(OUTAGE_PAUSE);
      }
    }
  }

  /** Reserves miners and settles who can read; leaves `failure` when that cannot be had. */
  async function prepare(): Promise<void> {
    try {
      state = 'Reserving';
      miners = await reserveMiners();
      if (policy.level === 'open') return;
      if (needsClientKeyring(policy)) {
        state = 'AwaitingKeyring';
        await condition(() => keyring !== null || isCloseAsked, KEYRING_TIMEOUT);
        if (keyring === null && !isCloseAsked) failure = 'SESSION_NOT_OPEN';
        return;
      }
      keyring = await ipfs.createKeyring({ sessionId, readers: linkReaders() });
    } catch (error) {
      failure = codeOf(error);
    }
  }

  async function reserveMiners(): Promise<ReservedMiner[]> {
    const startedAtMs = Date.now();
    for (;;) {
      const candidates = await chain.listCandidates(policy.model);
      // One more than asked for, so that a session outlives the loss of a miner.
      const chosen = chooseMiners(candidates, policy.redundancy + 1, sessionId);
      if (chosen.length >= policy.redundancy) {
        return chosen.map(({ address, recipient }) => ({ address, recipient }));
      }
      if (Date.now() - startedAtMs > RESERVE_TIMEOUT_MS || isCloseAsked) {
        throw ApplicationFailure.nonRetryable('too few miners', 'NO_MINERS');
      }
      await sleep(RESERVE_INTERVAL);
    }
  }

  function linkReaders(): Reader[] {
    const owners = input.ownerRecipient === null ? [] : [input.ownerRecipient];
    return [
      ...owners.map((recipient) => ({ role: 'user', address: owner, recipient }) as const),
      { role: 'router', address: owner, recipient: input.routerRecipient },
      ...miners.map((miner) => ({ role: 'miner', ...miner }) as const),
      ...input.validators.map((validator) => ({ role: 'validator', ...validator }) as const),
    ];
  }

  /** Takes tasks until the session is asked to close, idles too long, or its tasks are used up. */
  async function serve(): Promise<void> {
    const background = new CancellationScope();
    const running = background.run(() => Promise.all([holdLease(), expireTasks(), reportEnded()]));
    running.catch(() => {
      // Read below: the scope's end is awaited after its cancellation.
    });
    for (;;) {
      const idleMs = Date.now() - lastTaskAtMs;
      const leftMs = policy.idleSeconds * 1_000 - idleMs;
      if (leftMs <= 0 && ledger.openTasks.length === 0) break;
      await condition(isDone, Math.max(leftMs, IDLE_CHECK_MS));
      if (isDone()) break;
    }
    const isRunFull = !isCloseAsked && isRunUsedUp();
    if (!isRunFull) {
      state = 'Closing';
      // Tasks under way may end; who is still open after its time has expired.
      await condition(() => ledger.openTasks.length === 0, policy.taskSeconds * 2_000);
      ledger.expire(Number.MAX_SAFE_INTEGER);
    }
    background.cancel();
    try {
      await running;
    } catch (error) {
      if (!isCancellation(error)) throw error;
    }
    if (isRunFull) await continueInNewRun();
  }

  function isDone(): boolean {
    const isUsedUp = ledger.accepted >= policy.maxTasks && ledger.openTasks.length === 0;
    return isCloseAsked || isUsedUp || isRunUsedUp();
  }

  function isRunUsedUp(): boolean {
    return updates >= UPDATES_PER_RUN || workflowInfo().continueAsNewSuggested;
  }

  async function continueInNewRun(): Promise<never> {
    await condition(allHandlersFinished);
    if (policyCid === null) throw ApplicationFailure.nonRetryable('no policy', 'INTERNAL');
    return await continueAsNew<typeof session>({
      ...input,
      carried: { policyCid, miners, keyring, ledger: ledger.state(), isClosing: isCloseAsked },
    });
  }

  /** Keeps a router on the session while there is work: the one that claims it, or, for open tasks
   * that lost theirs, any. A router gives an idle session back, so that idling costs nothing. */
  async function holdLease(): Promise<void> {
    let pauseMs = LEASE_PAUSE_MS;
    for (;;) {
      await condition(() => claimant !== null || ledger.openTasks.length > 0);
      holder = claimant ?? TASK_QUEUES.routers;
      claimant = null;
      try {
        await CancellationScope.cancellable(async () => {
          leaseScope = CancellationScope.current();
          await leaseActivity(holder ?? TASK_QUEUES.routers).holdLease(leaseInput());
        });
        pauseMs = LEASE_PAUSE_MS;
      } catch (error) {
        if (isCancellation(error) && claimant === null) throw error;
        log.info('lease lost', { sessionId, holder, code: codeOf(error) });
        pauseMs = Math.min(pauseMs * 2, LEASE_PAUSE_MAX_MS);
      }
      holder = null;
      leaseScope = null;
      if (ledger.openTasks.length > 0) await sleep(pauseMs);
    }
  }

  function leaseInput(): LeaseInput {
    return {
      sessionId,
      workflowId: workflowInfo().workflowId,
      owner,
      policy,
      miners,
      validators: input.validators,
      keyring,
      pricePerTokenWei: input.pricePerTokenWei,
      openTasks: ledger.openTasks,
    };
  }

  /** A session moves to the router that asks for it, unless another is at work on its tasks. */
  function claimLease(queue: string): { readonly holder: string } {
    if (holder === null || claimant !== null) {
      claimant ??= queue;
    } else if (holder !== queue && ledger.openTasks.length === 0) {
      claimant = queue;
      leaseScope?.cancel();
    }
    return { holder: claimant ?? holder ?? queue };
  }

  /** The last resort: routers end tasks in time; without any router, the workflow does. */
  async function expireTasks(): Promise<void> {
    for (;;) {
      await condition(() => ledger.openTasks.length > 0);
      await sleep(policy.taskSeconds * 2_000);
      const expired = ledger.expire(Date.now() - policy.taskSeconds * 2_000);
      if (expired.length > 0) log.warn('tasks expired', { tasks: expired.length });
    }
  }

  async function reportEnded(): Promise<void> {
    const reported = new Set<TaskId>();
    const unreported = () => ledger.unsettled.filter((task) => !reported.has(task.taskId));
    for (;;) {
      await condition(() => unreported().length > 0);
      await sleep(SETTLE_DELAY);
      const tasks = unreported();
      await signalSettlement(tasks, false);
      for (const { taskId } of tasks) reported.add(taskId);
    }
  }

  /** A settlement workflow that cannot be reached hears of the tasks again when the session closes. */
  async function signalSettlement(tasks: readonly SettledTask[], isUrgent: boolean): Promise<void> {
    const settlement = getExternalWorkflowHandle(workflowIds.settlement(input.chainId));
    try {
      await settlement.signal(tasksEndedSignal, { tasks, isUrgent });
    } catch (error) {
      if (isCancellation(error)) throw error;
      log.warn('settlement not reached', { sessionId, tasks: tasks.length });
    }
  }

  /** Waits for the chain to have every charge, then closes there: the rest goes to the owner. Money
   * is never left behind: what fails is tried again until it succeeds. */
  async function close(): Promise<void> {
    for (;;) {
      while (ledger.unsettled.length > 0) {
        await signalSettlement(ledger.unsettled, true);
        await condition(() => ledger.unsettled.length === 0, SETTLE_REMINDER);
      }
      try {
        const chargedWei = ledger.chargedWei.toString();
        const ending = { sessionId, chargedWei };
        const signatures = await oracles.collectAttestations({ kind: 'close-session', ...ending });
        const closed = await chain.closeSession({ ...ending, signatures });
        refundedWei = BigInt(closed.refundedWei);
        return;
      } catch (error) {
        if (isCancellation(error)) throw error;
        log.warn('session not closed yet', { sessionId, code: codeOf(error) });
        await sleep(OUTAGE_PAUSE);
      }
    }
  }
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

/** True when no retry can mend it; a time-out or an outage is not final, whatever it looked like. */
function isFinal(error: unknown): boolean {
  const failure = error instanceof ActivityFailure ? error.cause : error;
  return failure instanceof ApplicationFailure && failure.nonRetryable === true;
}

/** The stable code of a failed activity; what is not one of ours is `INTERNAL`. */
function codeOf(error: unknown): string {
  const failure = error instanceof ActivityFailure ? error.cause : error;
  return failure instanceof ApplicationFailure ? (failure.type ?? 'INTERNAL') : 'INTERNAL';
}
