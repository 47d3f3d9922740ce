/**
 * age's X25519 recipient over Node's own cryptography. The age library asks Web Crypto, which derives
 * each public key twice more than it is needed: ten times the CPU for the same stanza.
 * @see https://c2sp.org/age#the-x25519-recipient-type
 */
import { Stanza, type Recipient } from 'age-encryption';
import { toUtf8 } from './bytes.js';
import type { NodeCrypto } from './native.js';

const BECH32 = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
const PREFIX = 'age1';
const CHECKSUM = 6;
const POINT_BYTES = 32;
/** Of bech32 behind `age1`: 32 bytes in groups of five bits, and the checksum. */
const TEXT_LENGTH = PREFIX.length + Math.ceil((8 * POINT_BYTES) / 5) + CHECKSUM;
/** Makes the recipient that a text names.
 * @param text - one that the age library has taken: neither checksum nor padding are looked at.
 * @returns `null` where it is of another kind than X25519. */
export function x25519Recipient(text: string, node: NodeCrypto): Recipient | null {
  if (!text.startsWith(PREFIX) || text.length !== TEXT_LENGTH) return null;
  const theirs = bytesOf(text.slice(PREFIX.length, -CHECKSUM));
  const x = Buffer.from(theirs).toString('base64url');
  const publicKey = node.createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'X25519', x } });
  return {
    wrapFileKey(fileKey) {
      const ephemeral = node.generateKeyPairSync('x25519');
      const share = ephemeral.publicKey.export({ format: 'jwk' }).x ?? '';
      const ours = Buffer.from(share, 'base64url');
      const { privateKey } = ephemeral;
      // OpenSSL refuses a shared secret of zeros, and so a recipient of low order.
      const secret = node.diffieHellman({ privateKey, publicKey });
      const salt = Buffer.concat([ours, theirs]);
      const info = toUtf8('age-encryption.org/v1/X25519');
      const key = new Uint8Array(node.hkdfSync('sha256', secret, salt, info, 32));
      const cipher = node.createCipheriv('chacha20-poly1305', key, new Uint8Array(12), {
        authTagLength: 16,
      });
      const body = [cipher.update(fileKey), cipher.final(), cipher.getAuthTag()];
      const name = ours.toString('base64').replace(/=+$/, '');
      return [new Stanza(['X25519', name], Buffer.concat(body))];
    },
  };
}

function bytesOf(data: string): Uint8Array {
  const bytes = new Uint8Array(POINT_BYTES);
  let word = 0;
  let bits = 0;
  let at = 0;
  for (const letter of data) {
    word = ((word << 5) | BECH32.indexOf(letter)) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = word >> bits;
  }
  return bytes;
}
