/**
 * Manifests: what a session has laid on IPFS, so that all of it can be found, checked and taken away
 * by one address. Each is a document with links; the schema is in docs/storage.md.
 */
import { EngineError } from './errors.js';
import type { Address, Cid, Hex, SessionId, TaskId } from './ids.js';
import type { TaskRecord } from './lease.js';
import type { WeiString } from './money.js';
import type { TaskEvidence, TokenUsage } from './task.js';
import type { Verdict } from './verdict.js';

/** A link to one block. */
export interface ManifestLink {
  readonly cid: Cid;
  /** Its size; `null` where it was not there when the manifest was written. */
  readonly bytes: number | null;
}

/** One task: what was asked, answered and judged, and what it cost. */
export interface TaskManifest {
  readonly version: 1;
  readonly kind: 'task';
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  readonly ordinal: number;
  readonly outcome: TaskRecord['outcome'];
  readonly request: ManifestLink;
  /** `null` when no miner had committed. */
  readonly evidence: ManifestLink | null;
  /** One for each miner that has committed, in the evidence's order. */
  readonly results: readonly {
    readonly miner: Address;
    readonly result: ManifestLink;
    readonly usage: TokenUsage;
  }[];
  /** `null` without evidence. */
  readonly verdict: Verdict | null;
  /** What is billed. */
  readonly usage: TokenUsage | null;
  readonly chargeWei: WeiString;
  readonly payments: TaskRecord['payments'];
  /** `null` until it is settled. */
  readonly settlementTx: Hex | null;
  readonly batch: ManifestLink | null;
}

/** Manifests of some tasks of a session, so that no block has to name all of them. */
export interface TaskList {
  readonly version: 1;
  readonly kind: 'tasks';
  readonly sessionId: SessionId;
  readonly tasks: readonly ManifestLink[];
}

/** All that a session has laid on IPFS. */
export interface SessionManifest {
  readonly version: 1;
  readonly kind: 'session';
  readonly chainId: number;
  readonly sessionId: SessionId;
  readonly owner: Address;
  readonly policy: ManifestLink;
  /** Every keyring that it has had; none at level `open`. */
  readonly keyrings: readonly ManifestLink[];
  /** Pages of records, oldest first. */
  readonly archive: readonly ManifestLink[];
  /** Task lists, in the archive's order. */
  readonly tasks: readonly ManifestLink[];
  readonly taskCount: number;
}

/** Tasks of one list. */
export const TASKS_A_LIST = 100;

/** Writes the manifest of a task.
 * @param evidence - `null` where there is none, or it is gone.
 * @param sizes - of the blocks that are there. */
export function describeTask(
  sessionId: SessionId,
  record: TaskRecord,
  evidence: TaskEvidence | null,
  sizes: ReadonlyMap<Cid, number>,
): TaskManifest {
  const link = (cid: Cid): ManifestLink => ({ cid, bytes: sizes.get(cid) ?? null });
  const { taskId, ordinal, outcome, usage, chargeWei, payments, settlementTx } = record;
  return {
    version: 1,
    kind: 'task',
    sessionId,
    taskId,
    ordinal,
    outcome,
    request: link(record.requestCid),
    evidence: record.evidenceCid === null ? null : link(record.evidenceCid),
    results: (evidence?.commitments ?? []).map((commitment) => ({
      miner: commitment.miner,
      result: link(commitment.resultCid),
      usage: commitment.usage,
    })),
    verdict: evidence?.verdict ?? null,
    usage,
    chargeWei,
    payments,
    settlementTx,
    batch: record.batchCid === null ? null : link(record.batchCid),
  };
}

/** Reads a manifest of unknown origin; its links are checked when they are followed.
 * @throws REQUEST_INVALID — not a manifest of that kind. */
export function parseManifest<K extends AnyManifest['kind']>(
  kind: K,
  value: unknown,
): Extract<AnyManifest, { kind: K }> {
  const given = value as Record<string, unknown> | null;
  const isOne =
    typeof given === 'object' &&
    given?.['version'] === 1 &&
    given['kind'] === kind &&
    typeof given['sessionId'] === 'string' &&
    FIELDS[kind].every(([field, isFit]) => isFit(given[field]));
  if (!isOne) {
    throw new EngineError('REQUEST_INVALID', { field: 'manifest', expected: `a ${kind} manifest` });
  }
  return given as unknown as Extract<AnyManifest, { kind: K }>;
}

export type AnyManifest = SessionManifest | TaskList | TaskManifest;

const isText = (value: unknown): boolean => typeof value === 'string';
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;
const isLink = (value: unknown): boolean => {
  const link = value as Partial<ManifestLink> | null | undefined;
  return typeof link?.cid === 'string' && (link.bytes === null || isCount(link.bytes));
};
const orNull = (isFit: (value: unknown) => boolean) => (value: unknown) =>
  value === null || isFit(value);
const listOf = (isFit: (value: unknown) => boolean) => (value: unknown) =>
  Array.isArray(value) && value.every(isFit);

type Field = readonly [name: string, isFit: (value: unknown) => boolean];
const FIELDS: Readonly<Record<AnyManifest['kind'], readonly Field[]>> = {
  session: [
    ['chainId', isCount],
    ['owner', isText],
    ['policy', isLink],
    ['keyrings', listOf(isLink)],
    ['archive', listOf(isLink)],
    ['tasks', listOf(isLink)],
    ['taskCount', isCount],
  ],
  tasks: [['tasks', listOf(isLink)]],
  task: [
    ['taskId', isText],
    ['ordinal', isCount],
    ['request', isLink],
    ['evidence', orNull(isLink)],
    ['results', listOf((item) => isLink((item as { readonly result?: unknown } | null)?.result))],
    ['chargeWei', isText],
    ['batch', orNull(isLink)],
  ],
};
