/**
 * The session of a contract's request. It is open on chain and has one task, taken from the start;
 * each end of that task, charged or not, is settled and proven to the contract, which gets the rest
 * of its payment back with the answer. What cannot be proven in time is given back in full.
 */
import { CancellationScope, condition, isCancellation, log, sleep } from '@temporalio/workflow';
import type { AdmittedInference } from '../domain/session.js';
import { inferenceActivities } from './activities.js';
import { codeOf, isFinal, OUTAGE_PAUSE } from './failure.js';
import type { SessionContext } from './session-context.js';
import type { SessionLease } from './session-lease.js';
import { reserveMiners } from './session-miners.js';
import { remindSettlement } from './session-money.js';

/** A charge that is on its way to the chain may still get there so long after the deadline: miners
 * have worked for it. Anyone but the engine may end the request before. */
const CHARGE_GRACE_MS = 10 * 60_000;

/** Runs the request's task to its end. */
export async function runInference(
  session: SessionContext,
  inference: AdmittedInference,
  lease: SessionLease,
): Promise<void> {
  const { ledger, policy } = session;
  const { task } = inference;
  const answer = ledger.submit(task, Date.now());
  if ('refused' in answer) {
    session.failure = answer.refused;
    return;
  }
  try {
    session.enter('Reserving');
    await reserveMiners(session);
  } catch (error) {
    session.failure = codeOf(error);
    const usage = { promptTokens: 0, completionTokens: 0 };
    ledger.complete({ taskId: task.taskId, outcome: 'failed', paidMiners: [], usage });
    return;
  }
  session.enter('Open');
  const background = new CancellationScope();
  const holding = background.run(() => lease.hold());
  holding.catch(() => {
    // Read below.
  });
  const leftMs = Math.min(session.expiresAtMs - Date.now(), policy.taskSeconds * 2_000);
  await condition(() => ledger.openTasks.length === 0, Math.max(leftMs, 1));
  ledger.expire(Number.MAX_SAFE_INTEGER);
  background.cancel();
  try {
    await holding;
  } catch (error) {
    if (!isCancellation(error)) throw error;
  }
}

/** Ends the request on chain: by its settled task, or, when there is none in time, as expired. */
export async function endInference(
  session: SessionContext,
  inference: AdmittedInference,
): Promise<void> {
  const { ledger, sessionId, input } = session;
  const { taskId } = inference.task;
  const activities = inferenceActivities(input.retries);
  let isProvable = true;
  for (;;) {
    const batchCid = ledger.record(taskId)?.batchCid ?? null;
    const isPending = ledger.unsettled.length > 0;
    const isCharged = ledger.chargedWei > 0n;
    const limitMs = session.expiresAtMs + (isPending && isCharged ? CHARGE_GRACE_MS : 0);
    const leftMs = limitMs - Date.now();
    try {
      if (batchCid !== null && isProvable) {
        const end = await activities.fulfilInference({ sessionId, taskId, batchCid });
        session.refundedWei = BigInt(end.refundedWei);
        return;
      }
      if (leftMs <= 0) {
        const end = await activities.expireInference({ sessionId });
        session.refundedWei = BigInt(end.refundedWei);
        return;
      }
    } catch (error) {
      if (isCancellation(error)) throw error;
      if (batchCid !== null && isFinal(error)) isProvable = false;
      log.warn('request not ended yet', { sessionId, code: codeOf(error) });
      await sleep(OUTAGE_PAUSE);
      continue;
    }
    if (isPending) await remindSettlement(session, leftMs);
    else await sleep(leftMs);
  }
}
