/** The port that miners run a model behind. */
import type { ModelFeature } from '../../domain/features.js';
import type { ChatRequest, StreamEvent } from '../../domain/task.js';

export interface GenerateOptions {
  /** Sampling seed of the task, 0 to 2^31 − 1: equal requests under one seed give equal answers. */
  readonly seed: number;
  /** Ends the generation early; its reason is thrown as it is. */
  readonly signal: AbortSignal;
}

export interface InferenceBackend {
  /** Name of the model that every request is answered by; a request's own `model` is not read. */
  readonly model: string;
  /** What requests may ask for beyond text; those that ask for more are not given to it. */
  readonly features: readonly ModelFeature[];
  /** Answers a request: any number of `delta` and `tool-call` events that add up to the answer, then
   * exactly one `end`. Leaving the loop early ends the generation.
   * @throws BACKEND_FAILED — the model did not answer, or not all of it.
   * @throws FEATURE_UNSUPPORTED — a schema that this backend cannot hold an answer to.
   * @throws PROMPT_TOO_LARGE — the prompt leaves no room for an answer. */
  generate(request: ChatRequest, options: GenerateOptions): AsyncIterable<StreamEvent>;
  /** Frees the model. Generations under way end with BACKEND_FAILED. */
  close(): Promise<void>;
}
