/**
 * The ciphers under a session's channel: HKDF-SHA-256, AES-256-GCM and HMAC-SHA-256, once over Node's
 * synchronous functions and once over Web Crypto. Both make the same bytes.
 */
import { toUtf8, type Bytes } from './bytes.js';
import { nodeCrypto, type NodeCrypto } from './native.js';

const KEY_BYTES = 32;
const TAG_BYTES = 16;
const GCM = 'aes-256-gcm';

/** What one frame is sealed under, beside its stream's key. */
export interface FrameTerms {
  /** 12 bytes, never twice under one key. */
  readonly nonce: Bytes;
  /** Authenticated with the frame. */
  readonly context: Bytes;
}

/** Seals and opens under the key of one stream. */
export interface StreamCipher {
  /** @returns the ciphertext, with its tag of 16 bytes behind it. */
  seal(plain: Uint8Array, terms: FrameTerms): Bytes | Promise<Bytes>;
  /** @throws Error — not authentic. */
  open(sealed: Uint8Array, terms: FrameTerms): Bytes | Promise<Bytes>;
}

/** Keys that are derived from one channel key. */
export interface ChannelKeys {
  /** Derives the key of a stream. */
  stream(salt: Bytes, info: string): StreamCipher | Promise<StreamCipher>;
  /** Derives a key for HMAC-SHA-256. @returns what authenticates messages under it. */
  hmac(salt: string, info: string): Promise<(message: Uint8Array) => Bytes | Promise<Bytes>>;
}

/** Opens a channel key of 32 bytes, in whatever is quickest here. */
export function openChannelKeys(master: Bytes): ChannelKeys | Promise<ChannelKeys> {
  return nodeCrypto === undefined ? webKeys(master) : nativeKeys(master, nodeCrypto);
}

/** Channel keys over `node:crypto`. */
export function nativeKeys(
  master: Bytes,
  { createCipheriv, createDecipheriv, createHmac, hkdfSync }: NodeCrypto,
): ChannelKeys {
  const derive = (salt: Bytes, info: string) =>
    new Uint8Array(hkdfSync('sha256', master, salt, toUtf8(info), KEY_BYTES));
  return {
    stream(salt, info) {
      const key = derive(salt, info);
      return {
        seal(plain, { nonce, context }) {
          const cipher = createCipheriv(GCM, key, nonce, { authTagLength: TAG_BYTES });
          cipher.setAAD(context);
          const parts = [cipher.update(plain), cipher.final(), cipher.getAuthTag()];
          return new Uint8Array(Buffer.concat(parts));
        },
        open(sealed, { nonce, context }) {
          const end = sealed.length - TAG_BYTES;
          if (end < 0) throw new TypeError('shorter than its tag');
          const decipher = createDecipheriv(GCM, key, nonce, { authTagLength: TAG_BYTES });
          decipher.setAAD(context);
          decipher.setAuthTag(sealed.subarray(end));
          const parts = [decipher.update(sealed.subarray(0, end)), decipher.final()];
          return new Uint8Array(Buffer.concat(parts));
        },
      };
    },
    async hmac(salt, info) {
      const key = derive(toUtf8(salt), info);
      return (message) => new Uint8Array(createHmac('sha256', key).update(message).digest());
    },
  };
}

/** Channel keys over Web Crypto. */
export async function webKeys(bytes: Bytes): Promise<ChannelKeys> {
  const { subtle } = crypto;
  const master = await subtle.importKey('raw', bytes, 'HKDF', false, ['deriveKey']);
  const hkdf = (salt: Bytes, info: string) =>
    ({ name: 'HKDF', hash: 'SHA-256', salt, info: toUtf8(info) }) as const;
  const gcm = ({ nonce: iv, context: additionalData }: FrameTerms) =>
    ({ name: 'AES-GCM', iv, additionalData }) as const;
  return {
    async stream(salt, info) {
      const aes = { name: 'AES-GCM', length: 8 * KEY_BYTES };
      const uses = ['encrypt', 'decrypt'] as const;
      const key = await subtle.deriveKey(hkdf(salt, info), master, aes, false, uses);
      return {
        seal: async (plain, terms) =>
          new Uint8Array(await subtle.encrypt(gcm(terms), key, plain as Bytes)),
        open: async (sealed, terms) =>
          new Uint8Array(await subtle.decrypt(gcm(terms), key, sealed as Bytes)),
      };
    },
    async hmac(salt, info) {
      const sha256 = { name: 'HMAC', hash: 'SHA-256', length: 8 * KEY_BYTES };
      const key = await subtle.deriveKey(hkdf(toUtf8(salt), info), master, sha256, false, ['sign']);
      return async (message) => new Uint8Array(await subtle.sign('HMAC', key, message as Bytes));
    },
  };
}
