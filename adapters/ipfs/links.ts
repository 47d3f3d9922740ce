/** What a block links, whatever kind it is of: how trees of blocks are walked, copied and checked. */
import { decode } from '@ipld/dag-cbor';
import { CID } from 'multiformats/cid';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import { codecOf, parseContentCid } from './cid.js';
import { decodeNode } from './unixfs.js';

/** The CIDs in a block, in its own order; none in bytes.
 * @param block - hashes to `cid` already.
 * @throws CONTENT_MISMATCH — it is not what its CID says it holds.
 * @throws REQUEST_INVALID — it links a kind of block that the engine does not write. */
export function linksOf(cid: Cid, block: Uint8Array): readonly Cid[] {
  const codec = codecOf(cid);
  if (codec === 'raw') return [];
  if (codec === 'dag-pb') return decodeNode(cid, block).links.map((link) => link.cid);
  return [...cidsIn(decodeDocument(cid, block))];
}

/** Reads a dag-cbor block.
 * @param block - hashes to `cid` already.
 * @throws CONTENT_MISMATCH — it is no dag-cbor. */
export function decodeDocument(cid: Cid, block: Uint8Array): unknown {
  try {
    return decode(block);
  } catch (cause) {
    throw new EngineError('CONTENT_MISMATCH', { cid, expected: 'dag-cbor' }, { cause });
  }
}

function* cidsIn(value: unknown): Generator<Cid> {
  const cid = CID.asCID(value);
  if (cid !== null) {
    const text = cid.toString();
    parseContentCid(text);
    yield text;
  } else if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array)) {
    for (const item of Object.values(value)) yield* cidsIn(item);
  }
}
