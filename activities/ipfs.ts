/** What the engine lays on IPFS: policies, keyrings at level `link`, settlement batches. */
import type { BlockStore } from '../adapters/ipfs/block-store.js';
import type { ArchivePage } from '../domain/archive.js';
import type { Cid, Hex, SessionId } from '../domain/ids.js';
import type { Keyring, KeyringRef, Reader } from '../domain/sealing.js';
import type { SessionPolicy } from '../domain/session.js';
import { sumBatch, type SettlementBatch } from '../domain/settlement.js';
import type { SettledTask } from '../domain/task.js';
import { translated } from './failure.js';

export interface IpfsActivities {
  /** The CID's digest is the policy hash that the owner signed. */
  pinPolicy(policy: SessionPolicy): Promise<Cid>;
  /** Makes a session's keyring where the client does not. Run twice, it makes two; the one that the
   * workflow records is the session's. */
  createKeyring(input: {
    readonly sessionId: SessionId;
    readonly readers: readonly Reader[];
  }): Promise<KeyringRef>;
  /** Adds up a batch and lays it out for the committee. The same tasks are the same batch. */
  buildBatch(tasks: readonly SettledTask[]): Promise<{ readonly batchCid: Cid }>;
  /** Lays out a page of a session's archive. The same records are the same page. */
  archiveTasks(page: Omit<ArchivePage, 'version'>): Promise<Cid>;
}

/** The cryptography that these activities need, handed in by the composition root. */
export interface IpfsActivityDeps {
  readonly store: BlockStore;
  /** Canonical JSON bytes, so that equal values have equal CIDs. */
  readonly encodeJson: (value: unknown) => Uint8Array;
  readonly createKeyring: (
    sessionId: SessionId,
  ) => Promise<{ readonly keyring: Keyring; readonly recipient: string }>;
  readonly wrapKeyring: (keyring: Keyring, readers: readonly string[]) => Promise<Uint8Array>;
  readonly taskLeaf: (task: SettledTask) => Hex;
  readonly merkleRoot: (leaves: readonly Hex[]) => Hex;
}

export function createIpfsActivities(deps: IpfsActivityDeps): IpfsActivities {
  const { store, encodeJson } = deps;
  return translated<IpfsActivities>({
    async pinPolicy(policy) {
      return await store.put(encodeJson(policy));
    },

    async createKeyring({ sessionId, readers }) {
      const { keyring, recipient } = await deps.createKeyring(sessionId);
      const file = await deps.wrapKeyring(
        keyring,
        readers.map((reader) => reader.recipient),
      );
      return { recipient, cid: await store.put(file) };
    },

    async buildBatch(tasks) {
      const root = deps.merkleRoot(tasks.map(deps.taskLeaf));
      // The root commits to the tasks, so it names the batch: same tasks, same id, one transaction.
      const batch: SettlementBatch = {
        version: 1,
        batchId: root,
        root,
        tasks,
        ...sumBatch(tasks),
      };
      return { batchCid: await store.put(encodeJson(batch)) };
    },

    async archiveTasks({ sessionId, previous, records }) {
      const page: ArchivePage = { version: 1, sessionId, previous, records };
      return await store.put(encodeJson(page));
    },
  });
}
