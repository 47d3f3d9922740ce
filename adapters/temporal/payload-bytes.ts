/**
 * A payload as bytes, the plaintext of the codec: number of metadata entries, then each key and
 * value behind its length, then the data. Lengths are 32 bits, big endian.
 */
import { Buffer } from 'node:buffer';
import type { Payload } from '@temporalio/common';

const WORD = 4;

/** Writes a payload into one run of bytes. */
export function toBytes(payload: Payload): Buffer {
  const entries = Object.entries(payload.metadata ?? {}).map(
    ([key, value]) => [Buffer.from(key), value] as const,
  );
  const data = payload.data ?? new Uint8Array();
  const header = entries.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  const bytes = Buffer.allocUnsafe(WORD * (1 + 2 * entries.length) + header + data.length);
  let at = bytes.writeUInt32BE(entries.length);
  for (const part of entries.flat()) {
    at = bytes.writeUInt32BE(part.length, at);
    bytes.set(part, at);
    at += part.length;
  }
  bytes.set(data, at);
  return bytes;
}

/** Reads what `toBytes` wrote.
 * @throws RangeError — the bytes end before a length that they announce. */
export function fromBytes(bytes: Buffer): Payload {
  let at = WORD;
  const take = (): Buffer => {
    const start = at + WORD;
    at = start + bytes.readUInt32BE(at);
    if (at > bytes.length) throw new RangeError('cut short');
    return bytes.subarray(start, at);
  };
  const entries: [string, Uint8Array][] = [];
  for (let left = bytes.readUInt32BE(0); left > 0; left--) {
    const key = take().toString();
    entries.push([key, take()]);
  }
  // Unlike an assignment, this makes a plain entry of a key like `__proto__` too.
  const metadata = Object.fromEntries(entries);
  return { metadata, data: bytes.subarray(at) };
}
