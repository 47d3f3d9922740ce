/**
 * Files that are larger than a block, as UnixFS writes them: raw leaves, and nodes that link them in
 * order. Written in one way only, the profile `unixfs-v1-2025` of the IPFS specifications, so that
 * the same bytes have the same CID everywhere; read in every way in which a file can be written.
 * @see https://specs.ipfs.tech/unixfs/
 */
import { CID } from 'multiformats/cid';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import { cidOf, parseContentCid } from './cid.js';

/** Bytes of each leaf but the last. */
export const LEAF_BYTES = 1024 * 1024;
/** Links of each node but the last of its row. */
export const NODE_LINKS = 1024;
/** UnixFS: what a node stands for. */
const TYPE_RAW = 0;
const TYPE_FILE = 2;

/** A part of a file, as the node above it names it. */
export interface FileLink {
  readonly cid: Cid;
  /** Bytes of the file below it. */
  readonly bytes: number;
}

/** One node of a file: bytes of its own come first, then those of its parts. */
export interface FileNode {
  readonly data: Uint8Array;
  readonly links: readonly FileLink[];
  /** All bytes of the file below it. */
  readonly bytes: number;
}

interface WrittenLink extends FileLink {
  /** Bytes of all blocks below it, its own included. */
  readonly blockBytes: number;
}

/** Builds the tree of a file leaf by leaf; holds one node of each row, whatever the file's size. */
export class FileTree {
  readonly #rows: WrittenLink[][] = [[]];
  readonly #onNode: (bytes: Uint8Array, cid: Cid) => void;

  /** @param onNode - is handed each node once it is whole; leaves are the caller's. */
  constructor(onNode: (bytes: Uint8Array, cid: Cid) => void = () => {}) {
    this.#onNode = onNode;
  }

  /** Adds the next leaf: `LEAF_BYTES` but for the last.
   * @returns its CID. */
  addLeaf(bytes: Uint8Array): Cid {
    const cid = cidOf(bytes);
    this.#add(0, { cid, bytes: bytes.length, blockBytes: bytes.length });
    return cid;
  }

  /** Ends the file.
   * @returns its root: the leaf itself where there is one. */
  finish(): FileLink {
    if (this.#rows[0]?.length === 0) this.addLeaf(new Uint8Array());
    for (let row = 0; ; row++) {
      const links = this.#rows[row] ?? [];
      const [only] = links;
      if (row === this.#rows.length - 1 && links.length === 1 && only !== undefined) return only;
      this.#close(row);
    }
  }

  #add(row: number, link: WrittenLink): void {
    const links = (this.#rows[row] ??= []);
    if (links.length === NODE_LINKS) this.#close(row);
    links.push(link);
  }

  #close(row: number): void {
    const links = this.#rows[row] ?? [];
    const node = encodeNode(links);
    const cid = cidOf(node, 'dag-pb');
    this.#onNode(node, cid);
    const [bytes, below] = [sum(links, (l) => l.bytes), sum(links, (l) => l.blockBytes)];
    links.length = 0;
    this.#add(row + 1, { cid, bytes, blockBytes: below + node.length });
  }
}

/** Reads a node of a file.
 * @param block - hashes to `cid` already.
 * @throws CONTENT_MISMATCH — it is no node of a file, or contradicts itself. */
export function decodeNode(cid: Cid, block: Uint8Array): FileNode {
  try {
    return readNode(block);
  } catch (cause) {
    throw new EngineError('CONTENT_MISMATCH', { cid, expected: 'a node of a file' }, { cause });
  }
}

// --- protobuf -----------------------------------------------------------------------------------

function encodeNode(links: readonly WrittenLink[]): Uint8Array {
  const parts = links.map(({ cid, blockBytes }) => {
    const hash = parseContentCid(cid).bytes;
    // A link without a name has an empty one.
    return field(2, concat([field(1, hash), field(2, new Uint8Array()), number(3, blockBytes)]));
  });
  const sizes = links.map(({ bytes }) => number(4, bytes));
  const file = concat([
    number(1, TYPE_FILE),
    number(
      3,
      sum(links, (l) => l.bytes),
    ),
    ...sizes,
  ]);
  return concat([...parts, field(1, file)]);
}

function readNode(block: Uint8Array): FileNode {
  const targets: Cid[] = [];
  let file: Uint8Array | undefined;
  for (const { tag, bytes } of fields(block)) {
    if (tag === 2) targets.push(readLink(bytes));
    else if (tag === 1 && file === undefined) file = bytes;
    else throw new Error(`field ${tag} of a node`);
  }
  if (file === undefined) throw new Error('no UnixFS data');
  let data = new Uint8Array();
  let [type, size]: [number | undefined, number | undefined] = [undefined, undefined];
  const sizes: number[] = [];
  for (const { tag, bytes, value } of fields(file)) {
    if (tag === 1) type = value;
    else if (tag === 2) data = new Uint8Array(bytes);
    else if (tag === 3) size = value;
    else if (tag === 4) sizes.push(value);
  }
  if (type !== TYPE_FILE && type !== TYPE_RAW) throw new Error('not a file');
  if (sizes.length !== targets.length) throw new Error('sizes and links do not match');
  const links = targets.map((cid, i) => ({ cid, bytes: sizes[i] ?? 0 }));
  const bytes = data.length + sum(links, (l) => l.bytes);
  if (!Number.isSafeInteger(bytes) || (size !== undefined && size !== bytes)) {
    throw new Error('sizes do not add up');
  }
  return { data, links, bytes };
}

function readLink(link: Uint8Array): Cid {
  for (const { tag, bytes } of fields(link)) {
    if (tag !== 1) continue;
    // Version 0 and 1 name the same block; blocks are asked for by version 1.
    const cid = CID.decode(bytes).toV1().toString();
    parseContentCid(cid);
    return cid;
  }
  throw new Error('a link to nothing');
}

interface Field {
  readonly tag: number;
  /** Of a field that has a length; else empty. */
  readonly bytes: Uint8Array;
  /** Of a field that is a number; else 0. */
  readonly value: number;
}

function* fields(message: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++];
      if (byte === undefined) throw new Error('cut short');
      value += (byte & 127) * scale;
      if (value > Number.MAX_SAFE_INTEGER) throw new Error('a number too large');
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const key = varint();
    const [tag, kind] = [Math.floor(key / 8), key % 8];
    if (kind === 0) yield { tag, bytes: new Uint8Array(), value: varint() };
    else if (kind === 2) {
      const length = varint();
      if (at + length > message.length) throw new Error('cut short');
      yield { tag, bytes: message.subarray(at, at + length), value: 0 };
      at += length;
    } else throw new Error(`wire type ${kind}`);
  }
}

function varintOf(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) + 128);
  }
}

function number(tag: number, value: number): Uint8Array {
  return Uint8Array.from([tag * 8, ...varintOf(value)]);
}

function field(tag: number, bytes: Uint8Array): Uint8Array {
  return concat([Uint8Array.from([tag * 8 + 2, ...varintOf(bytes.length)]), bytes]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
