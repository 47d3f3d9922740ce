/**
 * The sink: a session's rows in the user's own database, in schema `cortensor`. Separate from the
 * engine's tables, since it is another database under another role.
 */
import type pg from 'pg';
import type { ExportDigest, ExportRows } from '../../domain/export.js';
import type { SessionId } from '../../domain/ids.js';
import { migrate, SINK_SCHEMA } from './migrate.js';
import { inTransaction, openPool } from './pool.js';
import { readDigest } from './sink-digest.js';
import { upsertPayloads, upsertResults, upsertSessions, upsertTasks } from './sink-rows.js';

/** A user's database. Every method: @throws DATABASE_UNREACHABLE, DATABASE_REFUSED */
export interface Sink {
  /** Creates or upgrades the schema; called before the first batch of an export. */
  migrate(): Promise<void>;
  /** Writes a batch in one transaction: all of it or none. Rows that are there are brought up to
   * date by their keys, so that a batch may be written any number of times. */
  write(rows: ExportRows): Promise<void>;
  /** Reads back what stands there for the session, to put into a receipt or compare with one. */
  readDigest(sessionId: SessionId): Promise<ExportDigest>;
  close(): Promise<void>;
}

/** Batches of one export are written one after the other; the second connection is for readers. */
const MAX_CONNECTIONS = 2;

/** Opens a sink; connects on first use.
 * @param url - `postgres://…`, the user's secret; never part of an error.
 * @throws CONFIG_INVALID — the URL cannot be read. */
export function openSink(url: string): Sink {
  const pool: pg.Pool = openPool(url, { maxConnections: MAX_CONNECTIONS });
  return {
    async migrate() {
      await migrate(pool, SINK_SCHEMA);
    },
    async write(rows) {
      await inTransaction(pool, async (client) => {
        await upsertSessions(client, rows.session);
        await upsertTasks(client, rows.task);
        await upsertResults(client, rows.task_result);
        await upsertPayloads(client, rows.payload);
      });
    },
    async readDigest(sessionId) {
      return await readDigest(pool, sessionId);
    },
    async close() {
      await pool.end();
    },
  };
}
