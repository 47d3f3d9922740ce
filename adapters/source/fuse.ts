/**
 * One ranking of what two searches found: reciprocal rank fusion, which needs no common scale.
 * @see Cormack, Clarke and Büttcher 2009
 */
import type { ChunkHit } from '../database/source-index.js';

/** The paper's constant: how much less a first place counts than all others together. */
const K = 60;

/** Ranks chunks by their places among the most similar and among the most relevant, best first. */
export function fuse<Hit extends ChunkHit>(hits: readonly Hit[]): Hit[] {
  const scores = new Map<Hit, number>(hits.map((hit) => [hit, 0]));
  const rank = (value: (hit: Hit) => number) => {
    const ranked = hits.filter((hit) => value(hit) > 0).sort((a, b) => value(b) - value(a));
    ranked.forEach((hit, i) => scores.set(hit, (scores.get(hit) ?? 0) + 1 / (K + i + 1)));
  };
  rank(({ similarity }) => similarity);
  rank(({ relevance }) => relevance);
  return [...hits].sort(
    (a, b) => (scores.get(b) ?? 0) - (scores.get(a) ?? 0) || (a.digest < b.digest ? -1 : 1),
  );
}
