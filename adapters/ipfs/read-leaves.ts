/** Takes leaves out of a stream that is not to be believed. */
import type { Cid } from '../../domain/ids.js';
import { blockHasher } from './cid.js';

/** A leaf of a file, as its hashed node names it. */
export interface Leaf {
  readonly cid: Cid;
  /** Place of its first byte in the file. */
  readonly at: number;
  readonly bytes: number;
}

/** Reads leaves that follow one another, and hands on the bytes of each once all of it was hashed; holds
 * one leaf.
 * @param stream - their bytes, as somebody says.
 * @param wanted - bytes of the file to hand on, the last one not included.
 * @returns how many came right, and were handed on. The stream was other, shorter or broken after
 *   those; that is no error yet, since others may have the block. */
export async function* readLeaves(
  stream: AsyncIterable<Uint8Array>,
  leaves: readonly Leaf[],
  wanted: { readonly from: number; readonly to: number },
): AsyncGenerator<Uint8Array, number> {
  const iterator = stream[Symbol.asyncIterator]();
  /** What came together with the end of the leaf before. */
  let rest: Uint8Array = new Uint8Array();
  try {
    for (const [index, { cid, at, bytes }] of leaves.entries()) {
      const hasher = blockHasher(cid);
      const parts: Uint8Array[] = [];
      for (let missing = bytes; missing > 0;) {
        if (rest.length === 0) {
          const next = await iterator.next().catch(() => null);
          if (next === null || next.done === true) return index;
          rest = next.value;
        }
        const part = rest.subarray(0, missing);
        rest = rest.subarray(part.length);
        missing -= part.length;
        hasher.update(part);
        parts.push(part);
      }
      if (!hasher.isWhole()) return index;
      let start = at;
      for (const part of parts) {
        const [first, end] = [
          Math.max(wanted.from - start, 0),
          Math.min(wanted.to - start, part.length),
        ];
        if (first < end) yield part.subarray(first, end);
        start += part.length;
      }
    }
    return leaves.length;
  } finally {
    await iterator.return?.();
  }
}
