/**
 * What follows the header of an age file, by Node's own cryptography: chunks of 64 KiB under
 * ChaCha20-Poly1305, each with its number and a mark on the last. The age library's own cipher is
 * written in JavaScript, and takes six times as long.
 * @see https://c2sp.org/age#payload
 */
import { toUtf8, type Bytes } from './bytes.js';
import type { NodeCrypto } from './native.js';

const CHUNK_BYTES = 64 * 1024;
const TAG_BYTES = 16;
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const CIPHER = 'chacha20-poly1305';

/** Seals the payload of a file.
 * @param fileKey - 16 bytes that the header has wrapped; of this file alone.
 * @param head - the header.
 * @returns the file. */
export function sealPayload(
  plain: Uint8Array,
  { fileKey, head }: { readonly fileKey: Uint8Array; readonly head: Uint8Array },
  node: NodeCrypto,
): Bytes {
  // An empty file has one chunk, and no other has an empty one.
  const chunks = Math.max(1, Math.ceil(plain.length / CHUNK_BYTES));
  const start = head.length + SALT_BYTES;
  const file = new Uint8Array(start + plain.length + chunks * TAG_BYTES);
  const salt = node.randomBytes(SALT_BYTES);
  file.set(head);
  file.set(salt, head.length);
  const key = keyOf(fileKey, salt, node);
  for (let i = 0; i < chunks; i++) {
    const options = { authTagLength: TAG_BYTES } as const;
    const cipher = node.createCipheriv(CIPHER, key, nonceOf(i, i === chunks - 1), options);
    const chunk = plain.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES);
    const at = start + i * (CHUNK_BYTES + TAG_BYTES);
    file.set(cipher.update(chunk), at);
    cipher.final();
    file.set(cipher.getAuthTag(), at + chunk.length);
  }
  return file;
}

/** Opens the payload of a file.
 * @param payload - all that follows the header.
 * @throws Error — altered, or cut short. */
export function openPayload(payload: Uint8Array, fileKey: Uint8Array, node: NodeCrypto): Bytes {
  const sealed = payload.subarray(SALT_BYTES);
  const chunks = Math.max(1, Math.ceil(sealed.length / (CHUNK_BYTES + TAG_BYTES)));
  const length = sealed.length - chunks * TAG_BYTES;
  // One that holds nothing is only ever the first.
  if (length < 0 || (chunks > 1 && length <= (chunks - 1) * CHUNK_BYTES)) {
    throw new TypeError('cut short');
  }
  const plain = new Uint8Array(length);
  const key = keyOf(fileKey, payload.subarray(0, SALT_BYTES), node);
  for (let i = 0; i < chunks; i++) {
    const at = i * (CHUNK_BYTES + TAG_BYTES);
    const chunk = sealed.subarray(at, at + CHUNK_BYTES + TAG_BYTES);
    const options = { authTagLength: TAG_BYTES } as const;
    const decipher = node.createDecipheriv(CIPHER, key, nonceOf(i, i === chunks - 1), options);
    decipher.setAuthTag(chunk.subarray(-TAG_BYTES));
    plain.set(decipher.update(chunk.subarray(0, -TAG_BYTES)), i * CHUNK_BYTES);
    // Throws unless the chunk is authentic.
    decipher.final();
  }
  return plain;
}

function keyOf(fileKey: Uint8Array, salt: Uint8Array, node: NodeCrypto): Uint8Array {
  return new Uint8Array(node.hkdfSync('sha256', fileKey, salt, toUtf8('payload'), 32));
}

/** The chunk's number in 11 bytes, big-endian, and a mark on the last. */
function nonceOf(index: number, isLast: boolean): Uint8Array {
  const nonce = new Uint8Array(NONCE_BYTES);
  new DataView(nonce.buffer).setBigUint64(NONCE_BYTES - 9, BigInt(index));
  nonce[NONCE_BYTES - 1] = isLast ? 1 : 0;
  return nonce;
}
