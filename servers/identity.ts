/**
 * Tells one run of a process from another. A process id alone is recycled by the system, so a record
 * of a process on disk also holds when it started; only both together may ever be signalled.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** One run of one process. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque: equal for two readings of one run, different for any other run, also after a reboot. */
  readonly startedAt: string;
}

/** Reads the identity of a live process; `undefined` when there is none (a zombie counts as none). */
export function identify(pid: number): ProcessIdentity | undefined {
  const startedAt = process.platform === 'linux' ? startOnLinux(pid) : startFromPs(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** True while exactly this run of the process is alive. */
export function isRunning(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startedAt === identity.startedAt;
}

/** Reads a {@link ProcessIdentity} out of parsed JSON; `undefined` when it is none. */
export function parseIdentity(value: unknown): ProcessIdentity | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { pid, startedAt } = value as Partial<ProcessIdentity>;
  if (!Number.isSafeInteger(pid) || Number(pid) <= 0) return undefined;
  return typeof startedAt === 'string' ? { pid: Number(pid), startedAt } : undefined;
}

/**
 * Sends a signal to the process's own group, or to the process alone where it leads none.
 * A process that is gone already is not an error.
 */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, signal);
      return;
    } catch (error) {
      // ESRCH: it ended in the meantime, or leads no group; anything else is a real refusal.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

function startOnLinux(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command name in parentheses may hold spaces; fields are counted after it (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, ticks] = [fields[0], fields[19]];
    return state === 'Z' || ticks === undefined ? undefined : `${bootId()}:${ticks}`;
  } catch {
    return undefined; // ENOENT or ESRCH: no such process.
  }
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

function startFromPs(pid: number): string | undefined {
  try {
    const out = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
    const [state, ...started] = out.split(/\s+/);
    return state === undefined || state.startsWith('Z') ? undefined : started.join(' ');
  } catch {
    return undefined; // ps ends with 1 when there is no such process.
  }
}
