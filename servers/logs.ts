/** Logs of supervised processes: `<data>/logs/<name>.log`, appended to, readable by their owner only. */
import { closeSync, mkdirSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** A log this long is set aside when its process starts; one older log is kept. */
const LONGEST_BYTES = 20 * 1024 * 1024;

/** The path of a process's log. */
export function logPath(data: string, name: string): string {
  return join(data, 'logs', `${name}.log`);
}

/** Opens a process's log for appending; the caller closes the descriptor. */
export function openLog(data: string, name: string): number {
  const path = logPath(data, name);
  mkdirSync(join(data, 'logs'), { recursive: true, mode: 0o700 });
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LONGEST_BYTES) renameSync(path, `${path}.1`);
  return openSync(path, 'a', 0o600);
}

/** The last line that is not blank, shortened for an error text; a note when there is none. */
export function lastLogLine(data: string, name: string): string {
  const path = logPath(data, name);
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0) return 'it printed nothing';
  const tail = Buffer.alloc(Math.min(size, 4096));
  const file = openSync(path, 'r');
  try {
    readSync(file, tail, 0, tail.length, size - tail.length);
  } finally {
    closeSync(file);
  }
  const lines = tail.toString('utf8').split('\n');
  return (lines.findLast((line) => line.trim() !== '') ?? 'it printed nothing')
    .trim()
    .slice(0, 300);
}
