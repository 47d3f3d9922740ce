/**
 * age identities: the secret halves that open what was sealed to their recipients. Plain ones are
 * X25519; post-quantum ones are hybrids of X25519 and ML-KEM-768. Who has rotated has several in one
 * text, a line each, the newest first: what is sealed from now on is for that one, all of them open.
 * @see https://c2sp.org/age
 */
import {
  generateHybridIdentity,
  generateX25519Identity,
  identityToRecipient,
} from 'age-encryption';
import { EngineError } from '../../domain/errors.js';

export interface IdentityPair {
  /** `AGE-SECRET-KEY-1…` or `AGE-SECRET-KEY-PQ-1…`, a line for each, the newest first. A secret. */
  readonly identity: string;
  /** `age1…` or `age1pq1…`, of the newest. Public. */
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

/** The identities of a text, as the stock `age -i` reads it: comment lines start with `#`.
 * @returns lines that may be identities, in their order; nothing is checked. */
export function identitiesOf(text: string): readonly string[] {
  // Nearly every text is one identity and nothing else.
  if (!/\s|#/.test(text)) return text === '' ? [] : [text];
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** Computes the recipients of all identities of a text, in their order.
 * @throws REQUEST_INVALID — one of them is not an age identity, or there is none. */
export async function recipientsOf(identity: string): Promise<readonly [string, ...string[]]> {
  try {
    const [newest, ...older] = await Promise.all(identitiesOf(identity).map(identityToRecipient));
    if (newest !== undefined) return [newest, ...older];
  } catch {
    // No cause: the decoder's messages quote the text they were given.
  }
  throw new EngineError('REQUEST_INVALID', { field: 'identity', expected: 'an age identity' });
}

/** Computes the recipient of an identity; of several, of the newest. @throws as `recipientsOf` */
export async function recipientOf(identity: string): Promise<string> {
  return (await recipientsOf(identity))[0];
}

/** True for identities and recipients of the post-quantum kind; of several, for the newest. */
export function isPostQuantum(identityOrRecipient: string): boolean {
  return /^(AGE-SECRET-KEY-PQ-1|age1pq1)/.test(identityOrRecipient);
}
