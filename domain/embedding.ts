/**
 * Vectors as an answer. They travel as its text, a JSON list with each vector as base64 of its
 * float32 numbers (little endian), so that a task of this kind is committed to, recorded and paid
 * like any other.
 */
import { EngineError } from './errors.js';
import type { AnswerBody, EmbeddingRequest } from './task.js';

/** Bounds of what one request may ask for. */
export const EMBEDDING_LIMITS = {
  inputs: 64,
  /** Of one text, in bytes of UTF-8. */
  inputBytes: 32_768,
  dimensions: 8_192,
} as const;

/** Vectors of one text that are nearer than this are the same: other processors round otherwise. */
export const SAME_VECTOR_COSINE = 0.999;

const FLOAT_BYTES = 4;

/** Checks a request for vectors.
 * @throws PROMPT_INVALID — with the field, and what was expected of it. */
export function parseEmbeddingRequest(value: unknown): EmbeddingRequest {
  const { model, input } = value as Readonly<Record<string, unknown>>;
  if (typeof model !== 'string' || model === '') throw invalid('model', 'the name of a model');
  const { inputs, inputBytes } = EMBEDDING_LIMITS;
  const isList = Array.isArray(input) && input.length >= 1 && input.length <= inputs;
  if (!isList) throw invalid('input', `1 to ${inputs} texts`);
  for (const text of input) {
    if (typeof text !== 'string' || text.trim() === '') throw invalid('input', 'some text');
    if (/\p{Surrogate}/u.test(text)) throw invalid('input', 'well-formed Unicode');
    if (new TextEncoder().encode(text).length > inputBytes) {
      throw invalid('input', `at most ${inputBytes} bytes a text`);
    }
  }
  return { kind: 'embedding', model, input: input as string[] };
}

/** Writes vectors as the text of an answer. */
export function textOfVectors(vectors: readonly Float32Array[]): string {
  return JSON.stringify(vectors.map(vectorToBase64));
}

/** Reads the vectors of an answer.
 * @returns `null` where it has none: not such an answer, vectors of unlike lengths, or numbers that
 *   are none. */
export function vectorsOf({ text, finishReason }: AnswerBody): readonly Float32Array[] | null {
  if (finishReason !== 'embedding') return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!Array.isArray(value) || value.length === 0 || value.length > EMBEDDING_LIMITS.inputs) {
    return null;
  }
  const vectors = value.map(vectorOfBase64);
  const length = vectors[0]?.length;
  return vectors.every((vector) => vector !== null && vector.length === length)
    ? (vectors as Float32Array[])
    : null;
}

/** How far the vectors of two answers are from each other, 0–2: that of the worst pair, or the most
 * where any two are not the same by `SAME_VECTOR_COSINE`. */
export function vectorsDistance(
  a: readonly Float32Array[] | null,
  b: readonly Float32Array[] | null,
): number {
  if (a === null || b === null || a.length !== b.length) return 2;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const distance = 1 - cosine(a[i] ?? NONE, b[i] ?? NONE);
    if (!(distance <= 1 - SAME_VECTOR_COSINE)) return 2;
    worst = Math.max(worst, distance);
  }
  return worst;
}

/** Writes one vector: base64 of its float32 numbers, little endian. */
export function vectorToBase64(vector: Float32Array): string {
  const view = new DataView(new ArrayBuffer(vector.length * FLOAT_BYTES));
  vector.forEach((number, i) => view.setFloat32(i * FLOAT_BYTES, number, true));
  let binary = '';
  for (const byte of new Uint8Array(view.buffer)) binary += String.fromCharCode(byte);
  return btoa(binary);
}

const NONE = new Float32Array();

function vectorOfBase64(value: unknown): Float32Array | null {
  if (typeof value !== 'string' || value.length > EMBEDDING_LIMITS.dimensions * 6) return null;
  let binary: string;
  try {
    binary = atob(value);
  } catch {
    return null;
  }
  const length = binary.length / FLOAT_BYTES;
  if (!Number.isInteger(length) || length < 1 || length > EMBEDDING_LIMITS.dimensions) return null;
  const view = new DataView(Uint8Array.from(binary, (char) => char.charCodeAt(0)).buffer);
  const vector = new Float32Array(length);
  for (let i = 0; i < length; i++) vector[i] = view.getFloat32(i * FLOAT_BYTES, true);
  return vector.every(Number.isFinite) ? vector : null;
}

function cosine(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return -1;
  let dot = 0;
  let squaresOfA = 0;
  let squaresOfB = 0;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] ?? 0, b[i] ?? 0];
    dot += x * y;
    squaresOfA += x * x;
    squaresOfB += y * y;
  }
  return dot / Math.sqrt(squaresOfA * squaresOfB);
}

function invalid(field: string, expected: string): EngineError {
  return new EngineError('PROMPT_INVALID', { field, expected });
}
