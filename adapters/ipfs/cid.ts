/**
 * Content addresses. Every document of the engine is one raw block under sha2-256, so that its CID is
 * its hash and nothing else, and 32 bytes on chain name it. What is larger than a block, and what
 * links others, has a node on top: the same hash over other bytes.
 * @see https://github.com/multiformats/cid
 */
import { createHash } from 'node:crypto';
import { CID } from 'multiformats/cid';
import { create as createDigest } from 'multiformats/hashes/digest';
import { EngineError } from '../../domain/errors.js';
import type { Cid, Hex } from '../../domain/ids.js';

const SHA2_256 = 0x12;

/** Largest block that is written or read, in bytes: what every IPFS implementation exchanges. */
export const MAX_BLOCK_BYTES = 1024 * 1024;

/** What a block may hold, by the code of its kind in a CID. */
export const CODECS = { raw: 0x55, 'dag-pb': 0x70, 'dag-cbor': 0x71 } as const;
/** `raw`: bytes; `dag-pb`: a file of many blocks; `dag-cbor`: a document with links. */
export type Codec = keyof typeof CODECS;

/** Computes the CID of one block: CIDv1, sha2-256, base32.
 * @param codec - what the block holds; bytes where not given. */
export function cidOf(bytes: Uint8Array, codec: Codec = 'raw'): Cid {
  return format(createHash('sha256').update(bytes).digest(), codec);
}

/** Reads the sha2-256 digest out of a CID, in the form that contracts store.
 * @throws REQUEST_INVALID — not the CIDv1 of a raw sha2-256 block. */
export function digestOf(cid: Cid): Hex {
  const { digest } = parseCid(cid).multihash;
  return `0x${Buffer.from(digest).toString('hex')}`;
}

/** Names the block that a digest on chain stands for.
 * @throws REQUEST_INVALID — not 0x and 64 hex digits. */
export function cidOfDigest(digest: Hex): Cid {
  if (!/^0x[0-9a-fA-F]{64}$/.test(digest)) {
    throw new EngineError('REQUEST_INVALID', { field: 'digest', expected: '0x and 64 hex digits' });
  }
  return format(Buffer.from(digest.slice(2), 'hex'), 'raw');
}

/** Parses a CID of unknown origin; only the kind of the engine's documents passes.
 * @throws REQUEST_INVALID — not the CIDv1 of a raw sha2-256 block. */
export function parseCid(cid: Cid): CID {
  const parsed = parseContentCid(cid);
  if (parsed.code !== CODECS.raw) throw unfit();
  return parsed;
}

/** Parses the CID of a block of any kind that the engine writes.
 * @throws REQUEST_INVALID — not the CIDv1 of a raw, dag-pb or dag-cbor sha2-256 block in base32. */
export function parseContentCid(cid: Cid): CID {
  let parsed: CID;
  try {
    parsed = CID.parse(cid);
  } catch (cause) {
    throw unfit(cause);
  }
  if (parsed.version !== 1 || parsed.multihash.code !== SHA2_256) throw unfit();
  // One block must have one name: `cidOf` prints lower-case base32.
  if (parsed.multihash.digest.length !== 32 || parsed.toString() !== cid) throw unfit();
  if (!Object.values<number>(CODECS).includes(parsed.code)) throw unfit();
  return parsed;
}

/** What the block of a CID holds.
 * @throws REQUEST_INVALID — as `parseContentCid`. */
export function codecOf(cid: Cid): Codec {
  const { code } = parseContentCid(cid);
  return code === CODECS.raw ? 'raw' : code === CODECS['dag-pb'] ? 'dag-pb' : 'dag-cbor';
}

/** The same block as mere bytes: the same hash, and nothing that it links.
 * @throws REQUEST_INVALID — as `parseContentCid`. */
export function asBytes(cid: Cid): Cid {
  return format(parseContentCid(cid).multihash.digest, 'raw');
}

/** True when bytes are those of a block.
 * @throws REQUEST_INVALID — as `parseContentCid`. */
export function isBlock(cid: Cid, bytes: Uint8Array): boolean {
  return cidOf(bytes, codecOf(cid)) === cid;
}

/** Checks the bytes of a block as they come.
 * @throws REQUEST_INVALID — as `parseContentCid`. */
export function blockHasher(cid: Cid): {
  update(part: Uint8Array): void;
  /** Whether all of them together are the block; asked once, at the end. */
  isWhole(): boolean;
} {
  const { digest } = parseContentCid(cid).multihash;
  const hash = createHash('sha256');
  return {
    update: (part) => void hash.update(part),
    isWhole: () => hash.digest().equals(digest),
  };
}

function format(digest: Uint8Array, codec: Codec): Cid {
  return CID.createV1(CODECS[codec], createDigest(SHA2_256, digest)).toString();
}

function unfit(cause?: unknown): EngineError {
  return new EngineError(
    'REQUEST_INVALID',
    { field: 'cid', expected: 'a CIDv1 of a raw sha2-256 block in base32' },
    { cause },
  );
}
