/**
 * age identities: the secret halves that open what was sealed to their recipients. Plain ones are
 * X25519; post-quantum ones are hybrids of X25519 and ML-KEM-768.
 * @see https://c2sp.org/age
 */
import {
  generateHybridIdentity,
  generateX25519Identity,
  identityToRecipient,
} from 'age-encryption';
import { EngineError } from '../../domain/errors.js';

export interface IdentityPair {
  /** `AGE-SECRET-KEY-1…` or `AGE-SECRET-KEY-PQ-1…`. A secret. */
  readonly identity: string;
  /** `age1…` or `age1pq1…`. Public. */
  readonly recipient: string;
}

/** Draws a new identity.
 * @param options - `postQuantum`: a hybrid one, for data that must stay private for decades. */
export async function createIdentity(
  options: { readonly postQuantum?: boolean } = {},
): Promise<IdentityPair> {
  const identity = await (options.postQuantum
    ? generateHybridIdentity()
    : generateX25519Identity());
  return { identity, recipient: await recipientOf(identity) };
}

/** Computes the recipient of an identity.
 * @throws REQUEST_INVALID — not an age identity. */
export async function recipientOf(identity: string): Promise<string> {
  try {
    return await identityToRecipient(identity);
  } catch {
    // No cause: the decoder's messages quote the text they were given.
    throw new EngineError('REQUEST_INVALID', { field: 'identity', expected: 'an age identity' });
  }
}

/** True for identities and recipients of the post-quantum kind. */
export function isPostQuantum(identityOrRecipient: string): boolean {
  return /^(AGE-SECRET-KEY-PQ-1|age1pq1)/.test(identityOrRecipient);
}
