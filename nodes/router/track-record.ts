/**
 * What a router has seen of miners, over all its sessions: how quick they are, and whom to ask last
 * for a while. It is lost with the process; scores on chain are what lasts.
 */
import type { Address } from '../../domain/ids.js';

/** Share of the newest measurement in a moving average. */
const NEWEST_SHARE = 0.3;
/** Tokens of the answer that expectations are for. */
const TYPICAL_TOKENS = 128;
/** Measurements without which a miner is not called slow. */
const MIN_MEASUREMENTS = 3;
/** Times the median of the others: much slower. */
const SLOW_FACTOR = 3;
/** Half of a penalty is forgiven after so long. */
const HALF_LIFE_MS = 60_000;
const MAX_PENALTY = 8;
/** Below this a fault is forgotten: two half-lives after one fault, five after the most. */
const FORGIVEN = 0.25;
const MAX_MINERS = 10_000;

/** One answer that counted. */
export interface Measurement {
  /** From the assignment to the first frame; `null` where the miner did not stream. */
  readonly firstFrameMs: number | null;
  /** From the assignment to the precommitment. */
  readonly answeredMs: number;
  /** Of the agreed answer, not what the miner claims. */
  readonly completionTokens: number;
}

interface Seen {
  firstFrameMs: number | null;
  /** `null` before the first measurement. */
  tokensPerSecond: number | null;
  measurements: number;
  penalty: number;
  penalisedAtMs: number;
}

export class TrackRecord {
  readonly #seen = new Map<string, Seen>();
  readonly #now: () => number;

  /** @param now - Unix milliseconds; only tests give their own. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Notes an answer that was agreed on. */
  answered(miner: Address, { firstFrameMs, answeredMs, completionTokens }: Measurement): void {
    const seen = this.#of(miner);
    const perSecond = (Math.max(1, completionTokens) * 1_000) / Math.max(1, answeredMs);
    seen.tokensPerSecond = average(seen.tokensPerSecond, perSecond);
    if (firstFrameMs !== null) seen.firstFrameMs = average(seen.firstFrameMs, firstFrameMs);
    seen.measurements++;
  }

  /** Notes that a miner failed, was late, or gave an answer that was not agreed on. */
  fault(miner: Address): void {
    const seen = this.#of(miner);
    seen.penalty = Math.min(MAX_PENALTY, this.penaltyOf(miner) + 1);
    seen.penalisedAtMs = this.#now();
  }

  /** What is left of a miner's penalties, 0–8; 0 once they are forgiven. */
  penaltyOf(miner: Address): number {
    const seen = this.#seen.get(miner.toLowerCase());
    if (seen === undefined) return 0;
    const halfLives = Math.max(0, this.#now() - seen.penalisedAtMs) / HALF_LIFE_MS;
    const left = seen.penalty * 2 ** -halfLives;
    return left < FORGIVEN ? 0 : left;
  }

  /** Milliseconds that a typical answer would take each of these miners, in their order. One that was
   * never measured is expected to be as quick as the quickest, or it never would be. */
  expectedMs(miners: readonly Address[]): number[] {
    const measured = miners.map((miner) => this.#seen.get(miner.toLowerCase()));
    const frames = measured.map((seen) => seen?.firstFrameMs ?? null).filter((ms) => ms !== null);
    const typicalFrameMs = median(frames) ?? 0;
    const expected = measured.map((seen) => {
      if (seen === undefined || seen.tokensPerSecond === null) return null;
      const firstFrameMs = seen.firstFrameMs ?? typicalFrameMs;
      return firstFrameMs + (TYPICAL_TOKENS * 1_000) / seen.tokensPerSecond;
    });
    const quickest = Math.min(...expected.filter((ms) => ms !== null));
    return expected.map((ms) => ms ?? (Number.isFinite(quickest) ? quickest : 1));
  }

  /** Whether a miner is much slower than these others, as far as they were measured often enough. */
  isSlow(miner: Address, others: readonly Address[]): boolean {
    const known = [miner, ...others].filter((m) => this.#isMeasured(m));
    if (known[0] !== miner || known.length < 2) return false;
    const [own = 0, ...theirs] = this.expectedMs(known);
    return own > SLOW_FACTOR * (median(theirs) ?? own);
  }

  #isMeasured(miner: Address): boolean {
    return (this.#seen.get(miner.toLowerCase())?.measurements ?? 0) >= MIN_MEASUREMENTS;
  }

  #of(miner: Address): Seen {
    const key = miner.toLowerCase();
    const known = this.#seen.get(key);
    if (known !== undefined) return known;
    if (this.#seen.size >= MAX_MINERS) {
      for (const oldest of this.#seen.keys()) {
        this.#seen.delete(oldest);
        break;
      }
    }
    const seen: Seen = {
      firstFrameMs: null,
      tokensPerSecond: null,
      measurements: 0,
      penalty: 0,
      penalisedAtMs: 0,
    };
    this.#seen.set(key, seen);
    return seen;
  }
}

function average(before: number | null, newest: number): number {
  return before === null ? newest : before + NEWEST_SHARE * (newest - before);
}

function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? null : (low + high) / 2;
}
