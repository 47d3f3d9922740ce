/**
 * A session as this router serves it while it holds the lease: which tasks are under way, which have
 * lately ended, and how it hands over.
 */
import { EngineError, ERRORS, findEngineError } from '../../domain/errors.js';
import type { TaskId } from '../../domain/ids.js';
import type { LeaseInput } from '../../domain/lease.js';
import type { TaskState } from '../../domain/task.js';
import type { Conclusion } from './outcome.js';
import {
  TaskService,
  type ServiceDeps,
  type SessionKeys,
  type TaskRequest,
} from './task-service.js';
import { TaskStream } from './task-stream.js';

/** Ended tasks whose streams are kept for clients that come back. */
const KEPT_TASKS = 256;

/** A task of a session, under way or lately ended. */
export interface ServedTask {
  readonly taskId: TaskId;
  readonly stream: TaskStream;
  /** Unix milliseconds. */
  readonly startedAt: number;
  /** `null` where only the client can compare requests. */
  readonly fingerprint: string | null;
  /** Rejects with an EngineError when the task was not recorded; the stream says so too. */
  readonly conclusion: Promise<Conclusion>;
}

export class SessionHost {
  readonly lease: LeaseInput;
  readonly keys: SessionKeys;
  readonly #deps: ServiceDeps;
  readonly #service: TaskService;
  readonly #tasks = new Map<TaskId, ServedTask>();
  readonly #open = new Set<TaskId>();
  #usedAt = Date.now();
  #isDraining = false;

  /** Tasks that another router had accepted are dispatched again at once. */
  constructor(lease: LeaseInput, keys: SessionKeys, deps: ServiceDeps) {
    this.lease = lease;
    this.keys = keys;
    this.#deps = deps;
    this.#service = new TaskService(lease, keys, deps);
    for (const task of lease.openTasks) {
      this.#keep(task.taskId, null, (stream) => this.#service.resume(stream, task));
    }
  }

  /** Tasks under way. */
  get openTasks(): number {
    return this.#open.size;
  }

  /** Milliseconds since there was a task or a request. */
  get idleMs(): number {
    return this.#open.size > 0 ? 0 : Date.now() - this.#usedAt;
  }

  /** A request is about to come: not the moment to give the session back. */
  touch(): void {
    this.#usedAt = Date.now();
  }

  /** Serves a request: starts it, or hands back the task of that id.
   * @throws IDEMPOTENCY_CONFLICT — the id belongs to another request.
   * @throws ROUTER_LEASE_LOST — the session is being handed over.
   * @throws NO_MINERS — too few reserved miners are connected. */
  accept(request: TaskRequest): ServedTask {
    const { taskId, fingerprint } = request;
    const known = this.#tasks.get(taskId);
    if (known !== undefined) {
      const canCompare = known.fingerprint !== null && fingerprint !== null;
      if (canCompare && known.fingerprint !== fingerprint) {
        throw new EngineError('IDEMPOTENCY_CONFLICT', { taskId });
      }
      return known;
    }
    if (this.#isDraining) throw new EngineError('ROUTER_LEASE_LOST');
    this.#service.requireMiners();
    return this.#keep(taskId, fingerprint, (stream) => this.#service.run(stream, request));
  }

  /** A task that is under way here, or has ended here lately. */
  find(taskId: TaskId): ServedTask | undefined {
    return this.#tasks.get(taskId);
  }

  /** Ends a task whose answer has not begun, and waits until that is recorded.
   * @returns false where no such task is under way here.
   * @throws TASK_UNDER_WAY — something of the answer is out already.
   * @throws EngineError — the task was not recorded at all. */
  async cancel(taskId: TaskId): Promise<boolean> {
    const task = this.#open.has(taskId) ? this.#tasks.get(taskId) : undefined;
    if (task === undefined) return false;
    // One that is past its run is on the way to its record.
    if (this.#service.cancel(taskId) !== true) throw new EngineError('TASK_UNDER_WAY', { taskId });
    await task.conclusion;
    return true;
  }

  /** Ends every task whose answer has not begun. */
  cancelAll(): void {
    for (const taskId of this.#open) this.#service.cancel(taskId);
  }

  /** How far a task under way is; `null` where this router has no such task. */
  stateOf(taskId: TaskId): TaskState | null {
    return this.#service.stateOf(taskId);
  }

  /** Takes nothing new, and gives running tasks until the deadline; what is left stays open in the
   * workflow, for the next router. */
  async drain(deadlineMs: number): Promise<void> {
    this.#isDraining = true;
    const running = [...this.#tasks.values()].map(({ conclusion }) => conclusion);
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    await Promise.race([Promise.allSettled(running), deadline]);
    clearTimeout(timer);
    this.abandon();
  }

  /** Stops everything at once; running tasks stay open in the workflow. */
  abandon(): void {
    this.#isDraining = true;
    this.#service.abort();
  }

  #keep(
    taskId: TaskId,
    fingerprint: string | null,
    serve: (stream: TaskStream) => Promise<Conclusion>,
  ): ServedTask {
    const stream = new TaskStream();
    this.#open.add(taskId);
    const conclusion = serve(stream)
      .catch((cause: unknown) => {
        const error = findEngineError(cause) ?? new EngineError('INTERNAL', {}, { cause });
        // Not recorded, so not known: the same request may be sent again.
        this.#tasks.delete(taskId);
        stream.push({ type: 'error', code: error.code, message: ERRORS[error.code].text });
        this.#deps.log('warn', 'task not recorded', { taskId, code: error.code });
        throw error;
      })
      .finally(() => {
        this.#open.delete(taskId);
        this.touch();
        this.#forgetOldest();
      });
    // Readers of the stream learn of a failure there; nobody has to await this as well.
    conclusion.catch(() => undefined);
    const task = { taskId, stream, startedAt: Date.now(), fingerprint, conclusion };
    this.#tasks.set(taskId, task);
    return task;
  }

  #forgetOldest(): void {
    if (this.#tasks.size - this.#open.size <= KEPT_TASKS) return;
    for (const taskId of this.#tasks.keys()) {
      if (this.#open.has(taskId)) continue;
      this.#tasks.delete(taskId);
      return;
    }
  }
}
