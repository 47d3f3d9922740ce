/**
 * Export: a session as rows of its user's own store, how far that has come, and the receipts that say
 * what was written, found or removed. Keys of `ExportRows` are the names of the tables.
 */
import type { Address, Cid, Hex, SessionId, TaskId } from './ids.js';
import type { TaskRecord } from './lease.js';
import type { WeiString } from './money.js';
import type { SealingLevel } from './sealing.js';
import type { SessionState } from './session.js';
import type { TaskOutcome } from './task.js';

export interface SessionRow {
  readonly sessionId: SessionId;
  readonly owner: Address;
  readonly state: SessionState;
  readonly model: string;
  readonly level: SealingLevel;
  readonly redundancy: number;
  readonly policyCid: Cid | null;
  readonly keyringCid: Cid | null;
  readonly pricePerTokenWei: WeiString;
  readonly depositedWei: WeiString;
  readonly chargedWei: WeiString;
  readonly refundedWei: WeiString;
}

export interface TaskRow {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  /** From 0, unique in its session. */
  readonly ordinal: number;
  readonly state: TaskRecord['state'];
  readonly outcome: TaskOutcome | null;
  readonly requestCid: Cid;
  readonly evidenceCid: Cid | null;
  readonly promptTokens: number | null;
  readonly completionTokens: number | null;
  readonly chargeWei: WeiString;
  readonly settlementTx: Hex | null;
}

/** One miner's commitment to a task. */
export interface TaskResultRow {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  readonly miner: Address;
  readonly resultCid: Cid;
  readonly resultHash: Hex;
  /** 0–10,000; `null` when it was not judged. */
  readonly scoreBps: number | null;
  readonly isAgreed: boolean;
  readonly paidWei: WeiString;
}

export const PAYLOAD_KINDS = ['policy', 'keyring', 'request', 'result', 'evidence'] as const;
export type PayloadKind = (typeof PAYLOAD_KINDS)[number];

/** A block as it is stored on IPFS: ciphertext wherever the session is sealed. */
export interface PayloadRow {
  readonly cid: Cid;
  readonly kind: PayloadKind;
  readonly bytes: Uint8Array;
  /** What is in it, where the sink opens its kind; else `null`. */
  readonly text: string | null;
}

/** One batch, written in one transaction. A task may come with or after its session, and a result
 * with or after its task; every row may come again. */
export interface ExportRows {
  readonly session: readonly SessionRow[];
  readonly task: readonly TaskRow[];
  readonly task_result: readonly TaskResultRow[];
  readonly payload: readonly PayloadRow[];
}
export type ExportTable = keyof ExportRows;
/** In the order in which a sink gets and lists them. */
export const EXPORT_TABLES = [
  'session',
  'task',
  'task_result',
  'payload',
] as const satisfies readonly ExportTable[];
export type RowCounts = Readonly<Record<ExportTable, number>>;

/** A row as it is compared: by the digest of its columns. */
export interface RowMark {
  readonly table: ExportTable;
  /** Unique in its table and session: `<task>:<miner>` of a result, else id or CID. */
  readonly key: string;
  /** SHA-256 over the row's columns, 64 hex digits. The same row has the same in every kind of sink. */
  readonly hash: string;
}

/** Ordinals, as ranges `[first, last]` in ascending order that do not touch. */
export type Ordinals = readonly (readonly [first: number, last: number])[];

/** How far an export has come: through the archive, whose pages only get more, and through the tasks
 * that the session's workflow still holds. */
export interface ExportCursor {
  /** Records of the archive that were looked at. */
  readonly archived: number;
  /** Tasks that were written as they will stay. */
  readonly final: Ordinals;
  /** Tasks that were written before they were settled. */
  readonly provisional: Ordinals;
}
export const EXPORT_START: ExportCursor = { archived: 0, final: [], provisional: [] };

/** True when this record was not written yet, or otherwise than it is now. */
export function isDue(cursor: ExportCursor, record: TaskRecord): boolean {
  if (record.outcome === null || hasOrdinal(cursor.final, record.ordinal)) return false;
  return isFinal(record) || !hasOrdinal(cursor.provisional, record.ordinal);
}

/** The cursor once these records are written. */
export function noteWritten(cursor: ExportCursor, records: readonly TaskRecord[]): ExportCursor {
  const ordinals = (wanted: boolean) =>
    records.filter((record) => isFinal(record) === wanted).map((record) => record.ordinal);
  return {
    archived: cursor.archived,
    final: addOrdinals(cursor.final, ordinals(true)),
    provisional: addOrdinals(cursor.provisional, ordinals(false)),
  };
}

/** How many tasks a cursor has written, whether or not they are settled. */
export function writtenTasks({ final, provisional }: ExportCursor): number {
  const all = addOrdinals(
    final,
    provisional.flatMap(([first, last]) =>
      Array.from({ length: last - first + 1 }, (_, i) => first + i),
    ),
  );
  return all.reduce((sum, [first, last]) => sum + last - first + 1, 0);
}

/** What was settled or disputed does not change any more. */
function isFinal({ state, outcome }: TaskRecord): boolean {
  return state === 'Settled' || outcome === 'disputed';
}

function hasOrdinal(ranges: Ordinals, ordinal: number): boolean {
  return ranges.some(([first, last]) => first <= ordinal && ordinal <= last);
}

/** Adds ordinals to ranges; those that are there already change nothing. */
export function addOrdinals(ranges: Ordinals, ordinals: readonly number[]): Ordinals {
  const sorted = [...ranges, ...ordinals.map((n) => [n, n] as const)].sort((a, b) => a[0] - b[0]);
  const joined: [number, number][] = [];
  for (const [first, last] of sorted) {
    const before = joined.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else joined.push([first, last]);
  }
  return joined;
}

/** What stands in the sink for one session. */
export interface ExportDigest {
  readonly rows: RowCounts;
  /** SHA-256 over the marks of all rows of the session, in the order of tables and keys. */
  readonly digest: Hex;
}

export interface ExportReceipt extends ExportDigest {
  readonly sessionId: SessionId;
  /** Name of the sink, unique for the user. */
  readonly sink: string;
  /** ISO 8601, UTC. */
  readonly writtenAt: string;
}

/** That a session's rows are gone from a sink. */
export interface RemovalReceipt {
  readonly sessionId: SessionId;
  readonly sink: string;
  /** Rows that were deleted; payloads that other sessions refer to stay. */
  readonly rows: RowCounts;
  /** What stood there before. */
  readonly digest: Hex;
  /** ISO 8601, UTC. */
  readonly removedAt: string;
}

export const ROW_FAULTS = ['missing', 'extra', 'altered'] as const;
export type RowFault = (typeof ROW_FAULTS)[number];

/** What a comparison of a sink with the session's records and evidence came to. */
export interface ExportVerification extends ExportDigest {
  readonly sessionId: SessionId;
  readonly sink: string;
  readonly faults: Readonly<Record<RowFault, number>>;
  /** The first of them, at most `MAX_FAULTS`. */
  readonly found: readonly {
    readonly fault: RowFault;
    readonly table: ExportTable;
    readonly key: string;
  }[];
  /** ISO 8601, UTC. */
  readonly verifiedAt: string;
}
export const MAX_FAULTS = 100;

/** `once`: as far as the session has come. `follow`: until it has ended. The others write nothing. */
export const EXPORT_MODES = ['once', 'follow', 'verify', 'remove'] as const;
export type ExportMode = (typeof EXPORT_MODES)[number];

export const EXPORT_STATES = [
  'Running',
  /** All is written; it waits for the session to go on. */
  'Following',
  'Paused',
  /** The sink refuses who we are: it goes on by `retry`, once the secret is right. */
  'WaitingForCredentials',
  /** The sink is away, or has no certificate to trust: tried again by itself, less and less often. */
  'WaitingForSink',
  'Done',
  'Stopped',
  'Failed',
] as const;
export type ExportState = (typeof EXPORT_STATES)[number];

/** What the owner of an export may ask of it while it runs. */
export const EXPORT_ORDERS = ['pause', 'resume', 'retry', 'stop', 'verify', 'remove'] as const;
export type ExportOrder = (typeof EXPORT_ORDERS)[number];
/** An order with the id that tells whoever gave it when it is carried out. */
export interface ExportAsk {
  readonly order: ExportOrder;
  readonly id: string;
}

/** An export as it stands; the result of its workflow as well. */
export interface ExportView {
  readonly sessionId: SessionId;
  readonly sink: string;
  readonly mode: ExportMode;
  readonly state: ExportState;
  /** Code of the last failure since something was last written; `null` when all is well. */
  readonly lastError: string | null;
  /** Unix milliseconds of the next try; `null` when none is due. */
  readonly retryAtMs: number | null;
  /** Tasks and rows that the sink has taken so far; a row that changed counts again. */
  readonly tasks: number;
  readonly rows: number;
  /** Tasks that had ended and were not written, when the session was last looked at. */
  readonly lag: number;
  readonly receipt: ExportReceipt | null;
  readonly removal: RemovalReceipt | null;
  readonly verification: ExportVerification | null;
  /** Id of the last `verify` or `remove` that was carried out. */
  readonly answered: string | null;
}

/** Exports as their owners' tools reach them. Every method: @throws TEMPORAL_UNREACHABLE */
export interface ExportControl {
  /** Starts an export; one that runs goes on instead, as it was started.
   * @throws REQUEST_INVALID — no sink of that name. */
  start(sessionId: SessionId, sink: string, mode: 'once' | 'follow'): Promise<ExportView>;
  /** @throws EXPORT_NOT_FOUND — nothing was ever asked of that sink for the session. */
  view(sessionId: SessionId, sink: string): Promise<ExportView>;
  /** Gives an order to an export that runs. @throws EXPORT_NOT_FOUND — none does. */
  order(sessionId: SessionId, sink: string, order: ExportOrder): Promise<ExportView>;
  /** Has the rows verified or removed, whether or not an export runs, and waits for the answer.
   * @returns the export as it stands then; still without the answer when `waitMs` are over.
   * @throws REQUEST_INVALID — no sink of that name. */
  ask(
    sessionId: SessionId,
    sink: string,
    order: 'verify' | 'remove',
    waitMs: number,
  ): Promise<{ readonly view: ExportView; readonly isAnswered: boolean }>;
}
