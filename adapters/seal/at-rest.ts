/**
 * Sealing at rest: ordinary age files, which the stock `age` command decrypts as well. age costs
 * milliseconds a recipient, so it stays off the hot path (`channel.ts` is the hot path).
 * @see https://c2sp.org/age
 */
import { Decrypter, Encrypter } from 'age-encryption';
import { EngineError } from '../../domain/errors.js';
import { ageWriter } from './age-file.js';
import { headerEnd, writeHeader } from './age-header.js';
import { openPayload, sealPayload } from './age-payload.js';
import { identitiesOf } from './identity.js';
import { nodeCrypto } from './native.js';

/** Seals bytes as an age file that each of the recipients opens alone.
 * @param recipients - `age1…` or `age1pq1…`, at least one.
 * @throws REQUEST_INVALID — no recipient, or a text that is none. */
export async function sealAtRest(
  bytes: Uint8Array,
  recipients: readonly string[],
): Promise<Uint8Array> {
  const encrypter = encrypterFor(recipients);
  // The library has read every text, and so refused what is none.
  if (nodeCrypto === undefined) return await encrypter.encrypt(bytes);
  const write = ageWriter(recipients, nodeCrypto);
  return write === null
    ? sealPayload(bytes, await writeHeader(encrypter), nodeCrypto)
    : write(bytes);
}

/** The library's own, for these readers. @throws REQUEST_INVALID — as `sealAtRest` */
export function encrypterFor(recipients: readonly string[]): Encrypter {
  if (recipients.length === 0) {
    throw new EngineError('REQUEST_INVALID', { field: 'recipients', expected: 'at least one' });
  }
  const encrypter = new Encrypter();
  for (const recipient of recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch (cause) {
      throw new EngineError(
        'REQUEST_INVALID',
        { field: 'recipients', expected: 'age recipients' },
        { cause },
      );
    }
  }
  return encrypter;
}

/** Opens an age file. Data comes out only when all of it is authentic.
 * @param identity - one, or after a rotation several, a line each: any of them opens.
 * @throws SEAL_NOT_RECIPIENT — the identity is not among the readers; a damaged entry of the
 *   reader's own looks the same, since only its owner could tell.
 * @throws SEAL_BROKEN — no age file, or altered, or cut short.
 * @throws REQUEST_INVALID — `identity` is not an age identity. */
export async function openAtRest(bytes: Uint8Array, identity: string): Promise<Uint8Array> {
  const decrypter = decrypterFor(identity);
  const end = nodeCrypto === undefined ? null : headerEnd(bytes);
  try {
    // Without an end it is no age file, and the library says why.
    if (nodeCrypto === undefined || end === null) return await decrypter.decrypt(bytes);
    const fileKey = await decrypter.decryptHeader(bytes.subarray(0, end));
    return openPayload(bytes.subarray(end), fileKey, nodeCrypto);
  } catch (cause) {
    throw openFailure(cause);
  }
}

/** The library's own, with all identities of a text. @throws REQUEST_INVALID — as `openAtRest` */
export function decrypterFor(identity: string): Decrypter {
  const decrypter = new Decrypter();
  const identities = identitiesOf(identity);
  try {
    if (identities.length === 0) throw new TypeError('no identity');
    for (const one of identities) decrypter.addIdentity(one);
  } catch {
    // No cause: the decoder's messages quote the text they were given.
    throw new EngineError('REQUEST_INVALID', { field: 'identity', expected: 'an age identity' });
  }
  return decrypter;
}

/** What the library's failure to open a file means. */
export function openFailure(cause: unknown): EngineError {
  const isStranger = cause instanceof Error && cause.message.startsWith('no identity matched');
  return new EngineError(isStranger ? 'SEAL_NOT_RECIPIENT' : 'SEAL_BROKEN', {}, { cause });
}
