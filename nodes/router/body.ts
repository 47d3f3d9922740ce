/** Request bodies: bounded, valid UTF-8, JSON, and of the shape that the route asks for. */
import type { z } from 'zod';
import { EngineError, type ErrorCode } from '../../domain/errors.js';

/** Brackets within brackets: no body of the API needs more, and what walks one may recurse. */
const MAX_DEPTH = 32;

export interface BodyLimits {
  readonly maxBytes: number;
  /** Code for a body beyond the limit. */
  readonly tooLarge: ErrorCode;
  /** Code for bytes that are not UTF-8. */
  readonly notText: ErrorCode;
  /** Fields whose other values exist, and nothing here can do: FEATURE_UNSUPPORTED. */
  readonly unsupported?: ReadonlySet<string>;
}

/** Reads a JSON body and parses it.
 * @throws `limits.tooLarge`, `limits.notText`
 * @throws REQUEST_INVALID — not JSON, or a field is not as `schema` has it.
 * @throws FEATURE_UNSUPPORTED — that field is one of `limits.unsupported`. */
export async function readJson<T>(
  request: Request,
  schema: z.ZodType<T>,
  limits: BodyLimits,
): Promise<T> {
  const text = decode(await readBytes(request, limits), limits.notText);
  texts.set(request, text);
  return parseJson(text, schema, limits);
}

/** Bodies that were read, for those who pass a request on. */
const texts = new WeakMap<Request, string>();

/** @returns the body that `readJson` has read; `null` where it has read none. */
export function bodyTextOf(request: Request): string | null {
  return texts.get(request) ?? null;
}

/** Parses a text as JSON of a shape; throws as `readJson`. */
export function parseJson<T>(
  text: string,
  schema: z.ZodType<T>,
  limits: Pick<BodyLimits, 'unsupported'>,
): T {
  if (depthOf(text) > MAX_DEPTH) {
    throw new EngineError('REQUEST_INVALID', {
      field: 'body',
      expected: `at most ${MAX_DEPTH} levels`,
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new EngineError('REQUEST_INVALID', { field: 'body', expected: 'JSON' });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const isUnsupported = limits.unsupported?.has(String(issue?.path[0])) === true;
  throw new EngineError(isUnsupported ? 'FEATURE_UNSUPPORTED' : 'REQUEST_INVALID', {
    field: issue?.path.join('.') || 'body',
    expected: issue?.message ?? 'a valid body',
  });
}

async function readBytes(request: Request, limits: BodyLimits): Promise<Uint8Array> {
  const { maxBytes, tooLarge } = limits;
  const refuse = () => new EngineError(tooLarge, { maxBytes });
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw refuse();
  if (request.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.length;
    if (length > maxBytes) throw refuse();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function decode(bytes: Uint8Array, notText: ErrorCode): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new EngineError(notText, { expected: 'UTF-8' }, { cause });
  }
}

/** How deep the brackets of a text lie in each other, those in its strings aside. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let isInString = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '"') isInString = !isInString;
    else if (isInString && character === '\\') i++;
    else if (isInString) continue;
    else if (character === '[' || character === '{') deepest = Math.max(deepest, ++depth);
    else if (character === ']' || character === '}') depth--;
  }
  return deepest;
}
