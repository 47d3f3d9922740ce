/** The budgets of API keys: tokens in a key's life, over all routers and restarts. */
import { deadlineIn } from '../../../domain/deadline.js';
import { EngineError } from '../../../domain/errors.js';
import type { TaskId } from '../../../domain/ids.js';
import { persist } from '../retry.js';
import type { Caller } from './caller.js';

/** What all routers of a deployment agree on about their callers.
 * Every method throws DATABASE_UNREACHABLE and DATABASE_REFUSED. */
export interface GuardStore {
  /** Tokens that a key has used in its life. */
  readUsedTokens(key: string): Promise<number>;
  /** Counts a task's tokens, once however often it is told. */
  addUsedTokens(key: string, taskId: TaskId, tokens: number): Promise<void>;
  /** @returns false when the nonce was used before. */
  useNonce(nonce: string, expiresAtMs: number): Promise<boolean>;
}

/** The store is asked for so long to take a count. */
const COUNT_MS = 10 * 60_000;

export class Budgets {
  readonly #store: Pick<GuardStore, 'readUsedTokens' | 'addUsedTokens'>;
  /** By caller: the most that tasks under way may come to. */
  readonly #reserved = new Map<string, number>();
  readonly #counting = new Set<Promise<void>>();

  constructor(store: Pick<GuardStore, 'readUsedTokens' | 'addUsedTokens'>) {
    this.#store = store;
  }

  /** Holds back the worst case of a task; callers without a budget are let through.
   * @returns what gives it back, called when the task has ended and is counted.
   * @throws KEY_BUDGET_EXHAUSTED, DATABASE_UNREACHABLE, DATABASE_REFUSED */
  async reserve({ id, budgetTokens }: Caller, tokens: number): Promise<() => void> {
    if (budgetTokens === null) return () => undefined;
    // Reserved before what is used is read: a task that ends meanwhile counts twice, never not at all.
    const reserved = this.#reserved.get(id) ?? 0;
    this.#reserved.set(id, reserved + tokens);
    const free = () => void this.#reserved.set(id, (this.#reserved.get(id) ?? 0) - tokens);
    try {
      const used = await this.#store.readUsedTokens(id);
      if (used + reserved + tokens <= budgetTokens) return free;
      throw new EngineError('KEY_BUDGET_EXHAUSTED', { budgetTokens, used, reserved, tokens });
    } catch (error) {
      free();
      throw error;
    }
  }

  /** Counts what a task was billed, for as long as it takes the store. */
  async count({ id, budgetTokens }: Caller, taskId: TaskId, tokens: number): Promise<void> {
    if (budgetTokens === null || tokens === 0) return;
    const counting = persist(
      () => this.#store.addUsedTokens(id, taskId, tokens),
      deadlineIn(COUNT_MS),
    );
    this.#counting.add(counting);
    await counting.finally(() => this.#counting.delete(counting));
  }

  /** Waits for the counts that are under way. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#counting);
  }
}
