/** What a webhook has acknowledged, in the engine's own database: the marks of rows, never rows. */
import type pg from 'pg';
import { EXPORT_TABLES, type RowMark } from '../../../domain/export.js';
import type { SessionId } from '../../../domain/ids.js';
import { query } from '../pool.js';

/** Every method: @throws DATABASE_UNREACHABLE, DATABASE_REFUSED */
export interface DeliveryLog {
  /** Notes rows as acknowledged; a row that changed replaces its former mark. */
  note(sessionId: SessionId, marks: readonly RowMark[]): Promise<void>;
  /** @returns which of these were acknowledged as they are, as indexes. */
  known(sessionId: SessionId, marks: readonly RowMark[]): Promise<ReadonlySet<number>>;
  /** In the order of tables and keys. */
  read(sessionId: SessionId): AsyncIterable<RowMark>;
  forget(sessionId: SessionId): Promise<void>;
}

const PAGE_ROWS = 5_000;

/** Opens the log of one sink.
 * @param pool - of the engine's database, migrated. */
export function openDeliveryLog(pool: pg.Pool, sink: string): DeliveryLog {
  const columns = (marks: readonly RowMark[]) => [
    marks.map((mark) => mark.table),
    marks.map((mark) => mark.key),
    marks.map((mark) => mark.hash),
  ];
  return {
    async note(sessionId, marks) {
      await query(
        pool,
        `insert into engine.export_delivery (session_id, sink, table_name, key, hash)
         select $1, $2, * from unnest($3::text[], $4::text[], $5::text[])
         on conflict (session_id, sink, table_name, key) do update set hash = excluded.hash`,
        [sessionId, sink, ...columns(marks)],
      );
    },
    async known(sessionId, marks) {
      const rows = await query<{ at: string }>(
        pool,
        `select (at - 1)::text as at
         from unnest($3::text[], $4::text[], $5::text[]) with ordinality as m (table_name, key, hash, at)
         join engine.export_delivery d using (table_name, key, hash)
         where d.session_id = $1 and d.sink = $2`,
        [sessionId, sink, ...columns(marks)],
      );
      return new Set(rows.map((row) => Number(row.at)));
    },
    async *read(sessionId) {
      for (const table of EXPORT_TABLES) {
        let last = '';
        for (;;) {
          const rows = await query<{ key: string; hash: string }>(
            pool,
            `select key, hash from engine.export_delivery
             where session_id = $1 and sink = $2 and table_name = $3 and key > $4
             order by key limit ${PAGE_ROWS}`,
            [sessionId, sink, table, last],
          );
          for (const row of rows) yield { table, ...row };
          if (rows.length < PAGE_ROWS) break;
          last = rows.at(-1)?.key ?? last;
        }
      }
    },
    async forget(sessionId) {
      await query(pool, `delete from engine.export_delivery where session_id = $1 and sink = $2`, [
        sessionId,
        sink,
      ]);
    },
  };
}
