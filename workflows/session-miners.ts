/** Who serves a session, and who may read it. */
import { ApplicationFailure, sleep } from '@temporalio/workflow';
import { chooseMiners } from '../domain/choice.js';
import type { Reader } from '../domain/sealing.js';
import type { ReservedMiner } from '../domain/session.js';
import type { SessionContext } from './session-context.js';

/** A session that finds no miners in this time closes and refunds. */
const RESERVE_TIMEOUT_MS = 10 * 60_000;
const RESERVE_INTERVAL = '5s';

/** Waits for as many miners as the policy needs.
 * @throws NO_MINERS — not in time, or the session was asked to close. */
export async function reserveMiners(session: SessionContext): Promise<ReservedMiner[]> {
  const { chain, policy, sessionId } = session;
  const startedAtMs = Date.now();
  for (;;) {
    const candidates = await chain.listCandidates(policy.model);
    const chosen = chooseMiners(candidates, policy.maxMiners, sessionId, {
      policy,
      pricePerTokenWei: BigInt(session.input.pricePerTokenWei),
    });
    if (chosen.length >= policy.minMiners) {
      return chosen.map(({ address, recipient }) => ({ address, recipient }));
    }
    if (Date.now() - startedAtMs > RESERVE_TIMEOUT_MS || session.isCloseAsked) {
      throw ApplicationFailure.nonRetryable('too few miners', 'NO_MINERS');
    }
    await sleep(RESERVE_INTERVAL);
  }
}

/** Readers of a session at level `link`. */
export function linkReaders(session: SessionContext): Reader[] {
  const { input, miners } = session;
  const { owner } = input.request;
  const owners = input.ownerRecipient === null ? [] : [input.ownerRecipient];
  return [
    ...owners.map((recipient) => ({ role: 'user', address: owner, recipient }) as const),
    { role: 'router', address: owner, recipient: input.routerRecipient },
    ...miners.map((miner) => ({ role: 'miner', ...miner }) as const),
    ...input.validators.map((validator) => ({ role: 'validator', ...validator }) as const),
  ];
}
