/**
 * A change of policy by the session's owner. Tasks are judged by the policy that is on chain, so a
 * change waits until all that were done under the old one are settled, and none is taken meanwhile.
 */
import { condition } from '@temporalio/workflow';
import type { PolicyChange } from '../domain/session.js';
import { untilKnown } from './failure.js';
import type { SessionContext } from './session-context.js';
import type { SessionLease } from './session-lease.js';
import { renewReservation } from './session-miners.js';
import { settleAll } from './session-money.js';

/** Names a change among the answers of a session. */
export function keyOfChange({ nonce }: PolicyChange): string {
  return `policy:${nonce}`;
}

/** Puts the owner's changes of policy in force, one after the other, while the session serves. */
export async function changePolicies(session: SessionContext, lease: SessionLease): Promise<never> {
  const { ledger } = session;
  for (;;) {
    await condition(() => session.change !== null);
    const { change } = session;
    if (change === null) continue;
    session.enter('Changing');
    ledger.isPaused = true;
    const lateMs = session.policy.taskSeconds * 2_000;
    await condition(() => ledger.openTasks.length === 0, lateMs);
    ledger.expire(Number.MAX_SAFE_INTEGER);
    await settleAll(session);
    const refusal = await putInForce(session, change);
    if (refusal === null) {
      // The next holder of the lease serves by the new policy; no task is under way.
      lease.letGo();
      await renewReservation(session);
    }
    ledger.isPaused = false;
    session.change = null;
    session.enter('Open');
    session.answers.set(keyOfChange(change), refusal);
  }
}

/** @returns the code of a final refusal, which leaves the old policy; `null` when the new one is on
 * chain. */
async function putInForce(session: SessionContext, change: PolicyChange): Promise<string | null> {
  const { ipfs, chain, ledger } = session;
  return await untilKnown('change of policy', async () => {
    const policyCid = await ipfs.pinPolicy(change.policy);
    await chain.changePolicy({ change, policyCid });
    session.policy = change.policy;
    session.policyCid = policyCid;
    session.policyNonce = change.nonce + 1;
    ledger.changePolicy(change.policy);
  });
}
