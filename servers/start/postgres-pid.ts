/**
 * PostgreSQL's `postmaster.pid`: its own word on whether it is ready, and what a killed server leaves.
 * @see https://www.postgresql.org/docs/18/storage-file-layout.html
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** The status in a cluster's pid file, such as `starting` or `ready`; `undefined` without one. */
export function statusOf(cluster: string): string | undefined {
  return readPidFile(cluster)?.[7]?.trim();
}

/**
 * Removes the pid file of a killed server whose process id belongs to another program by now.
 * PostgreSQL judges by the id alone and would refuse to start; in a container, ids recur soon.
 */
export function removeStalePidFile(cluster: string): void {
  const pid = Number(readPidFile(cluster)?.[0]);
  if (!Number.isInteger(pid) || isPostgres(pid)) return;
  rmSync(join(cluster, 'postmaster.pid'), { force: true });
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
