/**
 * Headers of age files, which the library writes and reads; what follows one is sealed natively
 * (`age-payload.ts`).
 * @see https://c2sp.org/age#header
 */
import type { Encrypter } from 'age-encryption';
import { toUtf8 } from './bytes.js';

/** Bytes of the payload of an empty file: its salt, and the tag of its one chunk. */
const EMPTY_PAYLOAD_BYTES = 32;
const LINE_END = 10;
/** The last line begins so, and none before it: base64 has no hyphens. */
const LAST_LINE = toUtf8('\n---');

/** A header, and the key of 16 bytes that it wraps. The key is of one file alone. */
export interface FileHead {
  readonly head: Uint8Array;
  readonly fileKey: Uint8Array;
}

/** Has the library write a header for the readers it knows, with a key of its own. */
export async function writeHeader(encrypter: Encrypter): Promise<FileHead> {
  let fileKey = new Uint8Array();
  // A reader that takes the key and leaves nothing in the file.
  encrypter.addRecipient({
    wrapFileKey(key) {
      fileKey = Uint8Array.from(key);
      return [];
    },
  });
  const empty = await encrypter.encrypt(new Uint8Array());
  // The key will seal another payload: under a salt of its own, and so another key.
  return { fileKey, head: empty.subarray(0, -EMPTY_PAYLOAD_BYTES) };
}

/** @returns the place of the first byte behind the header; `null` where it has no end yet. */
export function headerEnd(bytes: Uint8Array): number | null {
  const isLastLine = (at: number) => LAST_LINE.every((byte, i) => bytes[at + i] === byte);
  for (let at = bytes.indexOf(LINE_END); at >= 0; at = bytes.indexOf(LINE_END, at + 1)) {
    if (!isLastLine(at)) continue;
    const end = bytes.indexOf(LINE_END, at + 1);
    return end < 0 ? null : end + 1;
  }
  return null;
}
