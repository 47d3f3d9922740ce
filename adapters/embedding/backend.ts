/** The port that miners give vectors through. */
import type { ModelFeature } from '../../domain/features.js';

/** What is embedded. */
export interface EmbeddingTask {
  readonly input: readonly string[];
  /** Asked for only of a backend with the feature `dimensions`. */
  readonly dimensions?: number;
}

export interface EmbeddingBackend {
  /** Name of the model that all vectors are of. */
  readonly model: string;
  /** `embedding`, and what else requests may ask for. */
  readonly features: readonly ModelFeature[];
  /** Embeds texts, one unit vector each, all of one length, in their order. Of a text that is longer
   * than the model reads, the beginning counts.
   * @returns the vectors, and how many tokens were read.
   * @throws BACKEND_FAILED — the model did not answer, or not all of it.
   * @throws FEATURE_UNSUPPORTED — it has no vectors of the asked length. */
  embed(
    task: EmbeddingTask,
    options: { readonly signal: AbortSignal },
  ): Promise<{ readonly vectors: readonly Float32Array[]; readonly promptTokens: number }>;
  /** Frees the model. */
  close(): Promise<void>;
}
