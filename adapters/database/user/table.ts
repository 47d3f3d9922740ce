/**
 * Reads of a user's own database: one query, read-only, through a cursor, with bounds of time, rows
 * and bytes. `declare cursor` takes a `select` and nothing else, so neither a second statement nor a
 * `with … delete` gets through; the transaction is read-only besides.
 * @see https://www.postgresql.org/docs/18/sql-declare.html, sql-set-transaction.html
 */
import type pg from 'pg';
import { EngineError, findEngineError } from '../../domain/errors.js';
import type { SourceSpec } from '../../domain/source.js';
import { inTransaction, query, translateDatabaseError } from './pool.js';

export interface ReadLimits {
  readonly rows: number;
  /** Of all rows' text. */
  readonly bytes: number;
  /** Milliseconds for a statement. */
  readonly statementMs: number;
}

/** A row as text. */
export interface TextRow {
  readonly title: string;
  readonly text: string;
}
export interface VectorRow extends TextRow {
  readonly vector: readonly number[];
}

/** Rows a round trip. */
const FETCH_ROWS = 200;
/** Roles that reach the server's files or programs, from within a `select` too. */
const DANGEROUS = ['pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'];

/** Reads a table source: a row's text is its columns, one a line, by name; empty ones are left out.
 * @throws SOURCE_INVALID — the query is no `select`, writes, fails, takes too long, or gives more than
 *   the limits; the database's role is a superuser or reads the server's files.
 * @throws DATABASE_UNREACHABLE */
export async function readTable(
  pool: pg.Pool,
  { query: text, title }: Extract<SourceSpec, { kind: 'table' }>,
  limits: ReadLimits,
): Promise<TextRow[]> {
  const rows = await readRows(pool, text, limits);
  return rows.map((row, i) => {
    const lines = Object.entries(row)
      .filter(([name, value]) => value !== null && name !== title)
      .map(([name, value]) => `${name}: ${textOf(value)}`);
    const named = title === undefined ? undefined : row[title];
    if (title !== undefined && named === undefined) throw invalid('title', 'a column of the query');
    return { title: named == null ? `row ${i + 1}` : textOf(named), text: lines.join('\n') };
  });
}

/** Reads vectors that exist already, with their rows' texts.
 * @param dimensions - of the embedding model.
 * @throws SOURCE_INVALID — as `readTable`; or vectors of another length, or, under another metric than
 *   cosine, not of unit length, where the metrics would disagree. */
export async function readVectors(
  pool: pg.Pool,
  { table, columns, metric }: Extract<SourceSpec, { kind: 'vectors' }>,
  dimensions: number,
  limits: ReadLimits,
): Promise<VectorRow[]> {
  const [id, text, vector] = [columns.id, columns.text, columns.vector].map(quoted);
  const from = table.split('.').map(quoted).join('.');
  const select = `select ${id}::text as id, ${text}::text as text, ${vector}::real[] as vector
                  from ${from} where ${text} is not null and ${vector} is not null order by ${id}`;
  const rows = await readRows(pool, select, limits);
  return rows.map((row) => {
    const values = row['vector'] as readonly number[];
    if (values.length !== dimensions) {
      throw invalid('vector', `${dimensions} dimensions, got ${values.length}`);
    }
    const length = Math.hypot(...values);
    if (length === 0) throw invalid('vector', 'a vector that is not 0');
    if (metric !== 'cosine' && Math.abs(length - 1) > 0.01) {
      throw invalid('metric', 'cosine, as the vectors are not of unit length');
    }
    return {
      title: String(row['id']),
      text: String(row['text']),
      vector: values.map((value) => value / length),
    };
  });
}

async function readRows(
  pool: pg.Pool,
  text: string,
  limits: ReadLimits,
): Promise<Record<string, unknown>[]> {
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
    // The server's message may quote a value; its code says enough.
    throw new EngineError('SOURCE_INVALID', {
      field: 'query',
      expected: isTooSlow ? `an answer within ${limits.statementMs} ms` : 'one select that runs',
      sqlstate: sqlstate ?? 'none',
    });
  }
}

async function fetchAll(
  client: pg.PoolClient,
  limits: ReadLimits,
): Promise<Record<string, unknown>[]> {
  const all: Record<string, unknown>[] = [];
  let bytes = 0;
  for (;;) {
    const rows = await query<Record<string, unknown>>(
      client,
      `fetch forward ${FETCH_ROWS} from source_rows`,
    );
    for (const row of rows) {
      bytes += Object.values(row).reduce<number>((sum, value) => sum + textOf(value).length, 0);
      all.push(row);
    }
    if (all.length > limits.rows) throw invalid('query', `at most ${limits.rows} rows`);
    if (bytes > limits.bytes) throw invalid('query', `at most ${limits.bytes} bytes of text`);
    if (rows.length < FETCH_ROWS) return all;
  }
}

/** A superuser's `select` reads the server's files. */
async function requireHarmlessRole(client: pg.PoolClient): Promise<void> {
  const [row] = await query<{ harm: boolean }>(
    client,
    `select bool_or(pg_has_role(current_user, role, 'member')) as harm from unnest($1::text[]) as role`,
    [DANGEROUS],
  );
  if (row?.harm !== false) {
    throw invalid('database', 'a role that is no superuser and reads no files of the server');
  }
}

async function extended(client: pg.PoolClient, text: string): Promise<void> {
  try {
    await client.query({ text, queryMode: 'extended' } as pg.QueryConfig);
  } catch (error) {
    throw translateDatabaseError(error);
  }
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return value;
  if (value instanceof Date) return value.toISOString();
  if (Buffer.isBuffer(value)) return `(${value.length} bytes)`;
  return typeof value === 'object' ? JSON.stringify(value) : String(value as number);
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function invalid(field: string, expected: string): EngineError {
  return new EngineError('SOURCE_INVALID', { field, expected });
}
