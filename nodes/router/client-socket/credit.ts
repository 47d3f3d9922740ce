/** How many messages a client still takes of one request. */
import { EngineError } from '../../../domain/errors.js';

export class Credit {
  #left: number;
  #wake: (() => void) | null = null;

  /** @param start - `undefined` = no end. */
  constructor(start: number | undefined) {
    this.#left = start ?? Number.POSITIVE_INFINITY;
  }

  add(more: number): void {
    this.#left += more;
    this.#wake?.();
  }

  /** Takes one, when there is one.
   * @throws ROUTER_BUSY — none came in `stalledMs`: places are for those who read.
   * @throws the signal's reason, once it has aborted. */
  async take(stalledMs: number, signal: AbortSignal): Promise<void> {
    if (this.#left < 1) await this.#more(stalledMs, signal);
    signal.throwIfAborted();
    if (this.#left < 1) throw new EngineError('ROUTER_BUSY', { reason: 'no credit', stalledMs });
    this.#left--;
  }

  #more(stalledMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', settle);
        this.#wake = null;
        resolve();
      };
      const timer = setTimeout(settle, stalledMs);
      this.#wake = settle;
      signal.addEventListener('abort', settle);
      if (signal.aborted) settle();
    });
  }
}
