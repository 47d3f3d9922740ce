/** Vectors by a function: for tests, and for demonstrations of what the network does with wrong ones. */
import { seededRandom } from '../../domain/choice.js';
import { unitVector } from '../../domain/embedding.js';
import { EngineError } from '../../domain/errors.js';
import type { EmbeddingBackend, EmbeddingTask } from './backend.js';

const DIMENSIONS = 32;

/** Opens a scripted backend. A token is a word.
 * @param script - `answer`: the whole answer to a request; a vector of each text's own where not
 *   given. */
export function openScriptedEmbedding(script: {
  readonly model: string;
  readonly answer?: (task: EmbeddingTask) => readonly Float32Array[];
}): EmbeddingBackend {
  const { model, answer = ownVectors } = script;
  return {
    model,
    features: ['embedding', 'dimensions'],
    async embed(task, { signal }) {
      signal.throwIfAborted();
      const promptTokens = task.input.reduce((sum, text) => sum + wordsOf(text), 0);
      return { vectors: answer(task), promptTokens };
    },
    async close() {},
  };
}

/** A direction that a name has for itself, as random as any other: those of two names are about at
 * right angles. */
export function namedVector(name: string, dimensions: number = DIMENSIONS): Float32Array {
  const random = seededRandom(name);
  // Sums of uniform numbers point everywhere alike, near enough.
  const number = (): number => random() + random() + random() - 1.5;
  const vector = unitVector(Array.from({ length: dimensions }, number));
  if (vector === null) throw new EngineError('INVARIANT_BROKEN', { what: 'a direction' });
  return vector;
}

function ownVectors({ input, dimensions }: EmbeddingTask): Float32Array[] {
  return input.map((text) => namedVector(text, dimensions));
}

function wordsOf(text: string): number {
  return text.split(/\s+/).filter((word) => word !== '').length;
}
