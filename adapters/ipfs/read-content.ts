/**
 * Reads a file from any store that hashes what it gives out. Order and length are the tree's, and the
 * tree is hashed as well; sizes that nodes claim are held against what comes. Leaves that follow one
 * another come in one stream where there is one, which is hashed here, leaf by leaf; from the first
 * that does not come right, the rest is asked for block by block, and what is wrong shows there.
 */
import { anyOf } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import type { BlockStore, CallOptions } from './block-store.js';
import { codecOf, MAX_BLOCK_BYTES } from './cid.js';
import type { FileStream } from './file-stream.js';
import { readLeaves, type Leaf } from './read-leaves.js';
import { decodeNode, type FileLink } from './unixfs.js';

/** Blocks that are asked for before they are needed; their bytes are what a stream holds. */
const AHEAD = 8;
/** Rows of nodes above the leaves: enough for any file, and an end to what nests without one. */
const MAX_DEPTH = 16;

export interface ReadOptions extends CallOptions {
  /** Longer content is refused: before its first byte where its root says so, else as it shows. */
  readonly maxBytes: number;
  /** First byte wanted; 0 where not given. */
  readonly from?: number;
  /** Byte after the last one wanted; the end where not given. */
  readonly to?: number;
}

/** What files are read from. */
export interface ContentSource extends Pick<BlockStore, 'get'> {
  /** A quicker way to the same bytes, which nobody needs to believe. */
  readonly stream?: FileStream;
}

/** A part of the file that is wanted. */
interface Part {
  readonly cid: Cid;
  /** What the node above says; `null` of the root. */
  readonly claimed: number | null;
  /** Place of its first byte in the file. */
  readonly at: number;
  readonly depth: number;
  /** Once it is asked for. */
  block?: Promise<Uint8Array>;
}

/** Reads content in order, hashed.
 * @throws CONTENT_MISMATCH — a block is not that of its CID, or contradicts the node above it.
 * @throws CONTENT_TOO_LARGE — more than `maxBytes`.
 * @throws CONTENT_MISSING, IPFS_UNREACHABLE — as `BlockStore.get`. */
export async function* readContent(
  store: ContentSource,
  cid: Cid,
  options: ReadOptions,
): AsyncGenerator<Uint8Array> {
  const { maxBytes, from = 0, to = Infinity } = options;
  const stop = new AbortController();
  const signal = anyOf(stop.signal, options.signal);
  const fetch = (link: Cid): Promise<Uint8Array> => {
    const block = store.get(link, { signal });
    // One that is asked for ahead may fail before it is looked at.
    block.catch(() => {});
    return block;
  };
  let { stream } = store;
  /** What comes next, in order. */
  let parts: Part[] = [{ cid, claimed: null, at: 0, depth: 0 }];
  try {
    for (let part = parts[0]; part !== undefined; part = parts[0]) {
      const leaves = stream === undefined ? [] : leadingLeaves(parts);
      const last = leaves.at(-1);
      if (stream !== undefined && last !== undefined) {
        const range = { from: part.at, to: last.at + last.bytes, signal };
        const whole = yield* readLeaves(stream(cid, range), leaves, { from, to });
        options.signal?.throwIfAborted();
        parts = parts.slice(whole);
        if (whole < leaves.length) stream = undefined;
        continue;
      }
      part.block ??= fetch(part.cid);
      for (const next of parts.slice(1, AHEAD)) {
        // Leaves may come by stream once it is their turn.
        if (stream !== undefined && codecOf(next.cid) === 'raw') break;
        next.block ??= fetch(next.cid);
      }
      const { data, links, bytes } = readPart(part.cid, await part.block);
      if (part.claimed !== null && bytes !== part.claimed) throw mismatch(part.cid);
      if (part.claimed === null && bytes > maxBytes) throw tooLarge(bytes, maxBytes);
      if (part.depth > MAX_DEPTH) throw mismatch(part.cid);
      const [start, end] = [Math.max(from - part.at, 0), Math.min(to - part.at, data.length)];
      if (start < end) yield data.subarray(start, end);
      parts = [...below(part, data.length, links, from, to), ...parts.slice(1)];
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    stop.abort();
  }
}

/** Reads content that is known to be small in one piece.
 * @throws as `readContent`. */
export async function readWhole(
  store: ContentSource,
  cid: Cid,
  options: ReadOptions,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of readContent(store, cid, options)) parts.push(part);
  return Buffer.concat(parts);
}

/** The leaves at the head that follow one another without a gap; none where there is only one. */
function leadingLeaves(parts: readonly Part[]): Leaf[] {
  const leaves: Leaf[] = [];
  let end = parts[0]?.at;
  for (const { cid, claimed: bytes, at, depth } of parts) {
    if (bytes === null || bytes > MAX_BLOCK_BYTES || depth > MAX_DEPTH) break;
    if (at !== end || codecOf(cid) !== 'raw') break;
    leaves.push({ cid, at, bytes });
    end = at + bytes;
  }
  return leaves.length > 1 ? leaves : [];
}

function readPart(cid: Cid, block: Uint8Array) {
  switch (codecOf(cid)) {
    case 'raw':
      return { data: block, links: [], bytes: block.length };
    case 'dag-pb':
      return decodeNode(cid, block);
    case 'dag-cbor':
      throw mismatch(cid);
  }
}

/** The parts of a node that hold something of what is wanted. */
function below(
  node: Pick<Part, 'at' | 'depth'>,
  offset: number,
  links: readonly FileLink[],
  from: number,
  to: number,
): Part[] {
  const parts: Part[] = [];
  let at = node.at + offset;
  for (const { cid, bytes } of links) {
    // An empty part is nothing to wait for, and a tree of them could go on for ever.
    if (bytes > 0 && at < to && at + bytes > from) {
      parts.push({ cid, claimed: bytes, at, depth: node.depth + 1 });
    }
    at += bytes;
  }
  return parts;
}

function mismatch(cid: Cid): EngineError {
  return new EngineError('CONTENT_MISMATCH', { cid, expected: 'a file' });
}

function tooLarge(bytes: number, maxBytes: number): EngineError {
  return new EngineError('CONTENT_TOO_LARGE', { bytes, maxBytes });
}
