/**
 * The money of a session on its way to the chain: opening, what its tasks cost, closing. Whatever
 * fails is tried again until it is known how it ended: money is never left behind.
 */
import {
  condition,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  setHandler,
  sleep,
} from '@temporalio/workflow';
import { workflowIds, type TaskId } from '../domain/ids.js';
import type { OpenSessionRequest } from '../domain/session.js';
import type { EndedTasks } from '../domain/settlement.js';
import type { SettledTask } from '../domain/task.js';
import { codeOf, OUTAGE_PAUSE, untilKnown } from './failure.js';
import { tasksEndedSignal, tasksWantedSignal } from './messages.js';
import type { SessionContext } from './session-context.js';
import { recordSteps } from './session-steps.js';

/** Ended tasks wait this long for company before they are reported to the settlement workflow. */
const SETTLE_DELAY = '2s';
/** Unsettled tasks are reported again this often: the settlement workflow knows what it has. */
const REMINDER_MS = 10 * 60_000;

/** At nine miners a task, a third of what Temporal carries in one message. */
const TASKS_A_SIGNAL = 500;

/** Puts policy and deposit in place. False: nothing of the user's has moved. */
export async function openOnChain(
  session: SessionContext,
  request: OpenSessionRequest,
): Promise<boolean> {
  const { ipfs, chain, policy } = session;
  session.failure = await untilKnown('opening', async () => {
    const policyCid = (session.policyCid ??= await ipfs.pinPolicy(policy));
    await chain.openSession({ request, policyCid });
  });
  session.openedAtMs = Date.now();
  return session.failure === null;
}

/** Tells the settlement workflow of tasks as they end, where there is something to settle. */
export async function reportEnded(session: SessionContext): Promise<never> {
  const { ledger, policy } = session;
  const isStepwise = policy.settlement === 'stepwise';
  const reported = new Set<TaskId>();
  setHandler(tasksWantedSignal, () => {
    session.wanted++;
    reported.clear();
  });
  const unreported = () => ledger.unsettled.filter((task) => !reported.has(task.taskId));
  for (;;) {
    await condition(() => unreported().length > 0);
    if (!isStepwise) await sleep(SETTLE_DELAY);
    const tasks = unreported();
    await recordSteps(session, tasks);
    // Before the report: what settlement asks for again meanwhile must not count as reported.
    for (const { taskId } of tasks) reported.add(taskId);
    await report(session, tasks, isStepwise);
  }
}

/** Waits until the chain has every charge, and asks for it now and then. */
export async function settleAll(session: SessionContext): Promise<void> {
  while (session.ledger.unsettled.length > 0) await remindSettlement(session);
}

/** Asks for what is not settled, and waits a while until it is.
 * @param atMostMs - milliseconds to wait; without it, until it is time to ask again. */
export async function remindSettlement(
  session: SessionContext,
  atMostMs = REMINDER_MS,
): Promise<void> {
  const { ledger } = session;
  // A dispute changes what is charged, and may leave an end without a charge to settle.
  const { chargedWei } = ledger;
  const { wanted } = session;
  await recordSteps(session, ledger.unsettled);
  await report(session, ledger.unsettled, true);
  // More than settlement has room for is asked for again once it has.
  const isOther = () =>
    ledger.unsettled.length === 0 || ledger.chargedWei !== chargedWei || session.wanted !== wanted;
  await condition(isOther, Math.min(atMostMs, REMINDER_MS));
}

async function report(
  { input, policy }: SessionContext,
  tasks: readonly SettledTask[],
  isUrgent: boolean,
): Promise<void> {
  const isAlone = policy.settlement === 'stepwise' || input.inference !== undefined;
  for (let i = 0; i < tasks.length; i += TASKS_A_SIGNAL) {
    const some = tasks.slice(i, i + TASKS_A_SIGNAL);
    await signalSettlement(input.chainId, { tasks: some, isUrgent, isAlone });
  }
}

/** Tells the settlement workflow of ended tasks. One that cannot be reached is to be told again. */
export async function signalSettlement(chainId: number, ended: EndedTasks): Promise<void> {
  const settlement = getExternalWorkflowHandle(workflowIds.settlement(chainId));
  try {
    await settlement.signal(tasksEndedSignal, ended);
  } catch (error) {
    if (isCancellation(error)) throw error;
    log.warn('settlement not reached', { tasks: ended.tasks.length });
  }
}

/** Waits for the chain to have every charge, then closes there: the rest goes to the owner. */
export async function closeOnChain(session: SessionContext): Promise<void> {
  const { ledger, chain, oracles, sessionId } = session;
  for (;;) {
    await settleAll(session);
    try {
      const ending = { sessionId, chargedWei: ledger.chargedWei.toString() };
      const signatures = await oracles.collectAttestations({ kind: 'close-session', ...ending });
      const closed = await chain.closeSession({ ...ending, signatures });
      session.refundedWei = BigInt(closed.refundedWei);
      return;
    } catch (error) {
      if (isCancellation(error)) throw error;
      log.warn('session not closed yet', { sessionId, code: codeOf(error) });
      await sleep(OUTAGE_PAUSE);
    }
  }
}
