/**
 * Finds processes that a test file left behind. The servers of a test lead process groups of their
 * own, so its group does not hold them; but all of them inherit its environment, with its mark.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Name of the environment variable that marks the processes of one test file. */
export const MARK = 'CORTENSOR_TEST_FILE';

const POLL_MS = 50;
/** A killed process ends when it is next scheduled, not at once. */
const KILL_MS = 5_000;

/**
 * Waits for the processes of a mark to end, and kills what does not.
 * @param graceMs - the time they have for it.
 * @returns the names of those that were killed. Always none where the system has no /proc.
 */
export async function endLeftovers(mark: string, graceMs: number): Promise<string[]> {
  const left = await waitForEnd(mark, graceMs);
  for (const { pid } of left) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      // ESRCH: it has just ended.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
  await waitForEnd(mark, KILL_MS);
  return left.map(({ name }) => name);
}

/** @returns those that still run after the time. */
async function waitForEnd(mark: string, ms: number): Promise<ReturnType<typeof findMarked>> {
  const deadline = Date.now() + ms;
  let left = findMarked(mark);
  while (left.length > 0 && Date.now() < deadline) {
    await delay(POLL_MS);
    left = findMarked(mark);
  }
  return left;
}

function findMarked(mark: string): { pid: number; name: string }[] {
  if (process.platform !== 'linux') return [];
  const entry = `${MARK}=${mark}`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const environment = readFileSync(`/proc/${pid}/environ`, 'latin1');
        if (!environment.split('\0').includes(entry)) return [];
        return [{ pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() }];
      } catch {
        return []; // ENOENT, ESRCH: it has ended. EACCES: it is another user's, so not of a test.
      }
    });
}
