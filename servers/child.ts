/**
 * One supervised process through all its runs: started, watched, started again when it dies, stopped.
 * Separate from the supervisor, which only knows many of these and their order.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { deadlineIn } from '../domain/deadline.js';
import { EngineError } from '../domain/errors.js';
import { signalGroup } from './identity.js';
import { lastLogLine, logPath, openLog } from './logs.js';
import { forgetRun, recordRun } from './runs.js';
import type { ProcessSpec, SupervisorEvent } from './spec.js';

const FIRST_BACKOFF_MS = 200;
const LONGEST_BACKOFF_MS = 5_000;
/** A run this long counts as healthy, and the next back-off starts small again. */
const HEALTHY_AFTER_MS = 30_000;
/** Limit for a companion's last work, so that it cannot hold up a stop. */
const COMPANION_GRACE_MS = 5_000;

interface Run {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly startedMs: number;
  /** Resolves when the process has ended. */
  readonly ended: Promise<unknown>;
}

export class Child {
  readonly spec: ProcessSpec;
  readonly #data: string;
  readonly #emit: (event: SupervisorEvent) => void;
  readonly #stopping = new AbortController();
  #run: Run | undefined;
  #companion: { readonly end: AbortController; readonly done: Promise<void> } | undefined;
  #starting: Promise<void> | undefined;
  #watch: Promise<void> = Promise.resolve();

  constructor(data: string, spec: ProcessSpec, emit: (event: SupervisorEvent) => void) {
    this.#data = data;
    this.spec = spec;
    this.#emit = emit;
  }

  /** The process id of the current run; `undefined` between two runs. */
  get pid(): number | undefined {
    return this.#run?.pid;
  }

  /**
   * Starts the process for the first time and, once it answered, keeps it running until `stop`.
   * @throws SERVER_FAILED — it could not be started, ended, or did not answer in time; it is gone then.
   */
  async start(): Promise<void> {
    this.#starting = this.#launch().catch(async (error: unknown) => {
      await this.#end();
      throw error;
    });
    await this.#starting;
    this.#watch = this.#keepRunning();
  }

  /** Ends the process in an orderly way, then by force, and does not start it again. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#starting?.catch(() => {
      // Told to whoever called `start`; here it only matters that it is over.
    });
    await this.#end();
    await this.#watch;
    this.#emit({ kind: 'stopped', name: this.spec.name });
  }

  /** Signals the current run without waiting, for when the supervisor itself is about to exit. */
  abandon(): void {
    if (this.#run !== undefined) signalGroup(this.#run.pid, this.spec.stopSignal ?? 'SIGTERM');
  }

  async #keepRunning(): Promise<void> {
    let backoffMs = FIRST_BACKOFF_MS;
    for (;;) {
      const run = this.#run;
      await run?.ended;
      await this.#end();
      if (this.#stopping.signal.aborted) return;
      if (run !== undefined && Date.now() - run.startedMs >= HEALTHY_AFTER_MS) {
        backoffMs = FIRST_BACKOFF_MS;
      }
      this.#emit({ kind: 'restarting', name: this.spec.name, delayMs: backoffMs });
      try {
        await delay(backoffMs, undefined, { signal: this.#stopping.signal });
        await this.#launch();
      } catch (error) {
        await this.#end();
        if (this.#stopping.signal.aborted) return;
        this.#emit({ kind: 'failed', name: this.spec.name, error: error as Error });
      }
      backoffMs = Math.min(backoffMs * 2, LONGEST_BACKOFF_MS);
    }
  }

  async #launch(): Promise<void> {
    const { spec } = this;
    const more = (await spec.prepare?.()) ?? [];
    this.#stopping.signal.throwIfAborted();
    const run = await this.#spawn(more);
    this.#emit({ kind: 'starting', name: spec.name, pid: run.pid });
    this.#stopping.signal.throwIfAborted();
    await this.#untilReady(run);
    this.#emit({
      kind: 'ready',
      name: spec.name,
      pid: run.pid,
      afterMs: Date.now() - run.startedMs,
    });
    if (spec.companion !== undefined) {
      const end = new AbortController();
      void run.ended.then(() => end.abort());
      const done = spec.companion(end.signal).catch((error: unknown) => {
        this.#emit({ kind: 'failed', name: spec.name, error: error as Error });
      });
      this.#companion = { end, done };
    }
  }

  async #spawn(more: readonly string[]): Promise<Run> {
    const { spec } = this;
    const log = openLog(this.#data, spec.name);
    try {
      const child = spawn(spec.command, [...spec.args, ...more], {
        cwd: spec.cwd,
        env: { ...process.env, ...spec.env },
        stdio: spec.ipc === true ? ['ignore', log, log, 'ipc'] : ['ignore', log, log],
        // Its own process group: Ctrl-C in a terminal reaches the supervisor alone, which then stops
        // everything in order, and a kill takes what the process started along.
        detached: true,
        ...spec.user,
      });
      const ended = new Promise<void>((resolve) => {
        child.once('exit', (code, signal) => {
          if (child.pid !== undefined) {
            this.#emit({ kind: 'exited', name: spec.name, pid: child.pid, code, signal });
          }
          resolve();
        });
      });
      await once(child, 'spawn');
      child.on('error', () => {
        // A message to it could not be sent; its end, which follows, is what counts.
      });
      const pid = child.pid as number; // Set, since it has spawned.
      this.#run = { process: child, pid, startedMs: Date.now(), ended };
      recordRun(this.#data, spec, pid);
      return this.#run;
    } catch (error) {
      throw this.#failure(`could not be started: ${(error as Error).message}`, error);
    } finally {
      closeSync(log);
    }
  }

  async #untilReady(run: Run): Promise<void> {
    const { ready, readyTimeoutMs = 30_000 } = this.spec;
    if (ready === undefined) return;
    const done = new AbortController();
    const limit = deadlineIn(readyTimeoutMs, done.signal, this.#stopping.signal);
    const ended = run.ended.then(() => {
      throw this.#failure(`ended while starting: ${lastLogLine(this.#data, this.spec.name)}`);
    });
    try {
      await Promise.race([ready.call(this.spec, limit), ended]);
      limit.throwIfAborted(); // It may have returned only because it was told to give up.
    } catch (error) {
      if (error instanceof EngineError) throw error;
      this.#stopping.signal.throwIfAborted();
      const reason = limit.aborted ? `no answer within ${readyTimeoutMs} ms` : String(error);
      throw this.#failure(reason, error);
    } finally {
      done.abort();
      ended.catch(() => {
        // The process may end at any later time; the watch handles that.
      });
    }
  }

  /** Ends the current run, if any: companion first, then the process, then its record. */
  async #end(): Promise<void> {
    const { spec } = this;
    const companion = this.#companion;
    this.#companion = undefined;
    if (companion !== undefined) {
      companion.end.abort();
      const limit = delay(COMPANION_GRACE_MS, undefined, { ref: false });
      await Promise.race([companion.done, limit]);
    }
    const run = this.#run;
    if (run === undefined) return;
    if (run.process.exitCode === null && run.process.signalCode === null) {
      signalGroup(run.pid, spec.stopSignal ?? 'SIGTERM');
      const timer = setTimeout(() => signalGroup(run.pid, 'SIGKILL'), spec.stopGraceMs ?? 10_000);
      await run.ended;
      clearTimeout(timer);
    }
    this.#run = undefined;
    forgetRun(this.#data, spec.name);
  }

  #failure(reason: string, cause?: unknown): EngineError {
    const details = { server: this.spec.name, reason, log: logPath(this.#data, this.spec.name) };
    return new EngineError('SERVER_FAILED', details, { cause });
  }
}
