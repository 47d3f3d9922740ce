/**
 * The money of a session on its way to the chain: opening, what its tasks cost, closing. Whatever
 * fails is tried again until it is known how it ended: money is never left behind.
 */
import {
  condition,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  sleep,
} from '@temporalio/workflow';
import { workflowIds, type TaskId } from '../domain/ids.js';
import type { SettledTask } from '../domain/task.js';
import { codeOf, isFinal } from './failure.js';
import { tasksEndedSignal } from './messages.js';
import type { SessionContext } from './session-context.js';

/** Ended tasks wait this long for company before they are reported to the settlement workflow. */
const SETTLE_DELAY = '300ms';
/** Unsettled tasks are reported again this often: the settlement workflow knows what it has. */
const SETTLE_REMINDER = '10 minutes';
/** Pause after retries have ended in an outage, before they start again. */
const OUTAGE_PAUSE = '1 minute';

/** Puts policy and deposit in place. False: nothing of the user's has moved. Anything but a final
 * refusal may still come true on chain, so it is tried until it is known. */
export async function openOnChain(session: SessionContext): Promise<boolean> {
  const { ipfs, chain, policy, sessionId } = session;
  for (;;) {
    try {
      const policyCid = (session.policyCid ??= await ipfs.pinPolicy(policy));
      await chain.openSession({ request: session.input.request, policyCid });
      return true;
    } catch (error) {
      if (isFinal(error)) {
        session.failure = codeOf(error);
        return false;
      }
      log.warn('session not open yet', { sessionId, code: codeOf(error) });
      await sleep(OUTAGE_PAUSE);
    }
  }
}

/** Tells the settlement workflow of tasks as they end with a charge. */
export async function reportEnded(session: SessionContext): Promise<never> {
  const { ledger } = session;
  const reported = new Set<TaskId>();
  const unreported = () => ledger.unsettled.filter((task) => !reported.has(task.taskId));
  for (;;) {
    await condition(() => unreported().length > 0);
    await sleep(SETTLE_DELAY);
    const tasks = unreported();
    await signalSettlement(session, tasks, false);
    for (const { taskId } of tasks) reported.add(taskId);
  }
}

/** A settlement workflow that cannot be reached hears of the tasks again when the session closes. */
async function signalSettlement(
  session: SessionContext,
  tasks: readonly SettledTask[],
  isUrgent: boolean,
): Promise<void> {
  const settlement = getExternalWorkflowHandle(workflowIds.settlement(session.input.chainId));
  try {
    await settlement.signal(tasksEndedSignal, { tasks, isUrgent, isAlone: false });
  } catch (error) {
    if (isCancellation(error)) throw error;
    log.warn('settlement not reached', { sessionId: session.sessionId, tasks: tasks.length });
  }
}

/** Waits for the chain to have every charge, then closes there: the rest goes to the owner. */
export async function closeOnChain(session: SessionContext): Promise<void> {
  const { ledger, chain, oracles, sessionId } = session;
  for (;;) {
    while (ledger.unsettled.length > 0) {
      await signalSettlement(session, ledger.unsettled, true);
      await condition(() => ledger.unsettled.length === 0, SETTLE_REMINDER);
    }
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
