/**
 * PostgreSQL's `postmaster.pid`: its own word on whether it is ready, and what a killed server leaves.
 * @see https://www.postgresql.org/docs/18/storage-file-layout.html
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { identify } from '../identity.js';

/** The status in a cluster's pid file, such as `starting` or `ready`; `undefined` without one. */
export function statusOf(cluster: string): string | undefined {
  return readPidFile(cluster)?.[7]?.trim();
}

/** Limit for what is left of a killed server to notice, in milliseconds. */
const REMAINS_MS = 10_000;
const POLL_MS = 50;

/**
 * Clears what a killed server left: waits for its last processes, which hold its shared memory until
 * they notice, and removes its pid file. PostgreSQL judges that by the process id alone and would
 * refuse to start while the id is a zombie's or, as ids recur, another program's.
 */
export async function clearKilledRun(cluster: string): Promise<void> {
  const deadline = Date.now() + REMAINS_MS;
  while (hasProcesses(cluster) && Date.now() < deadline) await delay(POLL_MS);
  const pid = Number(readPidFile(cluster)?.[0]);
  if (!Number.isInteger(pid) || (identify(pid) !== undefined && isPostgres(pid))) return;
  rmSync(join(cluster, 'postmaster.pid'), { force: true });
}

/** True while a process works in the cluster's folder, as all of PostgreSQL's do; told on Linux only. */
function hasProcesses(cluster: string): boolean {
  if (process.platform !== 'linux') return false;
  return readdirSync('/proc').some((name) => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/cwd`) === cluster;
    } catch {
      return false; // ENOENT: it has ended. EACCES: it is another user's, and not ours.
    }
  });
}

function readPidFile(cluster: string): string[] | undefined {
  try {
    return readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function isPostgres(pid: number): boolean {
  try {
    const command =
      process.platform === 'linux'
        ? readFileSync(`/proc/${pid}/comm`, 'utf8')
        : execFileSync('ps', ['-o', 'comm=', '-p', String(pid)], { encoding: 'utf8' });
    return command.includes('postgres');
  } catch {
    return false; // ENOENT, or ps ended with 1: no such process.
  }
}
