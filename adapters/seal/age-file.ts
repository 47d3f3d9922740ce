/**
 * age files for X25519 recipients, written by Node's own cryptography. The age library asks Web Crypto,
 * which derives each public key twice more than it is needed, and sends bytes through a chain of
 * streams: for a few hundred bytes that takes eight times the CPU.
 * @see https://c2sp.org/age
 */
import { sealPayload } from './age-payload.js';
import { toUtf8 } from './bytes.js';
import type { NodeCrypto } from './native.js';

const BECH32 = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
const PREFIX = 'age1';
const CHECKSUM = 6;
const POINT_BYTES = 32;
/** Of bech32 behind `age1`: 32 bytes in groups of five bits, and the checksum. */
const TEXT_LENGTH = PREFIX.length + Math.ceil((8 * POINT_BYTES) / 5) + CHECKSUM;
const NONCE_BYTES = 12;

/** Writes files: to the same readers as often as wanted, each under keys of its own. */
export type AgeWriter = (plain: Uint8Array) => Uint8Array;

/** Makes a writer.
 * @param recipients - texts that the age library has taken: their checksums are not looked at.
 * @returns `null` where one of them is of another kind than X25519. */
export function ageWriter(recipients: readonly string[], node: NodeCrypto): AgeWriter | null {
  const points = recipients.map(pointOf);
  if (!points.every((point) => point !== null)) return null;
  return (plain) => {
    const fileKey = node.randomBytes(16);
    const stanzas = points.map((point) => stanzaOf(fileKey, point, node));
    const head = `age-encryption.org/v1\n${stanzas.join('')}---`;
    const macKey = derive(node, fileKey, new Uint8Array(), 'header');
    const mac = node.createHmac('sha256', macKey).update(head).digest();
    return sealPayload(plain, { fileKey, head: toUtf8(`${head} ${base64(mac)}\n`) }, node);
  };
}

/** The file key under a secret that only the recipient shares with a key of this stanza alone. */
function stanzaOf(fileKey: Uint8Array, theirs: Uint8Array, node: NodeCrypto): string {
  const x = Buffer.from(theirs).toString('base64url');
  const publicKey = node.createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'X25519', x } });
  const ephemeral = node.generateKeyPairSync('x25519');
  const ours = Buffer.from(ephemeral.publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
  const { privateKey } = ephemeral;
  // OpenSSL refuses a shared secret of zeros, and so a recipient of low order.
  const secret = node.diffieHellman({ privateKey, publicKey });
  const salt = Buffer.concat([ours, theirs]);
  const key = derive(node, secret, salt, 'age-encryption.org/v1/X25519');
  const body = encrypt(node, key, fileKey);
  return `-> X25519 ${base64(ours)}\n${base64(body)}\n`;
}

/** A key of one use has a nonce of zeros. */
function encrypt(node: NodeCrypto, key: Uint8Array, plain: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(NONCE_BYTES);
  const cipher = node.createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 });
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function derive(node: NodeCrypto, secret: Uint8Array, salt: Uint8Array, info: string): Uint8Array {
  return new Uint8Array(node.hkdfSync('sha256', secret, salt, toUtf8(info), 32));
}

/** Without padding, as age writes it. */
function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replace(/=+$/, '');
}

/** @returns the 32 bytes of an X25519 recipient; `null` where the text is of another kind. */
function pointOf(text: string): Uint8Array | null {
  if (!text.startsWith(PREFIX) || text.length !== TEXT_LENGTH) return null;
  const bytes = new Uint8Array(POINT_BYTES);
  let word = 0;
  let bits = 0;
  let at = 0;
  for (const letter of text.slice(PREFIX.length, -CHECKSUM)) {
    word = ((word << 5) | BECH32.indexOf(letter)) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = word >> bits;
  }
  return bytes;
}
