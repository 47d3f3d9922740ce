/**
 * A session as this router serves it while it holds the lease: which tasks are under way, which have
 * lately ended, and how it hands over.
 */
import { EngineError, ERRORS, findEngineError } from '../../domain/errors.js';
import type { TaskId } from '../../domain/ids.js';
import type { LeaseInput, OpenTask } from '../../domain/lease.js';
import type { TaskState } from '../../domain/task.js';
import type { Conclusion } from './outcome.js';
import {
  TaskService,
  type ServiceDeps,
  type SessionKeys,
  type TaskRequest,
} from './task-service.js';
import { TaskStream } from './task-stream.js';

/** Streams that are not the first of their task have numbers of their own, which grow by more than a
 * router has events. */
const NUMBERS_PER_MS = 512;
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
  /** Has tasks under way still that are served here. */
  readonly #former: SessionHost | undefined;
  readonly #tasks = new Map<TaskId, ServedTask>();
  readonly #open = new Set<TaskId>();
  #usedAt = Date.now();
  #isDraining = false;
  #isRetired = false;

  /** Tasks that another router had accepted are dispatched again: at once, or, where that router is
   * about to finish them, when it has not.
   * @param former - what this router served of the session under an earlier lease. Its tasks go on. */
  constructor(lease: LeaseInput, keys: SessionKeys, deps: ServiceDeps, former?: SessionHost) {
    this.lease = lease;
    this.keys = keys;
    this.#deps = deps;
    this.#service = new TaskService(lease, keys, deps);
    this.#former = former !== undefined && former.openTasks > 0 ? former : undefined;
    for (const task of former?.retire() ?? []) this.#adopt(task);
    const leaving = new Map(lease.leaving.map(({ taskId, forMs }) => [taskId, forMs]));
    for (const task of lease.openTasks) {
      if (this.#tasks.has(task.taskId)) continue;
      const forMs = leaving.get(task.taskId) ?? 0;
      this.#keep({ taskId: task.taskId, fingerprint: null, isResumed: true }, (stream) =>
        this.#resume(stream, task, forMs),
      );
    }
  }

  /** Tasks under way. */
  get openTasks(): number {
    return this.#open.size;
  }
  get openTaskIds(): readonly TaskId[] {
    return [...this.#open];
  }

  /** Whether it takes nothing new any more. */
  get isDraining(): boolean {
    return this.#isDraining;
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
    if (this.#isDraining) {
      throw new EngineError('ROUTER_LEASE_LOST', { sessionId: this.lease.sessionId });
    }
    this.#service.requireMiners(request.features);
    const { isResumed = false } = request;
    return this.#keep({ taskId, fingerprint, isResumed }, (stream) =>
      this.#service.run(stream, request),
    );
  }

  /** A task that has ended, by its record: its stream has its end alone. */
  reopen(taskId: TaskId): ServedTask {
    const known = this.#tasks.get(taskId);
    if (known !== undefined) return known;
    return this.#keep({ taskId, fingerprint: null, isResumed: true }, (stream) =>
      this.#service.recall(stream, taskId),
    );
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
    if (this.#cancel(taskId) !== true) throw new EngineError('TASK_UNDER_WAY', { taskId });
    await task.conclusion;
    return true;
  }

  /** Ends every task whose answer has not begun. */
  cancelAll(): void {
    for (const taskId of this.#open) this.#cancel(taskId);
  }

  #cancel(taskId: TaskId): boolean | null {
    return this.#service.cancel(taskId) ?? (this.#former ? this.#former.#cancel(taskId) : null);
  }

  /** How far a task under way is; `null` where this router has no such task. */
  stateOf(taskId: TaskId): TaskState | null {
    return this.#service.stateOf(taskId) ?? this.#former?.stateOf(taskId) ?? null;
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
    if (!this.#isRetired) this.abandon();
  }

  /** Stops everything at once; running tasks stay open in the workflow. */
  abandon(): void {
    this.#isDraining = true;
    this.#service.abort();
    this.#former?.abandon();
  }

  /** Takes nothing new, and leaves what there is to the next host of the session here.
   * @returns its tasks, which go on. */
  retire(): readonly ServedTask[] {
    this.#isDraining = true;
    this.#isRetired = true;
    return [...this.#tasks.values()];
  }

  /** Goes on with a task of the session's former host. */
  #adopt(task: ServedTask): void {
    const { taskId } = task;
    this.#tasks.set(taskId, task);
    if (task.stream.isEnded) return;
    this.#open.add(taskId);
    const settle = () => {
      this.#open.delete(taskId);
      this.touch();
      this.#forgetOldest();
    };
    task.conclusion.then(settle, () => {
      this.#tasks.delete(taskId);
      settle();
    });
  }

  /** @param forMs - another router is believed to finish it for so long. */
  async #resume(stream: TaskStream, task: OpenTask, forMs: number): Promise<Conclusion> {
    const isEnded = forMs > 0 && (await this.#service.hasEnded(task.taskId, forMs));
    return await (isEnded
      ? this.#service.recall(stream, task.taskId)
      : this.#service.resume(stream, task));
  }

  #keep(
    {
      taskId,
      fingerprint,
      isResumed,
    }: Pick<ServedTask, 'taskId' | 'fingerprint'> & { readonly isResumed: boolean },
    serve: (stream: TaskStream) => Promise<Conclusion>,
  ): ServedTask {
    const stream = new TaskStream(isResumed ? Date.now() * NUMBERS_PER_MS : 0);
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
