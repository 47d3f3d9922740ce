/**
 * Choice of miners for a session: weighted by their last score, without replacement, and
 * reproducible from a seed, so that anyone can check that it was not arranged.
 */
import type { Candidate } from './node.js';

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

/** Chooses up to `count` different candidates; a miner that was never scored weighs a tenth.
 * @param seed - the session id: same candidates and seed, same choice. */
export function chooseMiners(
  candidates: readonly Candidate[],
  count: number,
  seed: string,
): Candidate[] {
  const random = seededRandom(seed);
  const left = [...candidates].sort((a, b) =>
    a.address.toLowerCase() < b.address.toLowerCase() ? -1 : 1,
  );
  const chosen: Candidate[] = [];
  while (chosen.length < count && left.length > 0) {
    const total = left.reduce((sum, c) => sum + weightOf(c), 0);
    let ticket = random() * total;
    let index = left.findIndex((c) => (ticket -= weightOf(c)) < 0);
    if (index < 0) index = left.length - 1;
    chosen.push(...left.splice(index, 1));
  }
  return chosen;
}

function weightOf(candidate: Candidate): number {
  return Math.max(1_000, candidate.scoreBps);
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
