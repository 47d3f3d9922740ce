/** Receipts of exports in the engine's own database, one a session and sink. */
import type pg from 'pg';
import type { ExportReceipt } from '../../domain/export.js';
import type { SessionId } from '../../domain/ids.js';
import { query } from './pool.js';

/** Keeps a receipt; a later one of the same session and sink replaces it.
 * @throws DATABASE_UNREACHABLE, DATABASE_REFUSED */
export async function writeExportReceipt(pool: pg.Pool, receipt: ExportReceipt): Promise<void> {
  await query(
    pool,
    `insert into engine.export_receipt (session_id, sink, session_rows, task_rows,
       task_result_rows, payload_rows, digest, written_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8)
     on conflict (session_id, sink) do update set
       session_rows = excluded.session_rows, task_rows = excluded.task_rows,
       task_result_rows = excluded.task_result_rows, payload_rows = excluded.payload_rows,
       digest = excluded.digest, written_at = excluded.written_at`,
    [
      receipt.sessionId,
      receipt.sink,
      receipt.rows.session,
      receipt.rows.task,
      receipt.rows.task_result,
      receipt.rows.payload,
      receipt.digest,
      receipt.writtenAt,
    ],
  );
}

/** Forgets the receipt of rows that are gone. @throws DATABASE_UNREACHABLE, DATABASE_REFUSED */
export async function deleteExportReceipt(
  pool: pg.Pool,
  sessionId: SessionId,
  sink: string,
): Promise<void> {
  await query(pool, `delete from engine.export_receipt where session_id = $1 and sink = $2`, [
    sessionId,
    sink,
  ]);
}

/** Names of the sinks that a session has a receipt of.
 * @throws DATABASE_UNREACHABLE, DATABASE_REFUSED */
export async function listExportReceipts(
  pool: pg.Pool,
  sessionId: SessionId,
): Promise<readonly string[]> {
  const rows = await query<{ sink: string }>(
    pool,
    'select sink from engine.export_receipt where session_id = $1 order by sink',
    [sessionId],
  );
  return rows.map(({ sink }) => sink);
}

interface ReceiptRow {
  readonly session_rows: string;
  readonly task_rows: string;
  readonly task_result_rows: string;
  readonly payload_rows: string;
  readonly digest: `0x${string}`;
  readonly written_at: Date;
}

/** @returns `null` when nothing was exported to that sink. @throws DATABASE_UNREACHABLE, DATABASE_REFUSED */
export async function readExportReceipt(
  pool: pg.Pool,
  sessionId: SessionId,
  sink: string,
): Promise<ExportReceipt | null> {
  const [row] = await query<ReceiptRow>(
    pool,
    `select session_rows, task_rows, task_result_rows, payload_rows, digest, written_at
     from engine.export_receipt where session_id = $1 and sink = $2`,
    [sessionId, sink],
  );
  if (row === undefined) return null;
  return {
    sessionId,
    sink,
    rows: {
      session: Number(row.session_rows),
      task: Number(row.task_rows),
      task_result: Number(row.task_result_rows),
      payload: Number(row.payload_rows),
    },
    digest: row.digest,
    writtenAt: row.written_at.toISOString(),
  };
}
