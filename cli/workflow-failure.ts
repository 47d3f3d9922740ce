/** Failures of workflows and activities, read back as what they were. */
import { ApplicationFailure } from '@temporalio/common';
import { EngineError, findEngineError, isErrorCode, type ErrorDetails } from '../domain/errors.js';

/** The code of the innermost failure that has one; `INTERNAL` when none has. */
export function failureCode(error: unknown): string {
  let code = 'INTERNAL';
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    if (e instanceof ApplicationFailure && typeof e.type === 'string') code = e.type;
  }
  return code;
}

/** The error of the engine that an activity's failure stands for; `undefined` where it is none. */
export function engineErrorOf(error: unknown): EngineError | undefined {
  const known = findEngineError(error);
  if (known !== undefined) return known;
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    if (e instanceof ApplicationFailure && isErrorCode(e.type)) {
      return new EngineError(e.type, detailsOf(e.details?.[0]), { cause: error });
    }
  }
  return undefined;
}

function detailsOf(value: unknown): ErrorDetails {
  return typeof value === 'object' && value !== null ? (value as ErrorDetails) : {};
}
