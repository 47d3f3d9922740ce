/** Files that only their owner may read. Node only; browsers never import this. */
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { EngineError } from '../../domain/errors.js';

const OTHERS = 0o077;

/** Writes a secret into a new file, mode 0600; folders that are missing are made with mode 0700.
 * The file appears whole or not at all, and two processes that race agree on the winner's.
 * @returns false when the file was there before; it is left as it is.
 * @throws KEY_FILE_UNSAFE — the file system refuses. */
export async function createPrivateFile(path: string, content: Uint8Array): Promise<boolean> {
  const temporary = `${path}.${randomUUID()}`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
      // Unlike a rename, a hard link never replaces what is there.
      await link(temporary, path);
      return true;
    } finally {
      await file.close();
      await rm(temporary);
    }
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return false;
    throw unsafe(path, cause);
  }
}

/** Reads a secret from a file, after a look at who else could.
 * @throws SECRET_MISSING — no such file.
 * @throws KEY_FILE_UNSAFE — group or others have any right to it, or it cannot be read. */
export async function readPrivateFile(path: string): Promise<Uint8Array> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    // Asked of the open file, so it cannot be exchanged between the look and the reading.
    refuseShared(path, (await file.stat()).mode);
    return await file.readFile();
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') throw new EngineError('SECRET_MISSING', { path }, { cause });
    throw unsafe(path, cause);
  } finally {
    await file?.close();
  }
}

function refuseShared(path: string, mode: number): void {
  // Windows keeps no such bits.
  if (process.platform === 'win32' || (mode & OTHERS) === 0) return;
  throw new EngineError('KEY_FILE_UNSAFE', { path, mode: (mode & 0o777).toString(8) });
}

function unsafe(path: string, cause: unknown): unknown {
  if (cause instanceof EngineError) return cause;
  return new EngineError(
    'KEY_FILE_UNSAFE',
    { path, reason: codeOf(cause) ?? 'unknown' },
    { cause },
  );
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}
