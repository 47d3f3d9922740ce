/**
 * The project's cache: `<root>/<artefact>/<version>/…`, complete or absent. An entry is made in a folder
 * beside it and renamed into place; a lock lets one process do the work while others wait for it.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isLock, takeLock, type Lock } from '../lock.js';
import type { Artefact, Kitchen, Recipe } from './types.js';

const POLL_MS = 100;
/** How often a waiting process says so. */
const SAY_EVERY_MS = 2_000;

/** `$CORTENSOR_CACHE`, else `$XDG_CACHE_HOME/cortensor`, else `~/.cache/cortensor`. */
export function cacheRoot(env: NodeJS.ProcessEnv = process.env): string {
  if (env['CORTENSOR_CACHE']) return env['CORTENSOR_CACHE'];
  return join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'cortensor');
}

/**
 * Finds the file of a cache entry.
 * @throws Error — there is no entry of the pinned version.
 */
export function cacheEntry(cache: string, artefact: Artefact): string {
  const path = join(entryFolder(cache, artefact), artefact.file);
  if (!existsSync(path)) throw new Error(`${artefact.version} is not in ${cache}`);
  return path;
}

/**
 * Makes a cache entry by a recipe, or waits for another process that is at it.
 * @returns the path of the artefact's file.
 * @throws what the recipe throws; nothing is kept then.
 */
export async function fillCache(
  cache: string,
  artefact: Artefact,
  recipe: Recipe,
  kitchen: Kitchen,
): Promise<string> {
  const entry = entryFolder(cache, artefact);
  const lock = await waitForLock(`${entry}.lock`, kitchen);
  const aside = `${entry}.${randomBytes(4).toString('hex')}`;
  try {
    const path = join(entry, artefact.file);
    // Another process may have made it since this one looked; an entry that does not work is replaced.
    if (await works(artefact, path)) return path;
    mkdirSync(aside, { recursive: true });
    await recipe.make(aside, kitchen);
    await artefact.check(join(aside, artefact.file));
    rmSync(entry, { recursive: true, force: true });
    renameSync(aside, entry);
    return path;
  } finally {
    rmSync(aside, { recursive: true, force: true });
    lock.release();
  }
}

async function works(artefact: Artefact, path: string): Promise<boolean> {
  if (!existsSync(path)) return false;
  return artefact.check(path).then(
    () => true,
    () => false,
  );
}

async function waitForLock(path: string, { report }: Kitchen): Promise<Lock> {
  let saidMs = 0;
  for (;;) {
    const taken = takeLock(path);
    if (isLock(taken)) return taken;
    if (Date.now() - saidMs >= SAY_EVERY_MS) {
      saidMs = Date.now();
      report(`process ${taken.pid} is at it, waiting`);
    }
    await delay(POLL_MS);
  }
}

function entryFolder(cache: string, { name, version }: Artefact): string {
  return join(cache, name, version);
}
