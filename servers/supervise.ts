/**
 * Keeps the processes of one data folder running: starts them, restarts those that die, stops all in
 * reverse order. One supervisor a data folder; what a killed one left behind is ended by the next.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError } from '../domain/errors.js';
import { Child } from './child.js';
import { isLock, takeLock, type Lock } from './lock.js';
import { reapStale } from './runs.js';
import type { ProcessSpec, SupervisorEvent } from './spec.js';

export interface SupervisorOptions {
  /** Called with everything that happens to the processes. */
  onEvent?(event: SupervisorEvent): void;
}

export class Supervisor {
  /** The data folder, absolute as it was given. */
  readonly data: string;
  readonly #lock: Lock;
  readonly #onEvent: (event: SupervisorEvent) => void;
  readonly #children: Child[] = [];
  #stopped = false;
  readonly #abandon = (): void => {
    for (const child of this.#children) child.abandon();
  };

  private constructor(data: string, lock: Lock, options: SupervisorOptions) {
    this.data = data;
    this.#lock = lock;
    this.#onEvent = (event) => options.onEvent?.(event);
    // Only for an exit without `stop`, such as an uncaught error; nothing can be awaited there.
    process.once('exit', this.#abandon);
  }

  /**
   * Takes the data folder, and ends what an earlier supervisor left behind. The folder is created when
   * missing; only its own user can list it, others may pass through to what they own inside.
   * @throws DATA_IN_USE — another live supervisor holds the folder.
   */
  static async open(data: string, options: SupervisorOptions = {}): Promise<Supervisor> {
    mkdirSync(data, { recursive: true });
    chmodSync(data, 0o711); // PostgreSQL runs as another user when we are root.
    mkdirSync(join(data, 'run'), { recursive: true, mode: 0o700 });
    const lock = takeLock(join(data, 'run', 'supervisor.json'));
    if (!isLock(lock)) {
      throw new EngineError('DATA_IN_USE', {
        data,
        pid: lock.pid,
        remedy: 'stop that process first, or use another data folder',
      });
    }
    try {
      await reapStale(data);
      return new Supervisor(data, lock, options);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Starts a process and resolves once it is ready; from then on it is restarted whenever it dies,
   * after 0.2 s, then twice as long each time up to 5 s.
   * @throws SERVER_FAILED — it ended or did not answer in time; it is gone then, the others still run.
   */
  async start(spec: ProcessSpec): Promise<void> {
    const reason = this.#stopped
      ? 'the supervisor is stopping'
      : this.#children.some((child) => child.spec.name === spec.name) && 'it runs already';
    if (reason !== false) throw new EngineError('SERVER_FAILED', { server: spec.name, reason });
    const child = new Child(this.data, spec, this.#onEvent);
    this.#children.push(child);
    try {
      await child.start();
    } catch (error) {
      this.#remove(child);
      throw error;
    }
  }

  /** The process id of a process's current run; `undefined` when it does not run at this moment. */
  pid(name: string): number | undefined {
    return this.#children.find((child) => child.spec.name === name)?.pid;
  }

  /** Stops one process and does not start it again; a name that is not known is not an error. */
  async stopOne(name: string): Promise<void> {
    const child = this.#children.find(({ spec }) => spec.name === name);
    if (child === undefined) return;
    await child.stop();
    this.#remove(child);
  }

  /** Stops all processes, the last started first, and gives the data folder free. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const child of this.#children.toReversed()) {
      await child.stop();
      this.#remove(child);
    }
    process.off('exit', this.#abandon);
    this.#lock.release();
  }

  #remove(child: Child): void {
    const at = this.#children.indexOf(child);
    if (at >= 0) this.#children.splice(at, 1);
  }
}

/** Time that an orphaned role has for its orderly end, in milliseconds. */
const ORPHAN_GRACE_MS = 10_000;

/**
 * Ends this process in an orderly way when its supervisor dies, also by `kill -9`. Called once at the
 * start of a role's process, which was started with `ipc: true`; without a supervisor it does nothing.
 */
export function exitWithParent(): void {
  if (process.channel === undefined) return;
  process.channel.unref(); // A role that has finished must not be held open by the channel.
  process.once('disconnect', () => {
    setTimeout(() => process.exit(1), ORPHAN_GRACE_MS).unref();
    process.kill(process.pid, 'SIGTERM'); // The role's own handler, if it has one, shuts it down.
  });
}
