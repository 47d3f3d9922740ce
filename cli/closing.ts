/** What commands that end a session share. */
import type { SessionView } from '../domain/session.js';
import type { SessionHandle } from '../sdk/index.js';
import type { Display } from './display.js';

export const NO_WAIT_OPTION = { 'no-wait': { about: 'only ask' } } as const;

/** Closing waits for a settlement on chain. */
const CLOSE_MS = 300_000;

/** Waits until a session is closed on chain.
 * @throws SESSION_NOT_OPEN — it failed; or the code of its failure.
 * @throws ROUTER_UNREACHABLE — not within five minutes. */
export function awaitClosed(
  handle: Pick<SessionHandle, 'waitUntil'>,
  display: Display,
): Promise<SessionView> {
  return display.step('settle, close and refund', () =>
    handle.waitUntil('Closed', { timeoutMs: CLOSE_MS }),
  );
}
