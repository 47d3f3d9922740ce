/** Keys that commands are given, by reference: never on the command line, where others can see them. */
import { Wallet } from 'ethers';
import { readIdentity } from '../adapters/seal/identity-file.js';
import type { IdentityPair } from '../adapters/seal/identity.js';
import { readSecret } from '../adapters/seal/secret.js';
import type { SecretRef } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';

/** The signing key of whoever acts. */
export const KEY_OPTION = {
  key: {
    value: 'REF',
    about: 'the signing key, as file:PATH or env:NAME: 0x and 64 hex digits',
    isRequired: true,
  },
} as const;

/** The age identity of whoever acts. */
export const IDENTITY_OPTION = {
  identity: {
    value: 'REF',
    about: 'the age identity, as file:PATH or env:NAME',
    isRequired: true,
  },
} as const;

/** Reads a reference as it is typed.
 * @throws USAGE — it is none; the text is not repeated, since it may be the key itself. */
export function parseSecretRef(text: string, option: string): SecretRef {
  if (/^file:.+$/s.test(text)) return text as SecretRef;
  if (/^env:[A-Za-z_][A-Za-z0-9_]*$/.test(text)) return text as SecretRef;
  throw new EngineError('USAGE', { option: `--${option}`, expected: 'file:PATH or env:NAME' });
}

/** Opens the signing key behind a reference.
 * @throws USAGE — not a reference.
 * @throws SECRET_MISSING, KEY_FILE_UNSAFE — it is not there, can be read by others, or is no key. */
export async function openSigner(text: string, option = 'key'): Promise<Wallet> {
  const ref = parseSecretRef(text, option);
  const key = await readSecret(ref);
  if (!/^0x[0-9a-fA-F]{64}$/.test(key)) {
    throw new EngineError('KEY_FILE_UNSAFE', { path: ref, expected: '0x and 64 hex digits' });
  }
  return new Wallet(key);
}

/** Opens the age identities behind a reference. @throws as `openSigner` */
export async function openIdentity(text: string, option = 'identity'): Promise<IdentityPair> {
  return await readIdentity(parseSecretRef(text, option));
}
