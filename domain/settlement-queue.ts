/**
 * What waits to be settled, and what of it goes next: tasks that get a batch of their own first, then
 * such as have waited for their evidence long enough to be tried again, then batches by count and
 * amount. Pure and deterministic: the settlement workflow owns one.
 */
import type { SessionId, TaskId } from './ids.js';
import { packTasks, unpackTasks, type PackedTasks } from './packed-tasks.js';
import type { EndedTasks } from './settlement.js';
import type { SettledTask } from './task.js';

export interface QueueLimits {
  /** Tasks a batch. */
  readonly maxTasks: number;
  /** A batch closes when its charges reach this; `null`: by count and age alone. */
  readonly maxAmountWei: bigint | null;
  /** Tasks that wait at a time; more are turned away, and their sessions asked for them later. */
  readonly maxWaiting: number;
  /** Pause before a task whose evidence was not found is tried again: as long as it has waited so
   * far, but at least and at most these. */
  readonly retryMs: { readonly min: number; readonly max: number };
}

/** A queue as one JSON value, to carry it into the next run of the workflow. */
export interface QueueState {
  readonly pending: PackedTasks;
  readonly alone: PackedTasks;
  readonly deferred: PackedTasks;
  /** Of each deferred task, in the same order: first deferred, and next try. */
  readonly deferredAtMs: readonly (readonly [sinceMs: number, retryAtMs: number])[];
  readonly isUrgent: boolean;
  readonly recent: readonly string[];
  readonly turnedAway: readonly SessionId[];
}

interface Deferred {
  readonly task: SettledTask;
  readonly sinceMs: number;
  readonly retryAtMs: number;
}

/** Ids that are carried on, so that a repeated signal does not put a task in a second batch. One
 * that is older is found settled on chain. */
const REMEMBERED_IDS = 2_000;

export class SettlementQueue {
  readonly #limits: QueueLimits;
  readonly #pending: SettledTask[] = [];
  readonly #alone: SettledTask[] = [];
  readonly #deferred = new Map<TaskId, Deferred>();
  /** In the order of their coming. */
  readonly #seen = new Set<string>();
  readonly #turnedAway = new Set<SessionId>();
  #pendingWei = 0n;
  #isUrgent = false;

  constructor(limits: QueueLimits, carried?: QueueState) {
    this.#limits = limits;
    if (carried === undefined) return;
    for (const end of carried.recent) this.#seen.add(end);
    for (const task of unpackTasks(carried.pending)) this.#push(task);
    this.#alone.push(...unpackTasks(carried.alone));
    unpackTasks(carried.deferred).forEach((task, i) => {
      const [sinceMs, retryAtMs] = carried.deferredAtMs[i] ?? [0, 0];
      this.#deferred.set(task.taskId, { task, sinceMs, retryAtMs });
    });
    for (const sessionId of carried.turnedAway) this.#turnedAway.add(sessionId);
    this.#isUrgent = carried.isUrgent;
  }

  /** Takes tasks in, each once; what there is no room for is turned away. */
  add({ tasks, isUrgent, isAlone }: EndedTasks): void {
    this.#isUrgent ||= isUrgent;
    for (const task of tasks) {
      const end = nameOfEnd(task);
      if (this.#seen.has(end)) continue;
      if (this.#waiting >= this.#limits.maxWaiting) {
        this.#turnedAway.add(task.sessionId);
        continue;
      }
      this.#seen.add(end);
      if (isAlone) this.#alone.push(task);
      else this.#push(task);
    }
  }

  /** True while any task waits that may go into a batch sooner or later without being deferred. */
  get hasTasks(): boolean {
    return this.#pending.length > 0 || this.#alone.length > 0;
  }

  /** True when the next batch need not wait for company. */
  get isDue(): boolean {
    const { maxTasks, maxAmountWei } = this.#limits;
    return (
      this.#isUrgent ||
      this.#alone.length > 0 ||
      this.#pending.length >= maxTasks ||
      (maxAmountWei !== null && this.#pendingWei >= maxAmountWei)
    );
  }

  /** When the first deferred task is to be tried again, in Unix milliseconds; `null` for none. */
  get retryAtMs(): number | null {
    const times = [...this.#deferred.values()].map(({ retryAtMs }) => retryAtMs);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** The next batch; empty when nothing is ready. */
  take(nowMs: number): readonly SettledTask[] {
    const first = this.#alone.shift();
    if (first !== undefined) return [first];
    const ripe = [...this.#deferred.values()].filter(({ retryAtMs }) => retryAtMs <= nowMs);
    if (ripe.length === 0) return this.#takePending();
    const again = ripe.slice(0, this.#limits.maxTasks);
    for (const { task, sinceMs } of again) this.#putAside(task, sinceMs, nowMs);
    return again.map(({ task }) => task);
  }

  /** Puts tasks aside whose evidence is not found, until they are tried again.
   * @returns those that have been put aside for longer than the deadline, out of the queue. */
  defer(tasks: readonly SettledTask[], nowMs: number, deadlineMs: number): SettledTask[] {
    const late: SettledTask[] = [];
    for (const task of tasks) {
      const sinceMs = this.#deferred.get(task.taskId)?.sinceMs ?? nowMs;
      if (nowMs - sinceMs >= deadlineMs) late.push(task);
      else this.#putAside(task, sinceMs, nowMs);
    }
    return late;
  }

  /** Notes that tasks have come to their end, and are deferred no more. */
  done(tasks: readonly SettledTask[]): void {
    for (const { taskId } of tasks) this.#deferred.delete(taskId);
  }

  /** Sessions that may report what was turned away, now that there is room for it; each once. */
  welcome(): readonly SessionId[] {
    if (this.#waiting * 2 > this.#limits.maxWaiting) return [];
    const sessions = [...this.#turnedAway];
    this.#turnedAway.clear();
    return sessions;
  }

  state(): QueueState {
    const deferred = [...this.#deferred.values()];
    return {
      pending: packTasks(this.#pending),
      alone: packTasks(this.#alone),
      deferred: packTasks(deferred.map(({ task }) => task)),
      deferredAtMs: deferred.map(({ sinceMs, retryAtMs }) => [sinceMs, retryAtMs]),
      isUrgent: this.#isUrgent,
      recent: [...this.#seen].slice(-REMEMBERED_IDS),
      turnedAway: [...this.#turnedAway],
    };
  }

  get #waiting(): number {
    return this.#pending.length + this.#alone.length + this.#deferred.size;
  }

  #putAside(task: SettledTask, sinceMs: number, nowMs: number): void {
    const { min, max } = this.#limits.retryMs;
    const retryAtMs = nowMs + Math.min(max, Math.max(min, nowMs - sinceMs));
    this.#deferred.set(task.taskId, { task, sinceMs, retryAtMs });
  }

  #push(task: SettledTask): void {
    this.#pending.push(task);
    this.#pendingWei += BigInt(task.chargeWei);
  }

  #takePending(): readonly SettledTask[] {
    const { maxTasks, maxAmountWei } = this.#limits;
    let sumWei = 0n;
    let count = 0;
    for (const task of this.#pending) {
      if (count >= maxTasks || (maxAmountWei !== null && sumWei >= maxAmountWei)) break;
      sumWei += BigInt(task.chargeWei);
      count++;
    }
    const batch = this.#pending.splice(0, count);
    this.#pendingWei -= sumWei;
    // A session that closes may have more tasks than a batch holds: none of them waits.
    this.#isUrgent &&= this.#pending.length > 0;
    return batch;
  }
}

/** A task that was disputed, and whose free end a contract waits for, comes a second time. */
function nameOfEnd({ taskId, outcome }: SettledTask): string {
  return outcome === 'disputed' ? `${taskId}:disputed` : taskId;
}
