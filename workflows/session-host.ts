/** A session's content on its way to its user's own store: while it serves, and for a while after. */
import { condition, isCancellation, log, sleep } from '@temporalio/workflow';
import { HOST_WAIT_MS, type SessionHosting } from '../domain/hosting.js';
import { hostActivities } from './activities.js';
import { codeOf, untilKnown } from './failure.js';
import type { SessionContext } from './session-context.js';

/** Pauses between tries at a store that is away; each try is in the history. */
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 600_000;
const LONGEST_PAUSE_CLOSED_MS = 4 * 3_600_000;

/** Delivers what ends, while the session serves. */
export async function deliverResults(
  session: SessionContext,
  hosting: SessionHosting,
): Promise<never> {
  const { ledger } = session;
  for (let pauseMs = FIRST_PAUSE_MS; ;) {
    await condition(() => hosting.due(ledger).length > 0);
    const isDelivered = await deliver(session, hosting);
    if (!isDelivered) await sleep(pauseMs);
    pauseMs = isDelivered ? FIRST_PAUSE_MS : Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
  }
}

/** After the close: delivers the rest, and gives it up when the store stays away for too long. */
export async function deliverRest(session: SessionContext, hosting: SessionHosting): Promise<void> {
  const { ledger, sessionId } = session;
  const untilMs = Date.now() + HOST_WAIT_MS;
  for (let pauseMs = FIRST_PAUSE_MS; !hosting.isDone && Date.now() < untilMs;) {
    await condition(() => hosting.due(ledger).length > 0, untilMs - Date.now());
    const isDelivered = await deliver(session, hosting);
    if (!isDelivered) await sleep(Math.max(1, Math.min(pauseMs, untilMs - Date.now())));
    pauseMs = isDelivered ? FIRST_PAUSE_MS : Math.min(2 * pauseMs, LONGEST_PAUSE_CLOSED_MS);
  }
  for (let tasks = hosting.due(ledger); tasks.length > 0; tasks = hosting.due(ledger)) {
    const { giveUpTasks } = hostActivities(session.input.retries);
    const given = tasks;
    await untilKnown('giving content up', () => giveUpTasks({ sessionId, tasks: given }));
    hosting.giveUp(tasks);
  }
}

/** @returns false when the store has not got it. */
async function deliver(session: SessionContext, hosting: SessionHosting): Promise<boolean> {
  const { ledger, sessionId, input } = session;
  const tasks = hosting.due(ledger);
  const { deliverTasks } = hostActivities(input.retries);
  try {
    await deliverTasks({ sessionId, host: hosting.name, tasks });
    hosting.delivered(tasks);
    return true;
  } catch (error) {
    if (isCancellation(error)) throw error;
    hosting.failed(codeOf(error), Date.now());
    log.warn('content waits for its host', { sessionId, code: codeOf(error) });
    return false;
  }
}
