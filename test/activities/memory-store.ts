/** A block store in memory that re-hashes what it gives out, as the real one does. */
import { cidOf } from '../../adapters/ipfs/cid.js';
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
    async put(bytes) {
      const cid = cidOf(bytes);
      blocks.set(cid, bytes);
      return cid;
    },
    async get(cid) {
      const bytes = blocks.get(cid);
      if (bytes === undefined) throw new EngineError('CONTENT_MISSING', { cid });
      if (cidOf(bytes) !== cid) throw new EngineError('CONTENT_MISMATCH', { cid });
      return bytes;
    },
    async unpin(cid) {
      blocks.delete(cid);
    },
  };
}
