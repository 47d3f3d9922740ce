/**
 * A lock file between processes: holds who owns it, and is taken over when its owner is gone.
 * Written aside and linked into place, so that it is never seen empty.
 */
import { randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { identify, isRunning, parseIdentity, type ProcessIdentity } from './identity.js';

/** A lock that this process holds. */
export interface Lock {
  release(): void;
}

/**
 * Takes the lock at `path`, at once or not at all; its folder is created when missing.
 * @returns the lock, or the live process that holds it.
 */
export function takeLock(path: string): Lock | ProcessIdentity {
  mkdirSync(dirname(path), { recursive: true });
  const content = JSON.stringify({ ...identify(process.pid), token: randomUUID() });
  const aside = `${path}.${randomUUID()}`;
  writeFileSync(aside, content, { mode: 0o600 });
  try {
    for (;;) {
      if (tryLink(aside, path)) return { release: () => releaseLock(path, content) };
      const held = read(path);
      if (held === undefined) continue; // Released between the two calls.
      const owner = ownerOf(held);
      if (owner !== undefined && isRunning(owner)) return owner;
      evict(path, held);
    }
  } finally {
    rmSync(aside, { force: true });
  }
}

/** True when {@link takeLock} took the lock. */
export function isLock(taken: Lock | ProcessIdentity): taken is Lock {
  return 'release' in taken;
}

function releaseLock(path: string, content: string): void {
  if (read(path) === content) rmSync(path, { force: true });
}

/** Moves a stale lock away. Two processes may judge the same lock stale: the slower one could move the
 * faster one's new lock, so what was moved is compared, and put back where it is not the stale one. */
function evict(path: string, stale: string): void {
  const moved = `${path}.${randomUUID()}`;
  try {
    renameSync(path, moved);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return; // The other one was faster.
    throw error;
  }
  if (read(moved) !== stale) tryLink(moved, path);
  rmSync(moved, { force: true });
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function ownerOf(content: string): ProcessIdentity | undefined {
  try {
    return parseIdentity(JSON.parse(content));
  } catch {
    return undefined; // Not JSON: not written by us, so nobody holds it.
  }
}
