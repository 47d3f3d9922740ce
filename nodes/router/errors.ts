/** The HTTP edge's errors: one shape, from the one table, and nothing of an unknown error but that it
 * happened. OpenAI clients read `message`, `type` and `code`. */
import type { ErrorBody } from '../../domain/api.js';
import { EngineError, findEngineError } from '../../domain/errors.js';

/** What is not there now may be there so much later. */
const RETRY_MS = 1_000;

/** The error that a caller may see. */
export function publicError(error: unknown): EngineError {
  return findEngineError(error) ?? new EngineError('INTERNAL');
}

/** The body of an error answer, also inside a stream. */
export function errorBody(error: EngineError, requestId: string): ErrorBody {
  const { code, message, details } = error;
  const { field } = details;
  const param = typeof field === 'string' ? field : null;
  return { error: { code, message, type: typeOf(error), param, details, requestId } };
}

/** When to come back, for errors that pass; both are read by OpenAI's clients. */
export function retryHeaders(error: EngineError): [string, string][] {
  if (error.status !== 429 && error.status !== 503) return [];
  const { retryAfterMs } = error.details;
  const ms = typeof retryAfterMs === 'number' ? Math.ceil(retryAfterMs) : RETRY_MS;
  return [
    ['retry-after', String(Math.ceil(ms / 1_000))],
    ['retry-after-ms', String(ms)],
  ];
}

/** OpenAI's classes of errors.
 * @see https://platform.openai.com/docs/guides/error-codes */
function typeOf(error: EngineError): string {
  if (error.status === 401) return 'authentication_error';
  if (error.status === 403) return 'permission_error';
  if (error.status === 429) return 'rate_limit_error';
  if (error.fault === 'caller') return 'invalid_request_error';
  return 'api_error';
}
