/** What the tests of `servers/` share. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { identify } from '../../servers/identity.js';

/** A fresh folder that is removed after the test. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'cortensor-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Polls until the answer is neither false nor undefined; an error counts as not yet. */
export async function waitUntil<T>(
  ask: () => T | Promise<T>,
  what: string,
  limitMs = 60_000,
): Promise<Exclude<T, false | undefined>> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    let last: unknown;
    try {
      const answer = await ask();
      if (answer !== false && answer !== undefined) {
        return answer as Exclude<T, false | undefined>;
      }
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline)
      throw new Error(`not within ${limitMs} ms: ${what}`, { cause: last });
    await delay(20);
  }
}

/** True while a process with this id runs; an ended one that nobody has waited for does not. */
export function isAlive(pid: number): boolean {
  return identify(pid) !== undefined;
}
