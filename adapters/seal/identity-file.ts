/**
 * Key files of the processes: age identities in the format of `age-keygen`, so that the stock `age
 * -i` reads them, and EVM keys as 0x and 64 hex digits. Node only; browsers never import this.
 */
import { randomBytes } from 'node:crypto';
import type { SecretRef } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { Hex } from '../../domain/ids.js';
import { createIdentity, identitiesOf, recipientOf, type IdentityPair } from './identity.js';
import { isLocked, lock, unlock } from './passphrase.js';
import { createPrivateFile, readPrivateFile, replacePrivateFile } from './private-file.js';
import { readSecret } from './secret.js';

/** Draws an age identity and writes it to a new file, mode 0600.
 * @param options - `passphrase`: the file is an age file that opens with it.
 * @throws KEY_FILE_UNSAFE — a file is there already (it is left alone). */
export async function createIdentityFile(
  path: string,
  options: { readonly postQuantum?: boolean; readonly passphrase?: string } = {},
): Promise<IdentityPair> {
  const pair = await createIdentity(options);
  const text = encode(entryOf(pair));
  const { passphrase } = options;
  await createNew(path, passphrase === undefined ? text : await lock(text, passphrase));
  return pair;
}

/** Reads an age identity file: one identity, or after rotations several. One that is behind a
 * passphrase is opened with what `CORTENSOR_PASSPHRASE` refers to.
 * @throws SECRET_MISSING — no such file, or no passphrase for it.
 * @throws KEY_FILE_UNSAFE — others may read it, it does not hold age identities and nothing else, or
 *   the passphrase is another. */
export async function readIdentityFile(path: string): Promise<IdentityPair> {
  return await readIdentity(`file:${path}`);
}

/** Reads the age identities behind a reference; in a variable, a locked file is an armored one.
 * @throws as `readIdentityFile` */
export async function readIdentity(reference: SecretRef): Promise<IdentityPair> {
  const isFile = reference.startsWith('file:');
  const place = isFile ? reference.slice('file:'.length) : reference;
  const bytes = isFile ? await readPrivateFile(place) : encode(await readSecret(reference));
  const pair = await parseIdentity(decode(await unlocked(bytes, place)));
  if (pair === undefined) throw unfit(place, 'age identities');
  return pair;
}

/** Adds an identity to a file, on top of those that are there: what is sealed from now on is for the
 * new one, and what was sealed before still opens. A locked file stays locked, with its passphrase.
 * @throws SECRET_MISSING, KEY_FILE_UNSAFE — as `readIdentityFile` and `replacePrivateFile`; the file
 *   is as it was. */
export async function rotateIdentityFile(
  path: string,
  options: { readonly postQuantum?: boolean } = {},
): Promise<IdentityPair> {
  const pair = await createIdentity(options);
  const { recipient } = pair;
  let identity = '';
  await replacePrivateFile(path, async (bytes) => {
    const passphrase = isLocked(bytes) ? await readPassphrase() : undefined;
    const before = decode(passphrase === undefined ? bytes : await unlock(bytes, passphrase, path));
    const known = await parseIdentity(before);
    if (known === undefined) throw unfit(path, 'age identities');
    identity = `${pair.identity}\n${known.identity}`;
    const text = encode(entryOf(pair) + before);
    return passphrase === undefined ? text : await lock(text, passphrase);
  });
  return { identity, recipient };
}

/** Finds the identities in the text of an identity file.
 * @returns `undefined` where it holds none, or something else. */
export async function parseIdentity(text: string): Promise<IdentityPair | undefined> {
  const identity = identitiesOf(text).join('\n');
  try {
    return { identity, recipient: await recipientOf(identity) };
  } catch {
    // The one error of `recipientOf`: not an identity. Callers name the place it came from.
    return undefined;
  }
}

/** The variable that says where the passphrase of locked identity files is: `env:NAME` or `file:PATH`. */
const PASSPHRASE_VARIABLE = 'CORTENSOR_PASSPHRASE';

async function readPassphrase(): Promise<string> {
  const reference = await readSecret(`env:${PASSPHRASE_VARIABLE}`);
  if (!/^(file|env):./.test(reference)) {
    // Not repeated: it may be the passphrase itself.
    throw unfit(`env:${PASSPHRASE_VARIABLE}`, 'file:PATH or env:NAME');
  }
  return await readSecret(reference as SecretRef);
}

async function unlocked(bytes: Uint8Array, place: string): Promise<Uint8Array> {
  return isLocked(bytes) ? await unlock(bytes, await readPassphrase(), place) : bytes;
}

function entryOf({ identity, recipient }: IdentityPair): string {
  return `# public key: ${recipient}\n${identity}\n`;
}

/** Draws an EVM key and writes it to a new file, mode 0600.
 * @returns 0x and 64 hex digits.
 * @throws KEY_FILE_UNSAFE — a file is there already (it is left alone). */
export async function createKeyFile(path: string): Promise<Hex> {
  // 32 random bytes are outside the range of secp256k1's keys once in 2^128.
  const key: Hex = `0x${randomBytes(32).toString('hex')}`;
  await createNew(path, encode(`${key}\n`));
  return key;
}

/** Reads an EVM key file.
 * @throws SECRET_MISSING — no such file.
 * @throws KEY_FILE_UNSAFE — others may read it, or it does not hold 0x and 64 hex digits. */
export async function readKeyFile(path: string): Promise<Hex> {
  const text = decode(await readPrivateFile(path)).trim();
  if (!/^0x[0-9a-fA-F]{64}$/.test(text)) throw unfit(path, '0x and 64 hex digits');
  return text as Hex;
}

async function createNew(path: string, content: Uint8Array): Promise<void> {
  if (await createPrivateFile(path, content)) return;
  throw new EngineError('KEY_FILE_UNSAFE', { path, reason: 'it is there already' });
}

function unfit(path: string, expected: string): EngineError {
  return new EngineError('KEY_FILE_UNSAFE', { path, expected });
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
