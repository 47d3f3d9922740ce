/** The port that miners run a model behind. */
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
  /** Answers a request: any number of `delta` events whose texts add up to the answer, then exactly
   * one `end`. Leaving the loop early ends the generation.
   * @throws BACKEND_FAILED — the model did not answer, or not all of it.
   * @throws PROMPT_TOO_LARGE — the prompt leaves no room for an answer. */
  generate(request: ChatRequest, options: GenerateOptions): AsyncIterable<StreamEvent>;
  /** Frees the model. Generations under way end with BACKEND_FAILED. */
  close(): Promise<void>;
}
