/** Request bodies: bounded, valid UTF-8, JSON, and of the shape that the route asks for. */
import type { z } from 'zod';
import { EngineError, type ErrorCode } from '../../domain/errors.js';

export interface BodyLimits {
  readonly maxBytes: number;
  /** Code for a body beyond the limit. */
  readonly tooLarge: ErrorCode;
  /** Code for bytes that are not UTF-8. */
  readonly notText: ErrorCode;
}

/** Reads a JSON body and parses it.
 * @throws `limits.tooLarge`, `limits.notText`
 * @throws REQUEST_INVALID — not JSON, or a field is not as `schema` has it. */
export async function readJson<T>(
  request: Request,
  schema: z.ZodType<T>,
  limits: BodyLimits,
): Promise<T> {
  const text = decode(await readBytes(request, limits), limits.notText);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new EngineError('REQUEST_INVALID', { field: 'body', expected: 'JSON' });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new EngineError('REQUEST_INVALID', {
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
