/** Waiting for a server's first answer. */
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 25;

/**
 * Asks again and again until the answer is true; an error counts as no answer yet.
 * @throws AbortError — the signal aborted first.
 */
export async function untilAnswer(
  signal: AbortSignal,
  ask: () => boolean | Promise<boolean>,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    try {
      if (await ask()) return;
    } catch {
      // Connection refused or reset, a file not there yet: the server is not up.
    }
    await delay(POLL_MS, undefined, { signal });
  }
}

/** True when a TCP connection to the port of 127.0.0.1 is accepted. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
