/** Files that only their owner may read. Node only; browsers never import this. */
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
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

/** Replaces what a private file holds. Until the new content is whole on disk the old one stays; who
 * owns the file stays as it is, so that a service keeps its right to it.
 * @param change - makes the new content from the old one; when it throws, nothing has changed.
 * @throws SECRET_MISSING — no such file.
 * @throws KEY_FILE_UNSAFE — others may read it; or `<path>.new` is there: another replacement is under
 *   way, or was killed, and the file is to be removed by hand. */
export async function replacePrivateFile(
  path: string,
  change: (content: Uint8Array) => Promise<Uint8Array>,
): Promise<void> {
  // One fixed name, so that two at once do not each keep only what they themselves have added.
  const next = `${path}.new`;
  // First, since it says more plainly what is wrong with the file itself.
  await readPrivateFile(path);
  let file: FileHandle;
  try {
    file = await open(next, 'wx', 0o600);
  } catch (cause) {
    throw unsafe(next, cause);
  }
  let isReplaced = false;
  try {
    await file.writeFile(await change(await readPrivateFile(path)));
    const { uid, gid } = await stat(path);
    await file.chown(uid, gid);
    await file.sync();
    await rename(next, path);
    isReplaced = true;
    await syncFolder(dirname(path));
  } catch (cause) {
    throw unsafe(path, cause);
  } finally {
    await file.close();
    if (!isReplaced) await rm(next, { force: true });
  }
}

/** Without this a power cut may bring the old name back. */
async function syncFolder(path: string): Promise<void> {
  // Windows opens no folders.
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
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
