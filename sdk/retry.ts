/** Asking again after a lost connection: bounded, and only ever with the same idempotency key. */
import { findEngineError, type ErrorCode } from '../domain/errors.js';

const ATTEMPTS = 7;
const FIRST_WAIT_MS = 200;
/** Faults that pass: of the line, of the router at its other end or Temporal behind it, of miners that
 * come back, or of a policy that is being changed. */
const PASSING_FAULTS: readonly ErrorCode[] = [
  'ROUTER_UNREACHABLE',
  'ROUTER_BUSY',
  'ROUTER_DRAINING',
  'ROUTER_LEASE_LOST',
  'TEMPORAL_UNREACHABLE',
  'NO_MINERS',
  'SESSION_BUSY',
];

/** Runs an attempt until one is answered.
 * @throws what the last attempt threw, or at once what asking again cannot mend. */
export async function withRetries<T>(
  attempt: () => Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      signal?.throwIfAborted();
      return await attempt();
    } catch (error) {
      const code = findEngineError(error)?.code;
      const isPassing = code !== undefined && PASSING_FAULTS.includes(code);
      if (!isPassing || tries >= ATTEMPTS) throw error;
      await pause(FIRST_WAIT_MS * 2 ** (tries - 1), signal);
    }
  }
}

/** Waits, or less when the signal aborts. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end, { once: true });
    if (signal?.aborted === true) end();
  });
}
