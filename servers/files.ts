/** Files of the data folder: replaced whole, never seen half-written, also after a power cut. */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** Writes aside, syncs, and renames into place; mode 0600. The folder is created when missing. */
export function replaceFile(path: string, content: string | Uint8Array): void {
  const aside = writeAside(path, content);
  renameSync(aside, path);
}

/**
 * Reads a secret of 32 hexadecimal characters, and creates it on the first call. Two callers at once
 * get the same one. The file has mode 0600, its folder 0700.
 */
export function readOrCreateSecret(path: string): string {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const aside = writeAside(path, randomBytes(16).toString('hex'));
  try {
    linkSync(aside, path);
  } catch (error) {
    // EEXIST: there already, which is the usual case.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { force: true });
  }
  return readFileSync(path, 'utf8').trim();
}

function writeAside(path: string, content: string | Uint8Array): string {
  mkdirSync(dirname(path), { recursive: true });
  const aside = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  const file = openSync(aside, 'wx', 0o600);
  try {
    const bytes = Buffer.from(content);
    for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  return aside;
}
