/**
 * Reads of a user's MySQL or MariaDB: one query, read-only, as a stream. The server first prepares the
 * query as a derived table, which nothing but a `select` can be and which runs nothing; then it runs in a
 * transaction that is read-only, where a function that writes fails too.
 * @see https://mariadb.com/kb/en/start-transaction/, https://dev.mysql.com/doc/refman/8.4/en/commit.html
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from 'mysql2';
import type mysql from 'mysql2/promise';
import { EngineError } from '../../../domain/errors.js';
import { BoundedRows, notLetIn, tooPowerful } from './bounded.js';
import type { ReadLimits, Row } from './database.js';
import { mysqlFault } from './mysql.js';

/** How long we wait beyond the server's own limit: a query may lift that one, and a server that is gone
 * enforces none. */
const SILENCE_MARGIN_MS = 5_000;

/** As `ReadRows`. */
export async function readMysqlRows(
  pool: mysql.Pool,
  text: string,
  limits: ReadLimits,
): Promise<readonly Row[]> {
  try {
    const client = await pool.getConnection();
    const deadline = new AbortController();
    try {
      return await Promise.race([
        read(client, text, limits),
        // A connection that is cut says nothing to whoever reads from it.
        silence(limits.statementMs + SILENCE_MARGIN_MS, deadline.signal),
      ]);
    } finally {
      deadline.abort();
      // Whatever the query has set, locked or left running ends with its connection.
      client.destroy();
    }
  } catch (error) {
    throw failureOf(error, limits);
  }
}

/** @throws DATABASE_UNREACHABLE — after so many milliseconds, unless the signal has aborted by then. */
async function silence(ms: number, signal: AbortSignal): Promise<never> {
  await delay(ms, undefined, { signal });
  throw new EngineError('DATABASE_UNREACHABLE', { reason: 'no answer' });
}

async function read(
  client: mysql.PoolConnection,
  text: string,
  limits: ReadLimits,
): Promise<readonly Row[]> {
  await limitTime(client, limits.statementMs);
  await requireHarmlessAccount(client);
  await client.query('start transaction with consistent snapshot, read only');
  await requireSelect(client, text);
  return await readAll(client, text, limits);
}

/** MariaDB counts seconds, and every statement; MySQL milliseconds, and those that read. */
async function limitTime(client: mysql.PoolConnection, statementMs: number): Promise<void> {
  const [rows] = await client.query('select version() as version');
  const [{ version = '' } = {}] = rows as { readonly version?: string }[];
  await (/mariadb/i.test(version)
    ? client.query('set session max_statement_time = ?', [statementMs / 1_000])
    : client.query('set session max_execution_time = ?', [statementMs]));
}

/** Who has FILE reads the server's files, and writes new ones, within a `select` too. */
async function requireHarmlessAccount(client: mysql.PoolConnection): Promise<void> {
  const [grants] = await client.query({ sql: 'show grants', rowsAsArray: true });
  for (const [grant = ''] of grants as string[][]) {
    const [, rights = ''] = /^GRANT (.*) ON \*\.\* TO /.exec(grant) ?? [];
    if (/\b(ALL PRIVILEGES|FILE|SUPER)\b/.test(rights)) throw tooPowerful();
  }
}

/** The line break ends a comment that the query may end in. */
async function requireSelect(client: mysql.PoolConnection, text: string): Promise<void> {
  const statement = await client.prepare(`select * from (${text}\n) as source_rows`);
  await statement.close();
}

function readAll(
  client: mysql.PoolConnection,
  text: string,
  limits: ReadLimits,
): Promise<readonly Row[]> {
  const all = new BoundedRows(limits);
  return new Promise((resolve, reject) => {
    // Its types have promises here too, but only the connection below them streams.
    const stream = (client.connection as unknown as Connection).query(text).stream();
    stream.on('data', (row: Row) => {
      try {
        all.add(row);
      } catch (error) {
        stream.destroy(error as Error);
      }
    });
    stream.on('error', reject);
    stream.on('end', () => resolve(all.rows));
  });
}

function failureOf(cause: unknown, { statementMs }: ReadLimits): EngineError {
  if (cause instanceof EngineError) return cause;
  const fault = mysqlFault(cause);
  switch (fault.kind) {
    case 'refusal':
      return fault.error;
    case 'untrusted':
      return new EngineError('DATABASE_UNTRUSTED', { reason: fault.reason }, { cause });
    case 'away':
      return new EngineError('DATABASE_UNREACHABLE', fault.details, { cause });
    case 'credentials':
      return notLetIn(fault.details as Record<string, number>);
    case 'time':
    case 'statement':
      // The server's message may quote a value; its code says enough.
      return new EngineError('SOURCE_INVALID', {
        field: 'query',
        expected:
          fault.kind === 'time' ? `an answer within ${statementMs} ms` : 'one select that runs',
        ...fault.details,
      });
    case 'other':
      return new EngineError('INTERNAL', { reason: fault.name }, { cause });
  }
}
