/**
 * Vectors as an answer. They travel as its text: a JSON list with each vector as base64 of its
 * float32 numbers, little endian. So a task of this kind is sealed, committed to, recorded and paid
 * like any other, and equal vectors are equal bytes.
 */
import { EngineError } from './errors.js';
import type { AnswerBody, EmbeddingRequest, InferenceRequest } from './task.js';
import { utf8Bytes } from './utf8.js';

/** Bounds of what one request may ask for, and of what its answer may hold. */
export const EMBEDDING_LIMITS = {
  inputs: 256,
  /** Of one text, in bytes of UTF-8. */
  inputBytes: 32_768,
  dimensions: 8_192,
  /** Of all vectors together: sealed, an answer must fit into one block of IPFS. */
  numbers: 190_000,
} as const;

/** Vectors of one text that are further apart than this are of different models or texts. Range of a
 * cosine distance: 0–2. What honest miners differ by is measured in docs/verification.md. */
export const SAME_VECTOR_DISTANCE = 0.001;

/** By how much the square of a unit vector's length may miss 1, in float32. */
const UNIT_TOLERANCE = 0.001;
const FLOAT_BYTES = 4;

/** Checks a request for vectors.
 * @throws PROMPT_INVALID — with the field, and what was expected of it. */
export function parseEmbeddingRequest(fields: Readonly<Record<string, unknown>>): EmbeddingRequest {
  const { model, input, dimensions } = fields;
  const { inputs, inputBytes, dimensions: most } = EMBEDDING_LIMITS;
  if (typeof model !== 'string' || model === '') throw invalid('model', 'the name of a model');
  const isList = Array.isArray(input) && input.length >= 1 && input.length <= inputs;
  if (!isList) throw invalid('input', `1 to ${inputs} texts`);
  for (const text of input) {
    if (typeof text !== 'string' || text.trim() === '') throw invalid('input', 'some text');
    if (/\p{Surrogate}/u.test(text)) throw invalid('input', 'well-formed Unicode');
    if (utf8Bytes(text) > inputBytes) throw invalid('input', `at most ${inputBytes} bytes a text`);
  }
  const request = { kind: 'embedding', model, input: input as string[] } as const;
  if (dimensions === undefined) return request;
  const isCount = Number.isInteger(dimensions) && (dimensions as number) >= 1;
  if (!isCount || (dimensions as number) > most) throw invalid('dimensions', `1 to ${most}`);
  return { ...request, dimensions: dimensions as number };
}

/** Scales a model's vector to unit length.
 * @returns `null` for one that has no direction: zeros, or numbers that are none. */
export function unitVector(numbers: readonly number[] | Float32Array): Float32Array | null {
  let squares = 0;
  for (const number of numbers) squares += number * number;
  const length = Math.sqrt(squares);
  const vector = Float32Array.from(numbers, (number) => number / length);
  return isUnit(vector) ? vector : null;
}

/** Writes unit vectors as the text of an answer. */
export function textOfVectors(vectors: readonly Float32Array[]): string {
  return JSON.stringify(vectors.map(vectorToBase64));
}

/** Reads the vectors of an answer.
 * @returns `null` where it has none: not such an answer, vectors of unlike or no length, or that are
 *   no unit vectors. */
export function vectorsOf({
  text,
  finishReason,
}: Pick<AnswerBody, 'text' | 'finishReason'>): readonly Float32Array[] | null {
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
  const length = vectors[0]?.length ?? 0;
  const isSound = vectors.every((vector) => vector !== null && vector.length === length);
  return isSound && fitsBlock(vectors.length, length) ? (vectors as Float32Array[]) : null;
}

/** Whether so many vectors of a length fit into an answer. */
export function fitsBlock(vectors: number, dimensions: number): boolean {
  return (
    dimensions <= EMBEDDING_LIMITS.dimensions && vectors * dimensions <= EMBEDDING_LIMITS.numbers
  );
}

/** Whether an answer is one to the request: text to a chat, and to texts as many vectors, of the
 * asked length. */
export function fitsRequest(
  answer: Pick<AnswerBody, 'text' | 'finishReason'>,
  request: InferenceRequest,
): boolean {
  if (!('kind' in request)) return answer.finishReason !== 'embedding';
  const vectors = vectorsOf(answer);
  const { input, dimensions = vectors?.[0]?.length } = request;
  return vectors?.length === input.length && vectors[0]?.length === dimensions;
}

/** How far the vectors of two answers are from each other, 0–2: that of the worst pair, or the most
 * where any two are not the same by `SAME_VECTOR_DISTANCE`.
 * @param a - unit vectors; `null` for an answer that has none. */
export function vectorsDistance(
  a: readonly Float32Array[] | null,
  b: readonly Float32Array[] | null,
): number {
  if (a === null || b === null || a.length !== b.length) return MOST_DISTANCE;
  let worst = 0;
  for (const [i, vector] of a.entries()) {
    const distance = distanceOf(vector, b[i]);
    if (!(distance <= SAME_VECTOR_DISTANCE)) return MOST_DISTANCE;
    worst = Math.max(worst, distance);
  }
  return worst;
}

/** Writes one vector: base64 of its float32 numbers, little endian. */
export function vectorToBase64(vector: Float32Array): string {
  const view = new DataView(new ArrayBuffer(vector.length * FLOAT_BYTES));
  for (const [i, number] of vector.entries()) view.setFloat32(i * FLOAT_BYTES, number, true);
  let binary = '';
  for (const byte of new Uint8Array(view.buffer)) binary += String.fromCharCode(byte);
  return btoa(binary);
}

const MOST_DISTANCE = 2;

function vectorOfBase64(value: unknown): Float32Array | null {
  const mostChars = Math.ceil((EMBEDDING_LIMITS.dimensions * FLOAT_BYTES) / 3) * 4;
  if (typeof value !== 'string' || value.length > mostChars) return null;
  let binary: string;
  try {
    binary = atob(value);
  } catch {
    return null;
  }
  const length = binary.length / FLOAT_BYTES;
  if (!Number.isInteger(length) || length < 1) return null;
  const view = new DataView(Uint8Array.from(binary, (char) => char.charCodeAt(0)).buffer);
  const vector = new Float32Array(length);
  for (let i = 0; i < length; i++) vector[i] = view.getFloat32(i * FLOAT_BYTES, true);
  return isUnit(vector) ? vector : null;
}

/** False also where a number is none. */
function isUnit(vector: Float32Array): boolean {
  let squares = 0;
  for (const number of vector) squares += number * number;
  return Math.abs(squares - 1) <= UNIT_TOLERANCE;
}

/** In float64, and never below 0: a vector is not nearer to another than to itself. */
function distanceOf(a: Float32Array, b: Float32Array | undefined): number {
  if (b === undefined || a.length !== b.length) return MOST_DISTANCE;
  let [dot, squaresOfA, squaresOfB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] ?? 0, b[i] ?? 0];
    dot += x * y;
    squaresOfA += x * x;
    squaresOfB += y * y;
  }
  return Math.max(0, 1 - dot / Math.sqrt(squaresOfA * squaresOfB));
}

function invalid(field: string, expected: string): EngineError {
  return new EngineError('PROMPT_INVALID', { field, expected });
}
