/** Doing one thing until it is done, for as long as that makes sense. */
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError, findEngineError } from '../../domain/errors.js';

const FIRST_DELAY_MS = 50;
const MAX_DELAY_MS = 2_000;

/** Repeats `attempt` with growing pauses until it succeeds or fails for good.
 * @param signal - ends the repeating: a deadline, or a lease.
 * @returns what `attempt` returned.
 * @throws EngineError — the first failure that no retry mends, or the last one before the end. */
export async function persist<T>(
  attempt: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  for (let delayMs = FIRST_DELAY_MS; ; delayMs = Math.min(MAX_DELAY_MS, delayMs * 2)) {
    try {
      return await attempt(signal);
    } catch (cause) {
      const known = findEngineError(cause);
      if (known !== undefined && !known.retryable) throw known;
      await delay(delayMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) throw known ?? new EngineError('ROUTER_LEASE_LOST', {}, { cause });
    }
  }
}
