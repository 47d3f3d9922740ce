/** An epoch's scores in the form that the health ledger publishes and the committee signs. */
import { concat, keccak256, toBeHex } from 'ethers';
import type { NodeHealth } from '../../domain/health.js';
import type { Hex } from '../../domain/ids.js';

type Score = Pick<NodeHealth, 'miner' | 'scoreBps' | 'level'>;

/** Packs scores: 20 bytes address, 2 bytes score, 1 byte level each, ascending by address.
 * @see contracts/src/health/IHealthLedger.sol EpochReported */
export function packScores(scores: readonly Score[]): Hex {
  return concat(
    sortScores(scores).flatMap(({ miner, scoreBps, level }) => [
      miner,
      toBeHex(scoreBps, 2),
      toBeHex(level, 1),
    ]),
  ) as Hex;
}

/** What `ReportEpoch.scoresHash` must be. */
export function scoresHashOf(scores: readonly Score[]): Hex {
  return keccak256(packScores(scores)) as Hex;
}

/** Puts scores in the order of their packing, which is the order of the report's leaves too. */
export function sortScores<T extends Score>(scores: readonly T[]): T[] {
  return [...scores].sort((a, b) => (BigInt(a.miner) < BigInt(b.miner) ? -1 : 1));
}
