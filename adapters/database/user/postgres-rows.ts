/**
 * Reads of a user's PostgreSQL: one query, read-only, through a cursor. `declare cursor` takes a `select`
 * and nothing else, so neither a second statement nor a `with … delete` gets through; the transaction is
 * read-only besides.
 * @see https://www.postgresql.org/docs/18/sql-declare.html, sql-set-transaction.html
 */
import type pg from 'pg';
import { EngineError, findEngineError } from '../../../domain/errors.js';
import { inTransaction, query, translateDatabaseError } from '../pool.js';
import { BoundedRows, notLetIn, tooPowerful } from './bounded.js';
import type { ReadLimits, Row } from './database.js';

/** Rows a round trip. */
const FETCH_ROWS = 200;
/** Roles that reach the server's files or programs, from within a `select` too. */
const DANGEROUS = ['pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'];
/** Who we are, which database there is, and what of it may be read. */
const CREDENTIAL_STATE = /^(28|3D|42501)/;

/** As `ReadRows`. */
export async function readPostgresRows(
  pool: pg.Pool,
  text: string,
  limits: ReadLimits,
): Promise<readonly Row[]> {
  try {
    return await inTransaction(pool, async (client) => {
      await query(client, 'set transaction isolation level repeatable read read only');
      await query(client, `select set_config('statement_timeout', $1, true)`, [
        String(limits.statementMs),
      ]);
      await requireHarmlessRole(client);
      // Of one statement, as the extended protocol has it.
      await extended(client, `declare source_rows no scroll cursor for ${text}`);
      return await fetchAll(client, limits);
    });
  } catch (error) {
    const known = findEngineError(error);
    const sqlstate = known?.details['sqlstate'];
    const isTooSlow = sqlstate === '57014';
    if (known?.code !== 'DATABASE_REFUSED' && !isTooSlow) throw error;
    if (sqlstate === undefined) throw notLetIn({});
    if (CREDENTIAL_STATE.test(String(sqlstate))) throw notLetIn({ sqlstate: String(sqlstate) });
    // The server's message may quote a value; its code says enough.
    throw new EngineError('SOURCE_INVALID', {
      field: 'query',
      expected: isTooSlow ? `an answer within ${limits.statementMs} ms` : 'one select that runs',
      sqlstate,
    });
  }
}

async function fetchAll(client: pg.PoolClient, limits: ReadLimits): Promise<readonly Row[]> {
  const all = new BoundedRows(limits);
  for (;;) {
    const rows = await query<Record<string, unknown>>(
      client,
      `fetch forward ${FETCH_ROWS} from source_rows`,
    );
    for (const row of rows) all.add(row);
    if (rows.length < FETCH_ROWS) return all.rows;
  }
}

/** A superuser's `select` reads the server's files. */
async function requireHarmlessRole(client: pg.PoolClient): Promise<void> {
  const [row] = await query<{ harm: boolean }>(
    client,
    `select bool_or(pg_has_role(current_user, role, 'member')) as harm from unnest($1::text[]) as role`,
    [DANGEROUS],
  );
  if (row?.harm !== false) throw tooPowerful();
}

async function extended(client: pg.PoolClient, text: string): Promise<void> {
  try {
    await client.query({ text, queryMode: 'extended' } as pg.QueryConfig);
  } catch (error) {
    throw translateDatabaseError(error);
  }
}
