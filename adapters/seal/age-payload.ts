/**
 * What follows the header of an age file, by Node's own cryptography: chunks of 64 KiB under
 * ChaCha20-Poly1305, each with its number and a mark on the last. The age library's own cipher is
 * written in JavaScript, and takes many times as long.
 * @see https://c2sp.org/age#payload
 */
import type { FileHead } from './age-header.js';
import { toUtf8, type Bytes } from './bytes.js';
import type { NodeCrypto } from './native.js';

/** Bytes of each chunk but the last. */
export const CHUNK_BYTES = 64 * 1024;
/** Bytes by which a sealed chunk is longer. */
export const TAG_BYTES = 16;
/** Bytes in front of the first chunk. */
export const SALT_BYTES = 16;
const NONCE_BYTES = 12;

/** Seals or opens the chunks of one payload, in their order.
 * @param isLast - nothing follows; an empty payload has one chunk, and no other has an empty one.
 * @param into - is written from its start, and has room for what comes out. */
export type ChunkCipher = (chunk: Uint8Array, isLast: boolean, into: Uint8Array) => void;

/** Begins to seal a payload.
 * @param salt - 16 random bytes, which go in front of the chunks.
 * @returns what seals a chunk, its tag behind it. */
export function chunkSealer(fileKey: Uint8Array, salt: Uint8Array, node: NodeCrypto): ChunkCipher {
  const key = keyOf(fileKey, salt, node);
  let index = 0;
  return (chunk, isLast, into) => {
    const options = { authTagLength: TAG_BYTES } as const;
    const nonce = nonceOf(index++, isLast);
    const cipher = node.createCipheriv('chacha20-poly1305', key, nonce, options);
    into.set(cipher.update(chunk));
    cipher.final();
    into.set(cipher.getAuthTag(), chunk.length);
  };
}

/** Begins to open a payload.
 * @param salt - the 16 bytes in front of its chunks.
 * @returns what opens a chunk, and throws where it is not authentic: nothing is to be read then. */
export function chunkOpener(fileKey: Uint8Array, salt: Uint8Array, node: NodeCrypto): ChunkCipher {
  const key = keyOf(fileKey, salt, node);
  let index = 0;
  return (chunk, isLast, into) => {
    if (chunk.length < TAG_BYTES) throw new TypeError('cut short');
    // One that holds nothing is only ever the first.
    if (chunk.length === TAG_BYTES && index > 0) throw new TypeError('an empty chunk');
    const options = { authTagLength: TAG_BYTES } as const;
    const nonce = nonceOf(index++, isLast);
    const decipher = node.createDecipheriv('chacha20-poly1305', key, nonce, options);
    decipher.setAuthTag(chunk.subarray(-TAG_BYTES));
    into.set(decipher.update(chunk.subarray(0, -TAG_BYTES)));
    decipher.final();
  };
}

/** Seals a payload behind its header.
 * @returns the file. */
export function sealPayload(plain: Uint8Array, file: FileHead, node: NodeCrypto): Bytes {
  const { head, fileKey } = file;
  const chunks = Math.max(1, Math.ceil(plain.length / CHUNK_BYTES));
  const start = head.length + SALT_BYTES;
  const bytes = new Uint8Array(start + plain.length + chunks * TAG_BYTES);
  const salt = node.randomBytes(SALT_BYTES);
  bytes.set(head);
  bytes.set(salt, head.length);
  const seal = chunkSealer(fileKey, salt, node);
  for (let i = 0; i < chunks; i++) {
    const chunk = plain.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES);
    seal(chunk, i === chunks - 1, bytes.subarray(start + i * (CHUNK_BYTES + TAG_BYTES)));
  }
  return bytes;
}

/** Opens a payload.
 * @param payload - all that follows the header.
 * @throws Error — altered, or cut short. */
export function openPayload(payload: Uint8Array, fileKey: Uint8Array, node: NodeCrypto): Bytes {
  const sealed = payload.subarray(SALT_BYTES);
  const chunks = Math.max(1, Math.ceil(sealed.length / (CHUNK_BYTES + TAG_BYTES)));
  const plain = new Uint8Array(Math.max(0, sealed.length - chunks * TAG_BYTES));
  const open = chunkOpener(fileKey, payload.subarray(0, SALT_BYTES), node);
  for (let i = 0; i < chunks; i++) {
    const at = i * (CHUNK_BYTES + TAG_BYTES);
    const chunk = sealed.subarray(at, at + CHUNK_BYTES + TAG_BYTES);
    open(chunk, i === chunks - 1, plain.subarray(i * CHUNK_BYTES));
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
