/** What the supervisor needs to know about a process: one of the servers, or one of our own roles. */

/** A process to keep running. */
export interface ProcessSpec {
  /** Unique in a data folder; names the log and the run file, such as `chain-health`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the supervisor's environment. Secrets belong here or into files, never into `args`. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** System user to run as; only root may. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Opens an IPC channel, for Node children that call `exitWithParent`. @default false */
  readonly ipc?: boolean;
  /**
   * Runs before every start, restarts included: the place to clear what a killed run left behind.
   * @returns arguments to append for this start.
   */
  prepare?(): Promise<readonly string[]>;
  /** Resolves once the process answers; called after every start. Without it, started means ready. */
  ready?(signal: AbortSignal): Promise<void>;
  /** Limit for `ready`, in milliseconds. @default 30_000 */
  readonly readyTimeoutMs?: number;
  /**
   * Runs beside the process while it is ready. Its signal aborts when the process has ended or is
   * about to be stopped; a stop waits for it, so it may still talk to the process then.
   */
  companion?(signal: AbortSignal): Promise<void>;
  /** Asks for an orderly end. @default 'SIGTERM' */
  readonly stopSignal?: NodeJS.Signals;
  /** Time from the stop signal to SIGKILL, in milliseconds. @default 10_000 */
  readonly stopGraceMs?: number;
}

/** One of the real servers. */
export type ServerSpec = ProcessSpec & Required<Pick<ProcessSpec, 'ready'>>;

/** What happened to a supervised process, in the order it happened. */
export type SupervisorEvent =
  | { readonly kind: 'starting'; readonly name: string; readonly pid: number }
  /** @param afterMs - from start to the first answer. */
  | {
      readonly kind: 'ready';
      readonly name: string;
      readonly pid: number;
      readonly afterMs: number;
    }
  | {
      readonly kind: 'exited';
      readonly name: string;
      readonly pid: number;
      readonly code: number | null;
      readonly signal: NodeJS.Signals | null;
    }
  /** A restart did not come up, and another one follows; or the companion of a run failed. */
  | { readonly kind: 'failed'; readonly name: string; readonly error: Error }
  | { readonly kind: 'restarting'; readonly name: string; readonly delayMs: number }
  | { readonly kind: 'stopped'; readonly name: string };
