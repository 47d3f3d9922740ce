/**
 * Content addresses. Every block of the engine is a raw block under sha2-256, so that its CID is
 * its hash and nothing else, and 32 bytes on chain name it.
 * @see https://github.com/multiformats/cid
 */
import { createHash } from 'node:crypto';
import { CID } from 'multiformats/cid';
import { create as createDigest } from 'multiformats/hashes/digest';
import { EngineError } from '../../domain/errors.js';
import type { Cid, Hex } from '../../domain/ids.js';

const RAW = 0x55;
const SHA2_256 = 0x12;

/** Computes the CID of one block: CIDv1, raw, sha2-256, base32. */
export function cidOf(bytes: Uint8Array): Cid {
  return format(createHash('sha256').update(bytes).digest());
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
  return format(Buffer.from(digest.slice(2), 'hex'));
}

/** Parses a CID of unknown origin; only the engine's own kind passes.
 * @throws REQUEST_INVALID — not the CIDv1 of a raw sha2-256 block. */
export function parseCid(cid: Cid): CID {
  let parsed: CID;
  try {
    parsed = CID.parse(cid);
  } catch (cause) {
    throw unfit(cause);
  }
  if (parsed.version !== 1 || parsed.code !== RAW || parsed.multihash.code !== SHA2_256) {
    throw unfit();
  }
  // One block must have one name: `cidOf` prints lower-case base32.
  if (parsed.multihash.digest.length !== 32 || parsed.toString() !== cid) throw unfit();
  return parsed;
}

function format(digest: Uint8Array): Cid {
  return CID.createV1(RAW, createDigest(SHA2_256, digest)).toString();
}

function unfit(cause?: unknown): EngineError {
  return new EngineError(
    'REQUEST_INVALID',
    { field: 'cid', expected: 'a CIDv1 of a raw sha2-256 block in base32' },
    { cause },
  );
}
