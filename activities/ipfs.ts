/** What the engine lays on IPFS: policies, keyrings at level `link`, settlement batches. */
import { Context } from '@temporalio/activity';
import type { BlockStore } from '../adapters/ipfs/block-store.js';
import type { HeldStore } from '../adapters/ipfs/held-store.js';
import { parseArchivePage, type ArchivePage } from '../domain/archive.js';
import { sessionHolder, type RepairReport } from '../domain/content.js';
import { findEngineError, type ErrorCode } from '../domain/errors.js';
import type { Delivery } from '../domain/hosting.js';
import type { Cid, Hex, SessionId } from '../domain/ids.js';
import {
  describeTask,
  TASKS_A_LIST,
  type ManifestLink,
  type SessionManifest,
  type TaskList,
} from '../domain/manifest.js';
import type { Keyring, KeyringRef, Reader } from '../domain/sealing.js';
import type { SessionPolicy } from '../domain/session.js';
import { sumBatch, type SettlementBatch } from '../domain/settlement.js';
import type { TaskRecord } from '../domain/lease.js';
import type { SettledTask, TaskEvidence } from '../domain/task.js';
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
  /** Unpins requests, results and evidence of the records of an archive's page, from place `from` on;
   * blocks that others need too stay. What is gone already stays so; run twice, it changes nothing.
   * @returns the place to go on from; `null` at the end of the page. */
  releaseTasks(input: { readonly page: Cid; readonly from: number }): Promise<number | null>;
  /** Gives up a block that a session needed, unless somebody else needs it too. */
  unpin(block: { readonly sessionId: SessionId; readonly cid: Cid }): Promise<void>;
  /** Copies requests, results and evidence of ended tasks to the session's own host, reads them back
   * from there, and lets requests and results go where that is asked for; evidence, which holds no
   * content, stays here too. Heartbeats after each block; run twice, it changes nothing.
   * @throws HOST_UNREACHABLE, ADDRESS_REFUSED, SECRET_MISSING */
  deliverTasks(input: {
    readonly sessionId: SessionId;
    readonly host: string;
    readonly tasks: readonly Delivery[];
  }): Promise<void>;
  /** Gives up requests and results of tasks that no host has taken. */
  giveUpTasks(input: {
    readonly sessionId: SessionId;
    readonly tasks: readonly Delivery[];
  }): Promise<void>;
  /** Writes the manifests of the records of an archive's page, from place `from` on. The same records
   * over the same content are the same manifests.
   * @returns their list, `null` of an empty page; and the place to go on from, `null` at the end. */
  describeTasks(input: { readonly page: Cid; readonly from: number }): Promise<{
    readonly list: ManifestLink | null;
    readonly tasks: number;
    readonly next: number | null;
  }>;
  /** Looks at one part of all that is pinned, on every IPFS node, and restores what it can.
   * Heartbeats after each pin; run twice, it finds nothing the second time. */
  repairPart(input: { readonly part: number; readonly of: number }): Promise<RepairReport>;
  /** Writes the manifest of a session, on top of those of its tasks. */
  writeManifest(input: ManifestInput): Promise<Cid>;
}

/** What a session's workflow knows of its content: references only. */
export interface ManifestInput extends Pick<SessionManifest, 'chainId' | 'sessionId' | 'owner'> {
  readonly policy: Cid;
  readonly keyrings: readonly Cid[];
  readonly archive: readonly Cid[];
  readonly tasks: readonly ManifestLink[];
  readonly taskCount: number;
}

/** Records whose content is released in one activity. */
const RELEASED_AT_ONCE = 50;

/** The cryptography that these activities need, handed in by the composition root. */
export interface IpfsActivityDeps {
  readonly store: BlockStore;
  /** Reads a JSON document by CID; its bytes are re-hashed, its shape is `parse`'s to check. */
  readonly readJson: <T>(cid: Cid, parse: (value: unknown) => T) => Promise<T>;
  /** Writes a document whose `cid`s are links. */
  readonly putDocument: (value: unknown, holder: string) => Promise<Cid>;
  /** Canonical JSON bytes, so that equal values have equal CIDs. */
  readonly encodeJson: (value: unknown) => Uint8Array;
  readonly createKeyring: (
    sessionId: SessionId,
  ) => Promise<{ readonly keyring: Keyring; readonly recipient: string }>;
  readonly wrapKeyring: (keyring: Keyring, readers: readonly string[]) => Promise<Uint8Array>;
  /** Repairs a part of what is pinned; `onProgress` is called after each pin. */
  readonly repair: (
    input: { readonly part: number; readonly of: number },
    call: { readonly signal: AbortSignal; readonly onProgress: () => void },
  ) => Promise<RepairReport>;
  readonly copyTo: HeldStore['copyTo'];
  readonly taskLeaf: (task: SettledTask) => Hex;
  readonly merkleRoot: (leaves: readonly Hex[]) => Hex;
}

export function createIpfsActivities(deps: IpfsActivityDeps): IpfsActivities {
  const { store, encodeJson, readJson, putDocument } = deps;
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
      const holder = sessionHolder(sessionId);
      return { recipient, cid: await store.put(file, { holder, isKey: true }) };
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
      return await store.put(encodeJson(page), { holder: sessionHolder(sessionId) });
    },

    async releaseTasks({ page, from }) {
      const { sessionId, records } = await readJson(page, parseArchivePage);
      const slice = records.slice(from, from + RELEASED_AT_ONCE);
      await Promise.all(slice.map((record) => releaseTask(deps, sessionId, record)));
      const next = from + slice.length;
      return next < records.length ? next : null;
    },

    async deliverTasks({ sessionId, host, tasks }) {
      const context = Context.current();
      const { cancellationSignal: signal } = context;
      const holder = sessionHolder(sessionId);
      const copy = async (cid: Cid, letGo: boolean): Promise<void> => {
        // What is not there cannot be brought there.
        await unless(['CONTENT_MISSING'], deps.copyTo(host, cid, { holder, letGo }, { signal }));
        context.heartbeat();
      };
      for (const { requestCid, evidenceCid, letGo } of tasks) {
        const results = evidenceCid === null ? [] : await resultsIn(deps, evidenceCid);
        for (const cid of [...results, requestCid]) await copy(cid, letGo);
        if (evidenceCid !== null) await copy(evidenceCid, false);
      }
    },

    async giveUpTasks({ sessionId, tasks }) {
      const context = Context.current();
      const holder = sessionHolder(sessionId);
      for (const { requestCid, evidenceCid } of tasks) {
        const results = evidenceCid === null ? [] : await resultsIn(deps, evidenceCid);
        for (const cid of [...results, requestCid]) await store.unpin(cid, { holder });
        context.heartbeat();
      }
    },

    async unpin({ sessionId, cid }) {
      await store.unpin(cid, { holder: sessionHolder(sessionId) });
    },

    async describeTasks({ page, from }) {
      const { sessionId, records } = await readJson(page, parseArchivePage);
      const slice = records.slice(from, from + TASKS_A_LIST);
      const next = from + slice.length < records.length ? from + slice.length : null;
      if (slice.length === 0) return { list: null, tasks: 0, next };
      const tasks: ManifestLink[] = [];
      for (let i = 0; i < slice.length; i += DESCRIBED_AT_ONCE) {
        const some = slice.slice(i, i + DESCRIBED_AT_ONCE);
        tasks.push(...(await Promise.all(some.map((task) => writeTask(deps, sessionId, task)))));
      }
      const list: TaskList = { version: 1, kind: 'tasks', sessionId, tasks };
      return {
        list: await linkTo(store, await putDocument(list, sessionHolder(sessionId))),
        tasks: slice.length,
        next,
      };
    },

    async repairPart(input) {
      const context = Context.current();
      return await deps.repair(input, {
        signal: context.cancellationSignal,
        onProgress: () => context.heartbeat(),
      });
    },

    async writeManifest({ policy, keyrings, archive, ...rest }) {
      const links = (cids: readonly Cid[]) => Promise.all(cids.map((cid) => linkTo(store, cid)));
      const manifest: SessionManifest = {
        version: 1,
        kind: 'session',
        ...rest,
        policy: await linkTo(store, policy),
        keyrings: await links(keyrings),
        archive: await links(archive),
      };
      return await putDocument(manifest, sessionHolder(rest.sessionId));
    },
  });
}

/** Tasks that are described side by side. */
const DESCRIBED_AT_ONCE = 10;

/** Writes the manifest of a task. What is not there any more is named without a size. */
async function writeTask(
  deps: IpfsActivityDeps,
  sessionId: SessionId,
  record: TaskRecord,
): Promise<ManifestLink> {
  const { store, readJson, putDocument } = deps;
  const { evidenceCid, requestCid, batchCid } = record;
  const evidence =
    evidenceCid === null
      ? null
      : await unless(['CONTENT_MISSING', 'CONTENT_MISMATCH'], readJson(evidenceCid, asEvidence));
  const results = evidence?.commitments.map(({ resultCid }) => resultCid) ?? [];
  const cids = [requestCid, evidenceCid, batchCid, ...results].filter((cid) => cid !== null);
  const sizes = new Map<Cid, number>();
  for (const { cid, bytes } of await Promise.all(cids.map((cid) => linkTo(store, cid)))) {
    if (bytes !== null) sizes.set(cid, bytes);
  }
  const manifest = describeTask(sessionId, record, evidence, sizes);
  return await linkTo(store, await putDocument(manifest, sessionHolder(sessionId)));
}

/** A link with its size, by what is really there: the block is read and hashed. */
async function linkTo(store: BlockStore, cid: Cid): Promise<ManifestLink> {
  // A user's host that is away does not keep a manifest from being written.
  const absent = ['CONTENT_MISSING', 'CONTENT_MISMATCH', 'HOST_UNREACHABLE'] as const;
  const block = await unless(absent, store.get(cid));
  return { cid, bytes: block?.length ?? null };
}

/** `null` where reading ends in one of these. */
async function unless<T>(codes: readonly ErrorCode[], read: Promise<T>): Promise<T | null> {
  try {
    return await read;
  } catch (error) {
    const code = findEngineError(error)?.code;
    if (code !== undefined && codes.includes(code)) return null;
    throw error;
  }
}

/** The evidence goes last: it names the results, and a release that was cut short starts with it. */
async function releaseTask(
  deps: IpfsActivityDeps,
  sessionId: SessionId,
  task: TaskRecord,
): Promise<void> {
  const { store } = deps;
  const { requestCid, evidenceCid } = task;
  const holder = sessionHolder(sessionId);
  const results = evidenceCid === null ? [] : await resultsIn(deps, evidenceCid);
  for (const cid of [...results, requestCid]) await store.unpin(cid, { holder });
  if (evidenceCid !== null) await store.unpin(evidenceCid, { holder });
}

/** None where the evidence is gone: then its results were released before it. */
async function resultsIn(
  { readJson }: Pick<IpfsActivityDeps, 'readJson'>,
  evidenceCid: Cid,
): Promise<readonly Cid[]> {
  const evidence = await unless(['CONTENT_MISSING'], readJson(evidenceCid, asEvidence));
  return evidence?.commitments.map(({ resultCid }) => resultCid) ?? [];
}

const asEvidence = (value: unknown) => value as TaskEvidence;
