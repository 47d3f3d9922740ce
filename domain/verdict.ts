/**
 * Proof of Inference, the pure part: embeddings of k answers in, agreement out. Distances are
 * cosine distances of unit vectors. The threshold comes from the calibration in
 * docs/verification.md. Source of the idea: COR Prover's design (k answers, dispersion).
 */
import { vectorsDistance } from './embedding.js';
import type { Address } from './ids.js';

/** Answers further from the medoid than this are outliers. Range of a cosine distance: 0–2. */
export const OUTLIER_DISTANCE = 0.25;

export interface MinerScore {
  readonly miner: Address;
  /** Similarity to the medoid, 0–10,000. */
  readonly scoreBps: number;
  readonly isAgreed: boolean;
}

export interface Verdict {
  /** `agreed` needs a strict majority of the miners that were asked. */
  readonly status: 'agreed' | 'no-quorum';
  /** `identical`: all result hashes were equal, nothing was embedded. */
  readonly method: 'identical' | 'embedding' | 'none';
  /** The answer closest to all others; `null` without agreement. */
  readonly medoid: Address | null;
  readonly scores: readonly MinerScore[];
}

/** Cosine distance of two unit vectors, 0–2.
 * The vectors must have the same length; a shorter one reads as padded with zeros. */
export function cosineDistance(a: Float32Array, b: Float32Array): number {
  let dot = 0;
  for (let i = 0; i < a.length; i++) dot += (a[i] ?? 0) * (b[i] ?? 0);
  return 1 - dot;
}

/** Judges answers whose result hashes are all equal.
 * @param asked - miners that were asked, those without an answer included. */
export function judgeIdentical(miners: readonly Address[], asked: number): Verdict {
  const isMajority = miners.length * 2 > asked;
  return {
    status: isMajority ? 'agreed' : 'no-quorum',
    method: 'identical',
    medoid: isMajority ? (miners[0] ?? null) : null,
    scores: miners.map((miner) => ({ miner, scoreBps: 10_000, isAgreed: isMajority })),
  };
}

/** An answer to judge. */
export interface EmbeddedAnswer {
  readonly miner: Address;
  /** Unit vector, of the same embedding model as the others'. */
  readonly embedding: Float32Array;
  /** Of an answer that is vectors: these count, and its embedding does not. */
  readonly vectors?: readonly Float32Array[];
  /** What must be equal in answers that agree (`exactKey`); absent or empty where they are text. */
  readonly exact?: string;
}

/** Distance of two answers that differ in what must be equal, if only in a number: nothing in common. */
const NOT_EQUAL_DISTANCE = 1;

/** Judges answers by the distance of their embeddings, where they are equal in what must be: the
 * medoid is the answer with the smallest sum of distances (ties: the first), and whoever is near it
 * agrees.
 * @param asked - miners that were asked, those without an answer included. */
export function judgeEmbeddings(
  answers: readonly EmbeddedAnswer[],
  asked: number,
  outlierDistance: number = OUTLIER_DISTANCE,
): Verdict {
  if (answers.length === 0) return NO_ANSWERS;
  const sums = answers.map((a) => answers.reduce((sum, b) => sum + distanceOf(a, b), 0));
  const best = sums.indexOf(Math.min(...sums));
  const medoid = answers[best] ?? answers[0];
  if (medoid === undefined) return NO_ANSWERS;
  const distances = answers.map((a) => distanceOf(medoid, a));
  const near = distances.map((distance) => distance <= outlierDistance);
  const isMajority = near.filter(Boolean).length * 2 > asked;
  return {
    status: isMajority ? 'agreed' : 'no-quorum',
    method: 'embedding',
    medoid: isMajority ? medoid.miner : null,
    scores: answers.map((a, i) => ({
      miner: a.miner,
      scoreBps: Math.max(0, Math.min(10_000, Math.round(10_000 * (1 - (distances[i] ?? 2))))),
      isAgreed: isMajority && near[i] === true,
    })),
  };
}

function distanceOf(a: EmbeddedAnswer, b: EmbeddedAnswer): number {
  if (a.vectors !== undefined || b.vectors !== undefined) {
    return vectorsDistance(a.vectors ?? null, b.vectors ?? null);
  }
  if ((a.exact ?? '') !== (b.exact ?? '')) return NOT_EQUAL_DISTANCE;
  return cosineDistance(a.embedding, b.embedding);
}

/** The verdict when nobody answered. */
export const NO_ANSWERS: Verdict = {
  status: 'no-quorum',
  method: 'none',
  medoid: null,
  scores: [],
};
