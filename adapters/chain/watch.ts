/**
 * One eye on a chain for any number of waiters: the head and the signer's mined nonce, two calls a
 * look, however many transactions are awaited. Waiters ask for receipts only once their nonce is
 * mined, so that a thousand of them do not ask a thousand times a block.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { JsonRpcProvider } from 'ethers';
import type { Address } from '../../domain/ids.js';

export interface ChainView {
  /** Number of the newest block. */
  readonly head: number;
  /** Transactions of the signer that are in a block. */
  readonly mined: number;
}

/** Pause between two looks: short after a change, longer and longer while nothing happens. */
const SHORTEST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;
const PAUSE_GROWTH = 1.4;

interface Waiter {
  readonly seen: ChainView | undefined;
  readonly dueMs: number;
  resolve(view: ChainView): void;
  reject(error: unknown): void;
}

export class ChainWatch {
  readonly #provider: Pick<JsonRpcProvider, 'getBlockNumber' | 'getTransactionCount'>;
  readonly #signer: Address;
  readonly #onBackwards: () => void;
  readonly #waiters = new Set<Waiter>();
  #last: ChainView | undefined;
  #isRunning = false;
  #wake = new AbortController();

  /** @param onBackwards - called when the head is lower than before: a reorganisation, a chain that
   * was restored from older state, or only a node that lags behind. */
  constructor(
    provider: Pick<JsonRpcProvider, 'getBlockNumber' | 'getTransactionCount'>,
    signer: Address,
    onBackwards: () => void,
  ) {
    this.#provider = provider;
    this.#signer = signer;
    this.#onBackwards = onBackwards;
  }

  /**
   * Waits for a view other than `seen`, at most `withinMs`; without `seen`, takes a fresh look.
   * @throws CHAIN_UNREACHABLE; the signal's reason when it aborts.
   */
  async next(
    seen: ChainView | undefined,
    options: { readonly signal: AbortSignal; readonly withinMs: number },
  ): Promise<ChainView> {
    const { signal, withinMs } = options;
    signal.throwIfAborted();
    return await new Promise<ChainView>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal.reason as Error);
      };
      const waiter: Waiter = {
        seen,
        dueMs: Date.now() + withinMs,
        resolve: (view) => {
          signal.removeEventListener('abort', onAbort);
          resolve(view);
        },
        reject: (error) => {
          signal.removeEventListener('abort', onAbort);
          reject(error as Error);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
      if (!this.#isRunning) void this.#run();
      else if (seen === undefined) this.#wake.abort();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    let pauseMs = SHORTEST_PAUSE_MS;
    while (this.#waiters.size > 0) {
      const asked = [...this.#waiters];
      try {
        const view = await this.#look();
        const isNew = !isSame(view, this.#last);
        this.#last = view;
        for (const waiter of asked) {
          if (!isSame(view, waiter.seen) || Date.now() >= waiter.dueMs) this.#settle(waiter, view);
        }
        pauseMs = isNew ? SHORTEST_PAUSE_MS : Math.min(pauseMs * PAUSE_GROWTH, LONGEST_PAUSE_MS);
      } catch (error) {
        for (const waiter of asked) {
          if (this.#waiters.delete(waiter)) waiter.reject(error);
        }
      }
      const nearestMs = Math.min(...[...this.#waiters].map((waiter) => waiter.dueMs - Date.now()));
      if (await this.#pause(Math.max(1, Math.min(pauseMs, nearestMs)))) pauseMs = SHORTEST_PAUSE_MS;
    }
    this.#isRunning = false;
  }

  #settle(waiter: Waiter, view: ChainView): void {
    if (this.#waiters.delete(waiter)) waiter.resolve(view);
  }

  async #look(): Promise<ChainView> {
    const [head, mined] = await Promise.all([
      this.#provider.getBlockNumber(),
      this.#provider.getTransactionCount(this.#signer, 'latest'),
    ]);
    if (this.#last !== undefined && head < this.#last.head) this.#onBackwards();
    return { head, mined };
  }

  /** @returns true when a new waiter cut it short. */
  async #pause(ms: number): Promise<boolean> {
    this.#wake = new AbortController();
    try {
      await delay(ms, undefined, { signal: this.#wake.signal });
      return false;
    } catch {
      return true; // Only our own wake aborts.
    }
  }
}

function isSame(a: ChainView, b: ChainView | undefined): boolean {
  return a.head === b?.head && a.mined === b.mined;
}
