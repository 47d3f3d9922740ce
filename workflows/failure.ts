/** What workflows read from the failures of their activities. */
import { ActivityFailure, ApplicationFailure } from '@temporalio/workflow';

/** True when no retry can mend it; a time-out or an outage is not final, whatever it looked like. */
export function isFinal(error: unknown): boolean {
  const failure = error instanceof ActivityFailure ? error.cause : error;
  return failure instanceof ApplicationFailure && failure.nonRetryable === true;
}

/** The stable code of a failed activity; what is not one of ours is `INTERNAL`. */
export function codeOf(error: unknown): string {
  const failure = error instanceof ActivityFailure ? error.cause : error;
  return failure instanceof ApplicationFailure ? (failure.type ?? 'INTERNAL') : 'INTERNAL';
}
