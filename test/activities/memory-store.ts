/** A block store in memory that re-hashes what it gives out, as the real one does. */
import { cidOf, isBlock } from '../../adapters/ipfs/cid.js';
import type { BlockStore } from '../../adapters/ipfs/block-store.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';

export interface MemoryStore extends BlockStore {
  unpin: BlockStore['unpin'];
  readonly blocks: Map<Cid, Uint8Array>;
}

export function memoryStore(): MemoryStore {
  const blocks = new Map<Cid, Uint8Array>();
  return {
    blocks,
    async put(bytes, { codec } = {}) {
      const cid = cidOf(bytes, codec);
      blocks.set(cid, bytes);
      return cid;
    },
    async get(cid) {
      const bytes = blocks.get(cid);
      if (bytes === undefined) throw new EngineError('CONTENT_MISSING', { cid });
      if (!isBlock(cid, bytes)) throw new EngineError('CONTENT_MISMATCH', { cid });
      return bytes;
    },
    async unpin(cid) {
      blocks.delete(cid);
    },
    async remove(cid) {
      blocks.delete(cid);
    },
  };
}
