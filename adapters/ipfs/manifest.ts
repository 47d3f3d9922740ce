/**
 * Documents with links, as dag-cbor: what a manifest is on IPFS. In the engine a link is an object
 * with a `cid`; in the block it is a CID that any IPFS implementation follows.
 */
import { encode } from '@ipld/dag-cbor';
import { CID } from 'multiformats/cid';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import {
  parseManifest,
  type ManifestLink,
  type SessionManifest,
  type TaskManifest,
} from '../../domain/manifest.js';
import type { BlockStore, CallOptions, HolderOptions } from './block-store.js';
import { parseContentCid } from './cid.js';
import { decodeDocument } from './links.js';

/** Writes a document with links; each `cid` in it becomes a link.
 * @throws REQUEST_INVALID — a `cid` that is none; else as `BlockStore.put`. */
export function putDocument(
  store: BlockStore,
  value: unknown,
  options?: HolderOptions,
): Promise<Cid> {
  return store.put(encode(linked(value)), { ...options, codec: 'dag-cbor' });
}

/** Reads a document with links.
 * @throws CONTENT_MISMATCH — it is no dag-cbor; else as `BlockStore.get`, or what `parse` throws. */
export async function getDocument<T>(
  store: Pick<BlockStore, 'get'>,
  cid: Cid,
  parse: (value: unknown) => T,
  options?: CallOptions,
): Promise<T> {
  const block = await store.get(cid, options);
  return parse(unlinked(decodeDocument(cid, block)));
}

/** What a check of a session's manifest has counted. */
export interface ManifestCheck {
  readonly session: SessionManifest;
  readonly tasks: number;
  /** Blocks that were read and hashed. */
  readonly blocks: number;
  readonly bytes: number;
  /** Links to what is not there, by name: given up after the retention, or lost. */
  readonly missing: readonly Cid[];
}

/** Follows a session's manifest to its last block: every hash, every size, and that its tasks are
 * those of its session, each once.
 * @throws CONTENT_MISMATCH — a block is not that of its CID, has another size than the manifest says,
 *   or belongs to another session.
 * @throws REQUEST_INVALID — the root is no session manifest. @throws IPFS_UNREACHABLE */
export async function checkManifest(
  store: Pick<BlockStore, 'get'>,
  root: Cid,
  options: CallOptions & { readonly onTask?: (task: TaskManifest) => void } = {},
): Promise<ManifestCheck> {
  const { onTask, ...call } = options;
  const missing: Cid[] = [];
  let [blocks, bytes] = [0, 0];
  /** The block of a link, hashed and measured; `null` where it is not there. */
  const follow = async ({ cid, bytes: size }: ManifestLink): Promise<Uint8Array | null> => {
    try {
      const block = await store.get(cid, call);
      if (size !== null && block.length !== size) throw mismatch(cid, `${size} bytes`);
      blocks++;
      bytes += block.length;
      return block;
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== 'CONTENT_MISSING') throw error;
      missing.push(cid);
      return null;
    }
  };
  const document = async <K extends 'session' | 'tasks' | 'task'>(kind: K, link: ManifestLink) => {
    const block = await follow(link);
    if (block === null) return null;
    return parseManifest(kind, unlinked(decodeDocument(link.cid, block)));
  };

  const session = await document('session', { cid: root, bytes: null });
  if (session === null) throw new EngineError('CONTENT_MISSING', { cid: root });
  await followAll([session.policy, ...session.keyrings, ...session.archive], follow);
  const seen = new Set<number>();
  let isComplete = true;
  for (const link of session.tasks) {
    const list = await document('tasks', link);
    if (list === null) isComplete = false;
    else if (list.sessionId !== session.sessionId) throw mismatch(link.cid, 'its own session');
    for (const taskLink of list?.tasks ?? []) {
      const task = await document('task', taskLink);
      if (task === null) {
        isComplete = false;
        continue;
      }
      if (task.sessionId !== session.sessionId || seen.has(task.ordinal)) {
        throw mismatch(taskLink.cid, 'a task of its own session');
      }
      seen.add(task.ordinal);
      const { request, evidence, batch, results } = task;
      const parts = [request, evidence, batch, ...results.map(({ result }) => result)];
      await followAll(
        parts.filter((part) => part !== null),
        follow,
      );
      onTask?.(task);
    }
  }
  if (isComplete && seen.size !== session.taskCount) {
    throw mismatch(root, `${session.taskCount} tasks`);
  }
  return { session, tasks: seen.size, blocks, bytes, missing };
}

async function followAll(
  links: readonly ManifestLink[],
  follow: (link: ManifestLink) => Promise<unknown>,
): Promise<void> {
  await Promise.all(links.map(follow));
}

function linked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(linked);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      key === 'cid' && typeof item === 'string' ? parseContentCid(item) : linked(item),
    ]),
  );
}

function unlinked(value: unknown): unknown {
  const cid = CID.asCID(value);
  if (cid !== null) return cid.toString();
  if (Array.isArray(value)) return value.map(unlinked);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unlinked(item)]));
}

function mismatch(cid: Cid, expected: string): EngineError {
  return new EngineError('CONTENT_MISMATCH', { cid, expected });
}
