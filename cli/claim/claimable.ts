/** A miner's journal against the chain: which of its tasks were never settled, and why. */
import type { ChainSession, ServiceChain } from '../../adapters/chain/service.js';
import type { SessionId } from '../../domain/ids.js';
import type { JournalEntry } from '../../nodes/miner/journal.js';

/** `claimable`: its session still holds money, and the task completed. `free`: nothing was charged.
 * `closed`: too late, the session has paid out the rest. */
export const CLAIM_STATES = ['claimable', 'settled', 'free', 'closed'] as const;
export type ClaimState = (typeof CLAIM_STATES)[number];

export interface JournalClaim {
  readonly entry: JournalEntry;
  readonly state: ClaimState;
}

/** Looks every entry of a journal up.
 * @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH */
export async function findClaims(
  entries: readonly JournalEntry[],
  chain: Pick<ServiceChain, 'isTaskSettled' | 'readSession'>,
): Promise<JournalClaim[]> {
  const sessions = new Map<SessionId, ChainSession | null>();
  const claims: JournalClaim[] = [];
  // One after the other: a journal is long, and an RPC's patience is not.
  for (const entry of entries) claims.push({ entry, state: await stateOf(entry) });
  return claims;

  async function stateOf({ sessionId, ordinal, outcome }: JournalEntry): Promise<ClaimState> {
    if (outcome !== 'completed') return 'free';
    if (await chain.isTaskSettled(sessionId, ordinal)) return 'settled';
    if (!sessions.has(sessionId)) sessions.set(sessionId, await chain.readSession(sessionId));
    const session = sessions.get(sessionId) ?? null;
    return session === null || session.status === 'Closed' ? 'closed' : 'claimable';
  }
}

/** How many entries are in each state. */
export function countClaims(claims: readonly JournalClaim[]): Record<ClaimState, number> {
  const counts = { claimable: 0, settled: 0, free: 0, closed: 0 };
  for (const { state } of claims) counts[state]++;
  return counts;
}
