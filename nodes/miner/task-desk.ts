/**
 * A miner's desk: the tasks it works on and those it still holds results of, across connections.
 * Bounded in tasks at work, tasks that wait, and results that are held.
 */
import PQueue from 'p-queue';
import { EngineError, findEngineError } from '../../domain/errors.js';
import type { TaskId } from '../../domain/ids.js';
import type { Log } from '../../domain/log.js';
import type { AssignedTask, EndedMessage, RouterMessage } from '../../domain/wire.js';
import type { TaskJournal } from './journal.js';
import { SessionKeys } from './session-keys.js';
import { TaskRun, type RunDeps, type Send } from './task-run.js';

/** Tasks that may wait for each that is worked on; a router that sends more is told so. */
const WAITING_PER_SLOT = 8;
/** Tasks that are remembered, to be answered again without running them. */
const MAX_RUNS = 1_000;
/** Milliseconds that a result is held: longer than any task may take. */
const HOLD_MS = 3_600_000;

export interface DeskDeps extends Pick<RunDeps, 'wallet' | 'domain' | 'backend' | 'embedding'> {
  /** The miner's own age identity. */
  readonly identity: string;
  /** Generations at once. */
  readonly concurrency: number;
  /** What ended tasks are put down in; without one, they cannot be claimed later. */
  readonly journal?: TaskJournal;
  readonly log: Log;
}

/** Messages that come after the welcome. */
export type WorkMessage = Extract<
  RouterMessage,
  { readonly type: 'session' | 'assign' | 'reveal' | 'cancel' | 'ended' }
>;

export class TaskDesk {
  readonly #log: Log;
  readonly #journal: TaskJournal | undefined;
  readonly #runDeps: RunDeps;
  readonly #queue: PQueue;
  readonly #maxLoad: number;
  readonly #runs = new Map<TaskId, TaskRun>();

  constructor({ identity, concurrency, journal, log, ...deps }: DeskDeps) {
    this.#log = log;
    this.#journal = journal;
    this.#queue = new PQueue({ concurrency });
    this.#maxLoad = concurrency * (1 + WAITING_PER_SLOT);
    this.#runDeps = {
      ...deps,
      keys: new SessionKeys(identity),
      schedule: (generate) => this.#queue.add(generate),
    };
  }

  /** Tasks that are worked on or wait. */
  get load(): number {
    return this.#queue.pending + this.#queue.size;
  }

  /** Handles one message of a router; answers go to the connection that it came by. */
  handle(message: WorkMessage, send: Send): void {
    switch (message.type) {
      case 'session':
        this.#runDeps.keys.grant(message.grant);
        return;
      case 'assign':
        void this.#assign(message.task, send);
        return;
      case 'reveal':
        if (this.#runs.get(message.taskId)?.reveal(send) !== true) {
          this.#log('warn', 'reveal ignored', { taskId: message.taskId });
        }
        return;
      case 'cancel':
        this.#cancel(message.taskId, send);
        return;
      case 'ended':
        void this.#note(message);
        return;
    }
  }

  /** A router that lost a task to another one has no say in it any more. */
  #cancel(taskId: TaskId, send: Send): void {
    const run = this.#runs.get(taskId);
    if (run?.isFor(send) !== true) return;
    run.cancel();
    this.#runs.delete(taskId);
  }

  /** Ends every task. */
  close(): void {
    for (const run of this.#runs.values()) run.cancel();
    this.#runs.clear();
  }

  /** Puts down the end of a task, of those that this miner has revealed an answer to. */
  async #note({ taskId, ordinal, outcome, evidenceCid }: EndedMessage): Promise<void> {
    const revealed = this.#runs.get(taskId)?.revealed ?? null;
    if (revealed === null) return;
    const { sessionId, resultDigest } = revealed;
    try {
      await this.#journal?.append({
        sessionId,
        taskId,
        ordinal,
        outcome,
        evidenceCid,
        resultDigest,
        endedAtMs: Date.now(),
      });
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? 'unknown';
      this.#log('error', 'journal not written', { taskId, reason });
    }
  }

  async #assign(task: AssignedTask, send: Send): Promise<void> {
    const { taskId } = task;
    send({ type: 'ack', taskId });
    let run = this.#runs.get(taskId);
    try {
      run ??= this.#start(task);
      if (run.sessionId !== task.sessionId) throw new EngineError('MINER_PROTOCOL', { taskId });
      await run.deliver(task, send);
      this.#forgetLater(taskId, run);
    } catch (error) {
      if (run?.isCancelled === true) return;
      const code = findEngineError(error)?.code ?? 'BACKEND_FAILED';
      this.#log('warn', 'task failed', { taskId, code });
      send({ type: 'fail', taskId, code });
      // What failed may be tried again; what another session's task was taken for stays.
      if (run?.sessionId === task.sessionId) this.#drop(taskId, run);
    }
  }

  #start(task: AssignedTask): TaskRun {
    if (this.load >= this.#maxLoad) throw new EngineError('RATE_LIMITED', { load: this.load });
    const run = new TaskRun(this.#runDeps, task);
    this.#runs.set(task.taskId, run);
    return run;
  }

  #drop(taskId: TaskId, run: TaskRun): void {
    run.cancel();
    if (this.#runs.get(taskId) === run) this.#runs.delete(taskId);
  }

  #forgetLater(taskId: TaskId, run: TaskRun): void {
    setTimeout(() => this.#drop(taskId, run), HOLD_MS).unref();
    for (const [oldest, held] of this.#runs) {
      if (this.#runs.size <= MAX_RUNS) return;
      if (held.isDelivered) this.#drop(oldest, held);
    }
  }
}
