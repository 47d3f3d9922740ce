/**
 * Sentence embeddings: all-MiniLM-L6-v2 with int8 weights under ONNX Runtime on one thread. Oracles
 * compare answers by them, so one text has one vector: each is run by itself, because the model
 * quantises activations by the range of all that it is given at once.
 * @see https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { EngineError } from '../../domain/errors.js';

/** Length of every vector. */
export const EMBEDDING_DIMENSIONS = 384;
/** Tokens of a text that count, its two markers included: what the model was trained on. */
const MAX_TOKENS = 256;
/** Characters that are looked at: far more than `MAX_TOKENS` tokens of any real text have. */
const MAX_CHARS = 16_384;

export interface Embedder {
  /** Embeds texts, one unit vector of `EMBEDDING_DIMENSIONS` each, in their order. Of a long text
   * the beginning counts, 256 tokens.
   * @throws INTERNAL — the model failed on a text. */
  embed(texts: readonly string[]): Promise<Float32Array[]>;
  /** Counts the tokens of a text that are read, the two markers included: 2–256. */
  tokensOf(text: string): number;
  /** Frees the model. */
  close(): Promise<void>;
}

/** Loads the model.
 * @param folder - holds `model.onnx` and `tokenizer.json`.
 * @throws SERVER_NOT_FOUND — a file is missing, or is not what its name says. */
export async function openEmbedder(folder: string): Promise<Embedder> {
  const { tokenizer, session } = await load(folder);
  return {
    async embed(texts) {
      const vectors: Float32Array[] = [];
      for (const text of texts) vectors.push(await embedOne(session, tokenize(tokenizer, text)));
      return vectors;
    },
    tokensOf: (text) => tokenize(tokenizer, text).length,
    close: () => session.release(),
  };
}

async function load(folder: string): Promise<{ tokenizer: Tokenizer; session: InferenceSession }> {
  try {
    const vocabulary: unknown = JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8'));
    const tokenizer = new Tokenizer(vocabulary as object, {});
    const session = await InferenceSession.create(join(folder, 'model.onnx'), {
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      // 4 = fatal: anything less is reported by the exceptions too.
      logSeverityLevel: 4,
    });
    return { tokenizer, session };
  } catch (cause) {
    throw new EngineError('SERVER_NOT_FOUND', { server: 'embedding model', folder }, { cause });
  }
}

function tokenize(tokenizer: Tokenizer, text: string): readonly number[] {
  const { ids } = tokenizer.encode(text.slice(0, MAX_CHARS));
  const end = ids.at(-1);
  if (ids.length <= MAX_TOKENS || end === undefined) return ids;
  return [...ids.slice(0, MAX_TOKENS - 1), end];
}

async function embedOne(session: InferenceSession, ids: readonly number[]): Promise<Float32Array> {
  const shape = [1, ids.length];
  const count = ids.length;
  const tensor = (values: BigInt64Array): Tensor => new Tensor('int64', values, shape);
  try {
    const output = await session.run({
      input_ids: tensor(BigInt64Array.from(ids, BigInt)),
      attention_mask: tensor(new BigInt64Array(count).fill(1n)),
      token_type_ids: tensor(new BigInt64Array(count)),
    });
    const states = output['last_hidden_state']?.data;
    if (!(states instanceof Float32Array)) throw new TypeError('no last_hidden_state');
    return normalise(meanOf(states, count));
  } catch (cause) {
    throw new EngineError('INTERNAL', { reason: 'the embedding model failed' }, { cause });
  }
}

/** Mean over the tokens. Nothing is padded, so every position counts. */
function meanOf(states: Float32Array, count: number): Float32Array {
  const mean = new Float32Array(EMBEDDING_DIMENSIONS);
  for (let token = 0; token < count; token++) {
    const offset = token * EMBEDDING_DIMENSIONS;
    for (let i = 0; i < EMBEDDING_DIMENSIONS; i++) {
      mean[i] = (mean[i] ?? 0) + (states[offset + i] ?? 0) / count;
    }
  }
  return mean;
}

function normalise(vector: Float32Array): Float32Array {
  let squares = 0;
  for (const value of vector) squares += value * value;
  const length = Math.sqrt(squares) || 1;
  return vector.map((value) => value / length);
}
