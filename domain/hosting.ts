/**
 * Client-side hosting: a session whose content goes to a store of its user's own. Our nodes hold a task's
 * blocks until that store has proven that it does, and the oracles need them no more.
 */
import type { Cid, TaskId } from './ids.js';
import type { SessionLedger } from './ledger.js';

/** How long content waits on our nodes for a store that is away, from the session's close; while the
 * session is open it waits without an end. */
export const HOST_WAIT_MS = 30 * 86_400_000;
/** Tasks that are delivered at once. */
const DELIVERED_AT_ONCE = 20;

/** Where a task's request and results are. */
export interface TaskHosting {
  /** `waiting`: on our nodes. `held`: at the user's store, and there alone. */
  readonly state: 'waiting' | 'held';
  /** Why they wait, such as `HOST_UNREACHABLE`; `null` while nothing keeps them. */
  readonly code: string | null;
}

/** A session's hosting, for its owner. */
export interface HostView {
  /** As the policy names the store. */
  readonly name: string;
  /** What keeps content from it, such as `HOST_UNREACHABLE`; `null` while nothing does. */
  readonly code: string | null;
  /** Unix milliseconds since when; `null` while nothing does. */
  readonly sinceMs: number | null;
  /** Tasks whose content our nodes still hold. */
  readonly waiting: number;
  /** Tasks whose content the store has proven to hold, and our nodes have let go. */
  readonly held: number;
  /** Tasks whose content was given up: the store stayed away for too long. */
  readonly givenUp: number;
}

/** What is to be done for one task. */
export interface Delivery {
  readonly taskId: TaskId;
  readonly requestCid: Cid;
  readonly evidenceCid: Cid | null;
  /** Nobody reads it here any more: once the store has it, our nodes let it go. */
  readonly letGo: boolean;
}

/** Hosting as one JSON value, to carry it into the next run of the workflow. */
export interface HostingState {
  readonly waiting: readonly { readonly taskId: TaskId; readonly isCopied: boolean }[];
  readonly held: number;
  readonly code: string | null;
  readonly sinceMs: number | null;
}

/** What the workflow of a session knows of its user's store. Pure and deterministic. */
export class SessionHosting {
  readonly name: string;
  /** Tasks by whether the store has a copy already. */
  readonly #waiting = new Map<TaskId, boolean>();
  #held = 0;
  #givenUp = 0;
  #code: string | null = null;
  #sinceMs: number | null = null;

  constructor(name: string, carried?: HostingState) {
    this.name = name;
    if (carried === undefined) return;
    for (const { taskId, isCopied } of carried.waiting) this.#waiting.set(taskId, isCopied);
    this.#held = carried.held;
    this.#code = carried.code;
    this.#sinceMs = carried.sinceMs;
  }

  /** A task was accepted; one that is known stays as it is. */
  expect(taskId: TaskId): void {
    if (!this.#waiting.has(taskId)) this.#waiting.set(taskId, false);
  }

  /** Whether content of a task is still to be delivered. */
  isWaiting(taskId: TaskId): boolean {
    return this.#waiting.has(taskId);
  }

  get isDone(): boolean {
    return this.#waiting.size === 0;
  }

  /** What can be delivered now: a copy as soon as a task has ended, the rest once it has for good. */
  due(ledger: Pick<SessionLedger, 'record' | 'isFinal'>): Delivery[] {
    const due: Delivery[] = [];
    for (const [taskId, isCopied] of this.#waiting) {
      if (due.length >= DELIVERED_AT_ONCE) break;
      const record = ledger.record(taskId);
      if (record === null || record.outcome === null) continue;
      const letGo = ledger.isFinal(taskId);
      if (isCopied && !letGo) continue;
      const { requestCid, evidenceCid } = record;
      due.push({ taskId, requestCid, evidenceCid, letGo });
    }
    return due;
  }

  /** The store has them. */
  delivered(deliveries: readonly Delivery[]): void {
    for (const { taskId, letGo } of deliveries) {
      if (letGo && this.#waiting.delete(taskId)) this.#held++;
      else if (this.#waiting.has(taskId)) this.#waiting.set(taskId, true);
    }
    this.#code = null;
    this.#sinceMs = null;
  }

  /** The store could not be given anything, for a reason with this code. */
  failed(code: string, nowMs: number): void {
    this.#code = code;
    this.#sinceMs ??= nowMs;
  }

  /** Nothing waits any more for a store that has stayed away. */
  giveUp(deliveries: readonly Delivery[]): void {
    for (const { taskId } of deliveries) if (this.#waiting.delete(taskId)) this.#givenUp++;
  }

  /** Why content waits; `null` while nothing keeps it. */
  get code(): string | null {
    return this.#code;
  }

  of(taskId: TaskId): TaskHosting {
    return this.#waiting.has(taskId)
      ? { state: 'waiting', code: this.#code }
      : { state: 'held', code: null };
  }

  view(): HostView {
    return {
      name: this.name,
      code: this.#code,
      sinceMs: this.#sinceMs,
      waiting: this.#waiting.size,
      held: this.#held,
      givenUp: this.#givenUp,
    };
  }

  state(): HostingState {
    return {
      waiting: [...this.#waiting].map(([taskId, isCopied]) => ({ taskId, isCopied })),
      held: this.#held,
      code: this.#code,
      sinceMs: this.#sinceMs,
    };
  }
}
