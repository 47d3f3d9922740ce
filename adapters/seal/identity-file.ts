/**
 * Key files of the processes: age identities in the format of `age-keygen`, so that the stock `age
 * -i` reads them, and EVM keys as 0x and 64 hex digits. Node only; browsers never import this.
 */
import { randomBytes } from 'node:crypto';
import { EngineError } from '../../domain/errors.js';
import type { Hex } from '../../domain/ids.js';
import { createIdentity, recipientOf, type IdentityPair } from './identity.js';
import { createPrivateFile, readPrivateFile } from './private-file.js';

/** Draws an age identity and writes it to a new file, mode 0600.
 * @throws KEY_FILE_UNSAFE — a file is there already (it is left alone). */
export async function createIdentityFile(
  path: string,
  options: { readonly postQuantum?: boolean } = {},
): Promise<IdentityPair> {
  const pair = await createIdentity(options);
  await createNew(path, `# public key: ${pair.recipient}\n${pair.identity}\n`);
  return pair;
}

/** Reads an age identity file; comment lines start with `#`.
 * @throws SECRET_MISSING — no such file.
 * @throws KEY_FILE_UNSAFE — others may read it, or it does not hold exactly one identity. */
export async function readIdentityFile(path: string): Promise<IdentityPair> {
  const pair = await parseIdentity(new TextDecoder().decode(await readPrivateFile(path)));
  if (pair === undefined) throw unfit(path, 'one age identity');
  return pair;
}

/** Finds the identity in the text of an identity file.
 * @returns `undefined` where it does not hold exactly one. */
export async function parseIdentity(text: string): Promise<IdentityPair | undefined> {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const [identity] = lines;
  if (identity === undefined || lines.length > 1) return undefined;
  try {
    return { identity, recipient: await recipientOf(identity) };
  } catch {
    // The one error of `recipientOf`: not an identity. Callers name the place it came from.
    return undefined;
  }
}

/** Draws an EVM key and writes it to a new file, mode 0600.
 * @returns 0x and 64 hex digits.
 * @throws KEY_FILE_UNSAFE — a file is there already (it is left alone). */
export async function createKeyFile(path: string): Promise<Hex> {
  // 32 random bytes are outside the range of secp256k1's keys once in 2^128.
  const key: Hex = `0x${randomBytes(32).toString('hex')}`;
  await createNew(path, `${key}\n`);
  return key;
}

/** Reads an EVM key file.
 * @throws SECRET_MISSING — no such file.
 * @throws KEY_FILE_UNSAFE — others may read it, or it does not hold 0x and 64 hex digits. */
export async function readKeyFile(path: string): Promise<Hex> {
  const text = new TextDecoder().decode(await readPrivateFile(path)).trim();
  if (!/^0x[0-9a-fA-F]{64}$/.test(text)) throw unfit(path, '0x and 64 hex digits');
  return text as Hex;
}

async function createNew(path: string, content: string): Promise<void> {
  if (await createPrivateFile(path, new TextEncoder().encode(content))) return;
  throw new EngineError('KEY_FILE_UNSAFE', { path, reason: 'it is there already' });
}

function unfit(path: string, expected: string): EngineError {
  return new EngineError('KEY_FILE_UNSAFE', { path, expected });
}
