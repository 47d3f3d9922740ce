/** Health: what an epoch asks of miners, and how answers become a score (PoI and PoUW). */
import type { Address, Cid, Hex } from './ids.js';
import type { ChatRequest, Commitment, Precommitment } from './task.js';

/** A question of useful work whose answer can be checked: it must contain one of `accepted`. */
export interface PouwTask {
  readonly id: string;
  readonly prompt: string;
  /** Lower-case; an answer passes when its normalised text contains one of them. */
  readonly accepted: readonly string[];
}

/** What one miner is asked in an epoch: all miners get the same probes with the same seeds. */
export interface Probe {
  readonly id: Hex;
  readonly kind: 'poi' | 'pouw';
  readonly request: ChatRequest;
  readonly seed: number;
  /** Present for `pouw`. */
  readonly accepted?: readonly string[];
}

/** A miner's answer to a probe; probes are public, so the text is in the evidence as it is. */
export interface ProbeAnswer {
  readonly miner: Address;
  readonly probeId: Hex;
  readonly precommitment: Precommitment;
  readonly commitment: Commitment;
  readonly text: string;
  readonly finishReason: 'stop' | 'length';
  /** From the assignment to the commitment, as the router measured it. */
  readonly elapsedMs: number;
}

/** Everything an oracle needs to compute an epoch's scores again, one JSON document on IPFS. */
export interface EpochEvidence {
  readonly version: 1;
  readonly epoch: number;
  /** Registered miners at the epoch's start. */
  readonly miners: readonly Address[];
  readonly probes: readonly Probe[];
  readonly answers: readonly ProbeAnswer[];
}

export interface NodeHealth {
  readonly miner: Address;
  /** Share of probes answered in time, 0–10,000. */
  readonly livenessBps: number;
  /** Share of PoI probes in which the miner agreed with the majority, 0–10,000. */
  readonly poiBps: number;
  /** Share of PoUW tasks solved, relative to the best miner, 0–10,000. */
  readonly pouwBps: number;
  /** Weighted sum of the above, 0–10,000. */
  readonly scoreBps: number;
  /** 0–10: tenths of the score. */
  readonly level: number;
  readonly isHealthy: boolean;
}

/** Below this score a miner is jailed; at or above it, a jailed one is released. */
export const HEALTHY_SCORE_BPS = 5_000;
const WEIGHTS = { liveness: 20, poi: 50, pouw: 30 } as const;

/** Puts the three parts together.
 * @param parts - each 0–10,000. */
export function scoreNode(
  miner: Address,
  parts: { readonly livenessBps: number; readonly poiBps: number; readonly pouwBps: number },
): NodeHealth {
  const scoreBps = Math.floor(
    (parts.livenessBps * WEIGHTS.liveness +
      parts.poiBps * WEIGHTS.poi +
      parts.pouwBps * WEIGHTS.pouw) /
      100,
  );
  return {
    miner,
    ...parts,
    scoreBps,
    level: Math.floor(scoreBps / 1_000),
    isHealthy: scoreBps >= HEALTHY_SCORE_BPS,
  };
}

/** True when an answer solves a PoUW task: its words, lower-cased, contain an accepted phrase. */
export function solves(answer: string, accepted: readonly string[]): boolean {
  const words = ` ${answer
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim()} `;
  return accepted.some((phrase) => words.includes(` ${phrase} `));
}

/** How fast each miner answered an epoch's probes, in tokens a second: the median over its answers,
 * tokens as it claims and signs them, time as the router measured it. By address in lower case. */
export function measuredSpeeds({ answers }: EpochEvidence): ReadonlyMap<string, number> {
  const speeds = new Map<string, number[]>();
  for (const { miner, commitment, elapsedMs } of answers) {
    const tokens = commitment.usage.completionTokens;
    if (tokens === 0 || elapsedMs <= 0) continue;
    const key = miner.toLowerCase();
    speeds.set(key, [...(speeds.get(key) ?? []), (tokens * 1_000) / elapsedMs]);
  }
  return new Map(
    [...speeds].map(([miner, values]) => {
      const sorted = values.sort((a, b) => a - b);
      return [miner, sorted[Math.floor((sorted.length - 1) / 2)] ?? 0];
    }),
  );
}

/** An epoch as it stands on chain and on IPFS. */
export interface EpochReport {
  readonly epoch: number;
  readonly evidenceCid: Cid;
  readonly scores: readonly NodeHealth[];
  readonly root: Hex;
  readonly reportTx: Hex;
}

/** Cochran's sample size with finite population correction: n for 95 % confidence, ± `marginBps`.
 * @see https://doi.org/10.2307/2529429 (Cochran, Sampling Techniques), and cortensor's sampling page */
export function sampleSize(population: number, marginBps = 500): number {
  const z = 1.959964;
  const e = marginBps / 10_000;
  const n0 = (z * z * 0.25) / (e * e);
  return Math.min(population, Math.ceil(n0 / (1 + (n0 - 1) / Math.max(1, population))));
}
