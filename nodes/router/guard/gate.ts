/** The door of a router: so many requests at once, so many that wait, and none when it closes. */
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError } from '../../../domain/errors.js';

export interface GateLimits {
  readonly maxConcurrent: number;
  readonly maxWaiting: number;
  readonly waitMs: number;
}

interface Waiter {
  readonly admit: () => void;
  readonly refuse: (error: EngineError) => void;
}

export class Gate {
  readonly #limits: GateLimits;
  readonly #waiting = new Set<Waiter>();
  readonly #whenEmpty = new Set<() => void>();
  #inside = 0;
  /** Of all time. */
  #entered = 0;
  #isDraining = false;
  #isClosed = false;

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  /** Requests that are being answered. */
  get inside(): number {
    return this.#inside;
  }

  /** Whether the router is being stopped. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Whether nobody is let in any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Lets a request in, at once or when another has left.
   * @returns what it calls when it leaves; more often does no harm.
   * @throws ROUTER_BUSY — too many wait already, or none left in time.
   * @throws ROUTER_DRAINING */
  async enter(): Promise<() => void> {
    if (this.#isClosed) throw new EngineError('ROUTER_DRAINING');
    this.#entered++;
    if (this.#inside >= this.#limits.maxConcurrent) await this.#wait();
    else this.#inside++;
    let isInside = true;
    return () => {
      if (isInside) this.#leave();
      isInside = false;
    };
  }

  /** Says that the router will be stopped; whoever comes is let in still. */
  announce(): void {
    this.#isDraining = true;
  }

  /** Lets nobody in any more; those who wait are sent away, for they have been promised nothing. */
  drain(): void {
    this.#isDraining = true;
    this.#isClosed = true;
    for (const { refuse } of this.#waiting) refuse(new EngineError('ROUTER_DRAINING'));
  }

  /** Waits until all have left and nobody has come for `quietMs`, or `ms` are over. Whose answer began
   * before the end was announced does not know of it, and sends the next request where it sent the
   * last. */
  async quiet(quietMs: number, ms: number): Promise<void> {
    const deadline = Date.now() + ms;
    let entered = -1;
    while (entered !== this.#entered) {
      await this.empty(Math.max(0, deadline - Date.now()));
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) return;
      entered = this.#entered;
      await delay(Math.min(quietMs, leftMs));
    }
  }

  /** Waits until all have left, or `ms` are over. */
  async empty(ms: number): Promise<void> {
    if (this.#inside === 0) return;
    await new Promise<void>((resolve) => {
      const settle = () => {
        clearTimeout(timer);
        this.#whenEmpty.delete(settle);
        resolve();
      };
      const timer = setTimeout(settle, ms);
      this.#whenEmpty.add(settle);
    });
  }

  #wait(): Promise<void> {
    const { maxWaiting, maxConcurrent, waitMs } = this.#limits;
    if (this.#waiting.size >= maxWaiting) {
      return Promise.reject(new EngineError('ROUTER_BUSY', { maxConcurrent, maxWaiting }));
    }
    return new Promise((resolve, reject) => {
      const forget = () => {
        clearTimeout(timer);
        this.#waiting.delete(waiter);
      };
      const waiter: Waiter = {
        admit() {
          forget();
          resolve();
        },
        refuse(error) {
          forget();
          reject(error);
        },
      };
      const timer = setTimeout(
        () => waiter.refuse(new EngineError('ROUTER_BUSY', { maxConcurrent, waitedMs: waitMs })),
        waitMs,
      );
      this.#waiting.add(waiter);
    });
  }

  #leave(): void {
    // A place goes to whoever has waited longest, without a moment in which it is free.
    for (const { admit } of this.#waiting) return admit();
    this.#inside--;
    if (this.#inside > 0) return;
    for (const settle of this.#whenEmpty) settle();
  }
}
