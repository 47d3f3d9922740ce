/**
 * Export: a session as rows of a user's own database, and the receipt that says what was written.
 * Keys of `ExportRows` are the names of the tables (adapters/database/sql/sink).
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

/** How far an export has come: through the archive, whose pages only get more, and after it through
 * the tasks that the session's workflow still holds. */
export interface ExportCursor {
  /** Records of the archive that are written. */
  readonly archived: number;
  /** Of the next task outside the archive. */
  readonly ordinal: number;
}

/** What stands in the sink for one session. */
export interface ExportDigest {
  readonly rows: Readonly<Record<ExportTable, number>>;
  /** SHA-256 over all rows of the session in the order of their keys, the bytes of payloads included. */
  readonly digest: Hex;
}

export interface ExportReceipt extends ExportDigest {
  readonly sessionId: SessionId;
  /** Name of the sink, unique for the user. */
  readonly sink: string;
  /** ISO 8601, UTC. */
  readonly writtenAt: string;
}
