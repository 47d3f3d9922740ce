/** The HTTP edge's errors: one shape, from the one table, and nothing of an unknown error but that it
 * happened. OpenAI clients read `message`, `type` and `code`. */
import type { ErrorBody } from '../../domain/api.js';
import { EngineError, findEngineError } from '../../domain/errors.js';

/** The error that a caller may see. */
export function publicError(error: unknown): EngineError {
  return findEngineError(error) ?? new EngineError('INTERNAL');
}

/** The body of an error answer, also inside a stream. */
export function errorBody(error: EngineError, requestId: string): ErrorBody {
  const { code, message, details } = error;
  return { error: { code, message, type: typeOf(error), param: null, details, requestId } };
}

/** OpenAI's classes of errors.
 * @see https://platform.openai.com/docs/guides/error-codes */
function typeOf(error: EngineError): string {
  if (error.status === 401) return 'authentication_error';
  if (error.status === 429) return 'rate_limit_error';
  if (error.fault === 'caller') return 'invalid_request_error';
  return 'api_error';
}
