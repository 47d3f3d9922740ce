/** What workflows read from the failures of their activities, and how they outlast an outage. */
import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  log,
  sleep,
} from '@temporalio/workflow';

/** Pause after retries have ended in an outage, before they start again. */
export const OUTAGE_PAUSE = '1 minute';

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

/** Tries until it has succeeded, or is refused for good. Anything else may still come true, so an
 * outage is waited out.
 * @param what - has not come about yet, for the log.
 * @returns the code of the refusal, or `null`. */
export async function untilKnown(
  what: string,
  attempt: () => Promise<unknown>,
): Promise<string | null> {
  for (;;) {
    try {
      await attempt();
      return null;
    } catch (error) {
      if (isCancellation(error)) throw error;
      if (isFinal(error)) return codeOf(error);
      log.warn(`${what}, not yet`, { code: codeOf(error) });
      await sleep(OUTAGE_PAUSE);
    }
  }
}
