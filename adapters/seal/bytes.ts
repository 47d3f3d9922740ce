/**
 * Bytes as text, in any JavaScript environment: Node's `Buffer` is not in browsers, and `btoa`
 * takes detours through strings. Base64 is RFC 4648 section 4, with padding, read strictly.
 */
import { EngineError } from '../../domain/errors.js';
import type { Hex } from '../../domain/ids.js';

/** Bytes over a plain buffer, the kind that Web Crypto's types ask for. */
export type Bytes = Uint8Array<ArrayBuffer>;

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const CODES = new Uint8Array(64);
const VALUES = new Uint8Array(128).fill(0xff);
for (let i = 0; i < 64; i++) {
  CODES[i] = ALPHABET.charCodeAt(i);
  VALUES[ALPHABET.charCodeAt(i)] = i;
}
const PADDING = '='.charCodeAt(0);
const ascii = new TextDecoder('latin1');
const utf8 = new TextEncoder();

/** Writes bytes as base64. */
export function toBase64(bytes: Uint8Array): string {
  const text = new Uint8Array(Math.ceil(bytes.length / 3) * 4);
  let at = 0;
  for (let i = 0; i < bytes.length; i += 3) {
    const word = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    text[at++] = CODES[word >> 18] ?? 0;
    text[at++] = CODES[(word >> 12) & 63] ?? 0;
    text[at++] = i + 1 < bytes.length ? (CODES[(word >> 6) & 63] ?? 0) : PADDING;
    text[at++] = i + 2 < bytes.length ? (CODES[word & 63] ?? 0) : PADDING;
  }
  return ascii.decode(text);
}

/** Reads base64; every text that it takes is the one that `toBase64` writes.
 * @throws SEAL_BROKEN — another alphabet, padding that is missing or off, bits left over. */
export function fromBase64(text: string): Bytes {
  if (text.length % 4 !== 0) throw broken();
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  const digits = text.length - padding;
  let word = 0;
  let bits = 0;
  let at = 0;
  for (let i = 0; i < digits; i++) {
    const value = VALUES[text.charCodeAt(i)] ?? 0xff;
    if (value === 0xff) throw broken();
    word = ((word << 6) | value) & 0xffffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = word >> bits;
  }
  if ((word & ((1 << bits) - 1)) !== 0) throw broken();
  return bytes;
}

/** Writes bytes as 0x and lower-case hex digits. */
export function toHex(bytes: Uint8Array): Hex {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return `0x${text}`;
}

/** Encodes text as UTF-8. */
export function toUtf8(text: string): Bytes {
  return utf8.encode(text);
}

function broken(): EngineError {
  return new EngineError('SEAL_BROKEN', { reason: 'not base64' });
}
