/**
 * Blocks on IPFS, by the hash of their bytes. Everything that the engine lays down is one, or a tree
 * of them; who reads one gets bytes that hash to its CID, or an error.
 */
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import { encodeJson } from './canonical.js';
import { MAX_BLOCK_BYTES, type Codec } from './cid.js';
import { openKubo } from './kubo.js';
import { openReplicas } from './replicas.js';

export { MAX_BLOCK_BYTES };

export interface CallOptions {
  /** Gives the call up early; its reason is thrown as it is. */
  readonly signal?: AbortSignal;
}

/** For whom a block is pinned, where the store counts that (held-store.ts). */
export interface HolderOptions extends CallOptions {
  /** A session's id, or a part of the engine; the engine itself where not given. */
  readonly holder?: string;
}

export interface PutOptions extends HolderOptions {
  /** What the block holds; bytes where not given. */
  readonly codec?: Codec;
  /** A keyring, which nobody but its holder may need. */
  readonly isKey?: boolean;
}

export interface BlockStore {
  /** Writes and pins a block, alone: what it links has pins of its own. Repeating it is harmless: the
   * same bytes have the same CID.
   * @throws CONTENT_TOO_LARGE — more than `MAX_BLOCK_BYTES`.
   * @throws CONTENT_MISMATCH — something was stored under another CID.
   * @throws IPFS_UNREACHABLE — no answer in time, or one that is no success. */
  put(bytes: Uint8Array, options?: PutOptions): Promise<Cid>;
  /** Reads a block and hashes it again before it returns.
   * @param options - `maxBytes`: larger blocks are refused; `MAX_BLOCK_BYTES` where not given.
   * @throws CONTENT_MISMATCH — the bytes are not those of the CID.
   * @throws CONTENT_MISSING — IPFS is there, and did not find the block in time.
   * @throws CONTENT_TOO_LARGE — the block is larger than `maxBytes`.
   * @throws IPFS_UNREACHABLE — IPFS is not there. */
  get(cid: Cid, options?: CallOptions & { readonly maxBytes?: number }): Promise<Uint8Array>;
  /** Gives a block up to garbage collection; one that is not pinned is left as it is.
   * @throws IPFS_UNREACHABLE — no answer in time, or one that is no success. */
  unpin(cid: Cid, options?: HolderOptions): Promise<void>;
  /** Unpins a block and takes it off every node at once; one that is not there is no error.
   * @throws IPFS_UNREACHABLE — no answer in time, or one that is no success. */
  remove(cid: Cid, options?: HolderOptions): Promise<void>;
}

/** Where blocks are: one Kubo, or several that hold the same. */
export interface BlockStoreConfig {
  readonly apiUrl: string;
  /** Deadline of each call, waiting for its turn included. */
  readonly timeoutMs: number;
  /** Further Kubo nodes that hold all that the first one does. */
  readonly replicas?: readonly string[];
  /** Nodes that must have proven that they hold a block before it counts as written, from 1. */
  readonly minReplicas?: number;
}

/** Opens the block store of a deployment. Connects on the first call. */
export function openBlockStore(config: BlockStoreConfig): BlockStore {
  const { apiUrl, timeoutMs, replicas = [], minReplicas = 1 } = config;
  const nodes = [apiUrl, ...replicas].map((url) => openKubo({ apiUrl: url, timeoutMs }));
  const [only] = nodes;
  if (nodes.length === 1 && only !== undefined) return only;
  return openReplicas(nodes, { minReplicas, timeoutMs });
}

/** Writes a document as canonical JSON.
 * @throws as `BlockStore.put`. */
export function putJson(store: BlockStore, value: unknown, options?: PutOptions): Promise<Cid> {
  return store.put(encodeJson(value), options);
}

/** Reads a document.
 * @param parse - checks what it is handed, and throws where it is not a `T`.
 * @throws REQUEST_INVALID — the block is not JSON; else as `BlockStore.get`, or what `parse` throws. */
export async function getJson<T>(
  store: BlockStore,
  cid: Cid,
  parse: (value: unknown) => T,
  options?: CallOptions,
): Promise<T> {
  const bytes = await store.get(cid, options);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    // The parser's own message quotes the document.
    throw new EngineError('REQUEST_INVALID', { field: 'content', expected: 'JSON', cid });
  }
  return parse(value);
}
