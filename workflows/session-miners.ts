/** Who serves a session, and who may read it. */
import { ApplicationFailure, condition, isCancellation, log, sleep } from '@temporalio/workflow';
import { chooseMiners } from '../domain/choice.js';
import { sameAddress } from '../domain/ids.js';
import type { Candidate } from '../domain/node.js';
import type { Reader } from '../domain/sealing.js';
import { needsClientKeyring, type ReservedMiner } from '../domain/session.js';
import { minerActivities } from './activities.js';
import { codeOf } from './failure.js';
import type { SessionContext } from './session-context.js';
import type { SessionLease } from './session-lease.js';

/** A session that finds no miners in this time closes and refunds. */
const RESERVE_TIMEOUT_MS = 10 * 60_000;
const RESERVE_INTERVAL = '5s';
/** Other miners wait this long for a moment without tasks, then tasks move to them under way. */
const QUIET_WAIT = '15s';
/** A reservation that lacks miners, or could not be looked over, is looked at again after this. */
const LACKING_MS = 60_000;

/** Waits for as many miners as the policy needs; takes as many as it allows.
 * @throws NO_MINERS — not in time, or the session was asked to close. */
export async function reserveMiners(session: SessionContext): Promise<void> {
  const { policy, input } = session;
  const deadlineMs = Math.min(
    Date.now() + RESERVE_TIMEOUT_MS,
    input.inference === undefined ? Infinity : session.expiresAtMs,
  );
  for (;;) {
    const chosen = await chooseAmongCandidates(session);
    if (chosen.length >= policy.minMiners) {
      session.miners = chosen;
      session.reservedAtMs = Date.now();
      return;
    }
    if (Date.now() > deadlineMs || session.isCloseAsked) {
      throw ApplicationFailure.nonRetryable('too few miners', 'NO_MINERS');
    }
    await sleep(RESERVE_INTERVAL);
  }
}

/** Looks the reservation over while there is work: an idle session costs nothing. Miners that are no
 * candidates any more are replaced, and the lease is renewed with those that come. */
export async function keepReservation(
  session: SessionContext,
  lease: SessionLease,
): Promise<never> {
  const { ledger } = session;
  const isDue = () => {
    const { reserveSeconds, minMiners } = session.policy;
    const everyMs = session.miners.length < minMiners ? LACKING_MS : reserveSeconds * 1_000;
    const isUsed = ledger.openTasks.length > 0 || lease.isHeld;
    return isUsed && session.change === null && Date.now() - session.reservedAtMs >= everyMs;
  };
  for (;;) {
    await condition(isDue);
    if (!(await renewReservation(session))) continue;
    await condition(() => ledger.openTasks.length === 0, QUIET_WAIT);
    lease.renew();
  }
}

/** Replaces miners that are no candidates any more, and lets those that come read the session. What
 * fails is left for the next time.
 * @returns whether the miners are others now. */
export async function renewReservation(session: SessionContext): Promise<boolean> {
  const { policy, miners, sessionId, input } = session;
  session.reservedAtMs = Date.now();
  // Only the client could let other miners read.
  if (needsClientKeyring(policy)) return false;
  try {
    const chosen = await chooseAmongCandidates(session);
    const came = chosen.filter((miner) => !isAmong(miners, miner));
    if (came.length === 0 && chosen.length === miners.length) return false;
    if (came.length > 0 && session.keyring !== null) {
      const readers = linkReaders(session, chosen);
      const { rewrapKeyring } = minerActivities(input.retries);
      const former = session.keyring;
      session.keyring = await rewrapKeyring({
        sessionId: session.sessionId,
        keyring: former,
        readers,
      });
      session.formerKeyrings = [...session.formerKeyrings, former.cid];
    }
    session.miners = chosen;
    log.info('miners replaced', { sessionId, came: came.length, miners: chosen.length });
    return true;
  } catch (error) {
    if (isCancellation(error)) throw error;
    log.warn('reservation not looked over', { sessionId, code: codeOf(error) });
    return false;
  }
}

async function chooseAmongCandidates(session: SessionContext): Promise<ReservedMiner[]> {
  const { chain, policy, sessionId, input, miners } = session;
  const candidates = await chain.listCandidates(policy.model);
  const chosen: Candidate[] = chooseMiners(candidates, policy.maxMiners, sessionId, {
    policy,
    pricePerTokenWei: BigInt(input.pricePerTokenWei),
    kept: miners.map((miner) => miner.address),
  });
  return chosen.map(({ address, recipient }) => ({ address, recipient }));
}

/** A miner with another recipient is another reader. */
function isAmong(miners: readonly ReservedMiner[], { address, recipient }: ReservedMiner): boolean {
  return miners.some((m) => sameAddress(m.address, address) && m.recipient === recipient);
}

/** Readers of a session at level `link`, with these miners. */
export function linkReaders(session: SessionContext, miners: readonly ReservedMiner[]): Reader[] {
  const { input, owner } = session;
  const owners = input.ownerRecipient === null ? [] : [input.ownerRecipient];
  return [
    ...owners.map((recipient) => ({ role: 'user', address: owner, recipient }) as const),
    { role: 'router', address: owner, recipient: input.routerRecipient },
    ...miners.map((miner) => ({ role: 'miner', ...miner }) as const),
    ...input.validators.map((validator) => ({ role: 'validator', ...validator }) as const),
  ];
}
