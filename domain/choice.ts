/**
 * Choice of miners for a session: who may serve it, and then weighted by score and speed, without
 * replacement, and reproducible from a seed, so that anyone can check that it was not arranged.
 * Load is no part of it: it changes by the second, and is the router's to see (nodes/router).
 */
import { sameAddress, type Address } from './ids.js';
import type { Candidate } from './node.js';
import type { SessionPolicy } from './session.js';

/** Deterministic numbers in [0, 1) from text (cyrb53 to seed mulberry32; statistics, not secrecy). */
export function seededRandom(seed: string): () => number {
  let h1 = 0xdeadbeef;
  let h2 = 0x41c6ce57;
  for (let i = 0; i < seed.length; i++) {
    const c = seed.charCodeAt(i);
    h1 = Math.imul(h1 ^ c, 2654435761);
    h2 = Math.imul(h2 ^ c, 1597334677);
  }
  let state = (h1 ^ Math.imul(h2, 0x9e3779b1)) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** What a session asks of its miners. */
export interface ChoiceTerms {
  readonly policy: Pick<SessionPolicy, 'mode' | 'dedicated' | 'minNodeLevel'>;
  /** What the session pays, in wei a token. */
  readonly pricePerTokenWei: bigint;
  /** Miners that serve the session already: they stay, as long as they still may. */
  readonly kept?: readonly Address[];
}

/** Least weight, in basis points of score: a miner that was never scored gets its chance. */
const LEAST_WEIGHT = 1_000;
/** Speed counts for at most a factor of this, up or down, against the median of the measured. */
const SPEED_FACTOR = 2;

/** True for a candidate that may serve the session at all: its level, its price, and for whom it
 * has been set aside. */
export function mayServe(candidate: Candidate, terms: ChoiceTerms): boolean {
  const { mode, minNodeLevel } = terms.policy;
  const isNamed = isDedicated(candidate, terms);
  if (candidate.level < minNodeLevel) return false;
  if (BigInt(candidate.pricePerTokenWei ?? '0') > terms.pricePerTokenWei) return false;
  if (mode === 'dedicated') return isNamed;
  // What its pool has dedicated to somebody serves nobody else.
  return isNamed || candidate.kind !== 'Dedicated';
}

/** Chooses up to `count` different candidates: first those that are kept, then, in mode `hybrid`, the
 * owner's own, then by lot. Weights are scores, halved or doubled at most by the measured speed.
 * @param seed - the session id: same candidates, terms and seed, same choice. */
export function chooseMiners(
  candidates: readonly Candidate[],
  count: number,
  seed: string,
  terms: ChoiceTerms,
): Candidate[] {
  const random = seededRandom(seed);
  const able = candidates
    .filter((candidate) => mayServe(candidate, terms))
    .sort((a, b) => (a.address.toLowerCase() < b.address.toLowerCase() ? -1 : 1));
  const weightOf = weigher(able);
  const kept = able.filter(({ address }) => terms.kept?.some((k) => sameAddress(k, address)));
  const fresh = able.filter((candidate) => !kept.includes(candidate));
  const own = fresh.filter((candidate) => isDedicated(candidate, terms));
  const others = fresh.filter((candidate) => !own.includes(candidate));
  const chosen: Candidate[] = [];
  for (const group of [kept, own, others]) {
    chosen.push(...drawWeighted(group, count - chosen.length, weightOf, random));
  }
  return chosen;
}

function isDedicated(candidate: Candidate, { policy }: ChoiceTerms): boolean {
  return policy.dedicated.some((address) => sameAddress(address, candidate.address));
}

function weigher(candidates: readonly Candidate[]): (candidate: Candidate) => number {
  const speeds = candidates
    .flatMap((candidate) => candidate.tokensPerSecond ?? [])
    .sort((a, b) => a - b);
  const median = speeds[Math.floor((speeds.length - 1) / 2)] ?? 0;
  return ({ scoreBps, tokensPerSecond }) => {
    const ratio = tokensPerSecond === null || median === 0 ? 1 : tokensPerSecond / median;
    const factor = Math.min(SPEED_FACTOR, Math.max(1 / SPEED_FACTOR, ratio));
    return Math.max(LEAST_WEIGHT, scoreBps) * factor;
  };
}

function drawWeighted(
  candidates: readonly Candidate[],
  count: number,
  weightOf: (candidate: Candidate) => number,
  random: () => number,
): Candidate[] {
  const left = candidates.map((candidate) => ({ candidate, weight: weightOf(candidate) }));
  const drawn: Candidate[] = [];
  while (drawn.length < count && left.length > 0) {
    const total = left.reduce((sum, { weight }) => sum + weight, 0);
    let ticket = random() * total;
    let index = left.findIndex(({ weight }) => (ticket -= weight) < 0);
    if (index < 0) index = left.length - 1;
    drawn.push(...left.splice(index, 1).map(({ candidate }) => candidate));
  }
  return drawn;
}

/** Draws `count` different items, every one equally likely, reproducible from the seed. */
export function sample<T>(items: readonly T[], count: number, seed: string): T[] {
  const random = seededRandom(seed);
  const left = [...items];
  const drawn: T[] = [];
  while (drawn.length < count && left.length > 0) {
    drawn.push(...left.splice(Math.floor(random() * left.length), 1));
  }
  return drawn;
}
