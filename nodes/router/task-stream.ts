/**
 * The events of one task, kept from the first to the last. Every reader has its own place in them,
 * so a slow or absent client holds nothing up, and one that comes back goes on where it stopped.
 */
import type { TaskStreamEvent } from '../../domain/wire.js';

/** An event with its number in the stream: the `id` of server-sent events. */
export interface NumberedEvent {
  readonly index: number;
  readonly event: TaskStreamEvent;
}

export interface ReadOptions {
  /** Number of the first event that is wanted. */
  readonly from: number;
  /** A reader that has waited for so long gets `null`: time for a sign of life. */
  readonly idleMs: number;
  /** Ends the reading, not the task. */
  readonly signal: AbortSignal;
}

export class TaskStream {
  readonly #events: TaskStreamEvent[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #first: number;
  #isEnded = false;

  /** @param first - number of the first event. Streams of one task that are not the same, as on two
   *   routers, have no number in common. */
  constructor(first = 0) {
    this.#first = first;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  push(event: TaskStreamEvent): void {
    if (this.#isEnded) return;
    this.#events.push(event);
    this.#isEnded = event.type === 'ended' || event.type === 'error';
    for (const wake of this.#waiting) wake();
  }

  /** Yields events as they come, up to the last one; `null` after `idleMs` without any. */
  async *read(options: ReadOptions): AsyncGenerator<NumberedEvent | null> {
    const { idleMs, signal } = options;
    // A number of another stream is of no use here: this one is read from its start.
    const skipped = options.from - this.#first;
    const isOfThis = skipped >= 0 && skipped <= this.#events.length;
    for (let index = isOfThis ? options.from : this.#first; !signal.aborted;) {
      const event = this.#events[index - this.#first];
      if (event !== undefined) yield { index: index++, event };
      else if (this.#isEnded) return;
      else if (!(await this.#wait(idleMs, signal))) yield null;
    }
  }

  /** @returns false when nothing came in time. */
  #wait(ms: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (hasNews: boolean) => {
        this.#waiting.delete(wake);
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        resolve(hasNews);
      };
      const wake = () => settle(true);
      const timer = setTimeout(() => settle(false), ms);
      timer.unref();
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }
}
