/**
 * Sealing at rest: ordinary age files, which the stock `age` command decrypts as well. age costs
 * milliseconds a recipient, so it stays off the hot path (`channel.ts` is the hot path).
 * @see https://c2sp.org/age
 */
import { Decrypter, Encrypter } from 'age-encryption';
import { EngineError } from '../../domain/errors.js';
import { ageWriter } from './age-file.js';
import { nodeCrypto } from './native.js';

/** Seals bytes as an age file that each of the recipients opens alone.
 * @param recipients - `age1…` or `age1pq1…`, at least one.
 * @throws REQUEST_INVALID — no recipient, or a text that is none. */
export async function sealAtRest(
  bytes: Uint8Array,
  recipients: readonly string[],
): Promise<Uint8Array> {
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
  // The library has read every text, and so refused what is none.
  const write = nodeCrypto === undefined ? null : ageWriter(recipients, nodeCrypto);
  return write === null ? encrypter.encrypt(bytes) : write(bytes);
}

/** Opens an age file. Data comes out only when all of it is authentic.
 * @throws SEAL_NOT_RECIPIENT — the identity is not among the readers; a damaged entry of the
 *   reader's own looks the same, since only its owner could tell.
 * @throws SEAL_BROKEN — no age file, or altered, or cut short.
 * @throws REQUEST_INVALID — `identity` is not an age identity. */
export async function openAtRest(bytes: Uint8Array, identity: string): Promise<Uint8Array> {
  const decrypter = new Decrypter();
  try {
    decrypter.addIdentity(identity);
  } catch {
    // No cause: the decoder's messages quote the text they were given.
    throw new EngineError('REQUEST_INVALID', { field: 'identity', expected: 'an age identity' });
  }
  try {
    return await decrypter.decrypt(bytes);
  } catch (cause) {
    const isStranger = cause instanceof Error && cause.message.startsWith('no identity matched');
    throw new EngineError(isStranger ? 'SEAL_NOT_RECIPIENT' : 'SEAL_BROKEN', {}, { cause });
  }
}
