/**
 * MySQL and MariaDB as a sink: a database of our own beside the user's, with the tables of PostgreSQL.
 * A batch is one transaction. Tables cannot be created in one here, so that each migration may run
 * again from its start.
 */
import type mysql from 'mysql2/promise';
import { EngineError } from '../../../domain/errors.js';
import type { ExportRows, ExportTable, RowMark } from '../../../domain/export.js';
import type { SessionId } from '../../../domain/ids.js';
import { readMigrations } from '../migrate.js';
import { mysqlFault, openUserMysql } from '../user/mysql.js';
import {
  digestOf,
  markOf,
  pieces,
  TABLES,
  valuesOf,
  type ColumnType,
  type Table,
} from './columns.js';
import type { Sink, SinkAccess } from './sink.js';

const MAX_CONNECTIONS = 2;
const STATEMENT_MS = 30_000;
/** A statement must stay below `max_allowed_packet`, 16 MiB in MariaDB; bytes travel as hexadecimal. */
const MAX_ROWS = 1_000;
const MAX_BYTES = 4 * 1024 * 1024;
const PAGE_ROWS = 5_000;

/** Opens a sink; connects on first use.
 * @param access.url - `mysql://user:password@host:port`; a path and a query are left aside.
 * @throws CONFIG_INVALID — as `openUserMysql`. */
export function openMysqlSink(access: SinkAccess): Sink {
  const { schema } = access;
  const pool = openUserMysql(access, { connectionLimit: MAX_CONNECTIONS, rowsAsArray: true });
  const inTransaction = <T>(begin: string, work: (client: mysql.PoolConnection) => Promise<T>) =>
    transaction(pool, begin, work);
  return {
    prepare: () => asSink(() => migrate(pool, schema)),
    write: (_, rows) =>
      asSink(() =>
        inTransaction('start transaction', async (client) => {
          await lock(client, schema, 'lock in share mode');
          for (const table of TABLES) await upsert(client, schema, table, rows);
        }),
      ),
    readMarks: (sessionId) => readMarks(pool, schema, sessionId),
    remove: (sessionId) =>
      asSink(() =>
        inTransaction('start transaction', async (client) => {
          await lock(client, schema, 'for update');
          const before = await digestOf(marksWithin(client, schema, sessionId));
          return { before, rows: await remove(client, schema, sessionId) };
        }),
      ),
    close: () => pool.end(),
  };
}

async function transaction<T>(
  pool: mysql.Pool,
  begin: string,
  work: (client: mysql.PoolConnection) => Promise<T>,
): Promise<T> {
  const client = await pool.getConnection();
  let isDone = false;
  try {
    // Each statement sees what is committed: no gaps are locked, and a removal sees what was written
    // while it waited.
    await run(client, 'set transaction isolation level read committed');
    await run(client, begin);
    const result = await work(client);
    await run(client, 'commit');
    isDone = true;
    return result;
  } finally {
    if (isDone) client.release();
    else client.destroy(); // The server rolls back when the connection closes.
  }
}

async function run(
  on: mysql.PoolConnection,
  sql: string,
  values: readonly unknown[] = [],
): Promise<unknown[][]> {
  const [rows] = await on.query({ sql, timeout: STATEMENT_MS, values: [...values] });
  return Array.isArray(rows) ? (rows as unknown[][]) : [];
}

/** Applies what is missing. Numbers are noted after their statements: these change nothing when they
 * run twice. */
async function migrate(pool: mysql.Pool, schema: string): Promise<void> {
  const client = await pool.getConnection();
  try {
    // Whose right ends at the tables may still find the database made by somebody else.
    const found = await run(
      client,
      'select 1 from information_schema.schemata where schema_name = ?',
      [schema],
    );
    if (found.length === 0) await run(client, `create database if not exists \`${schema}\``);
    await run(
      client,
      `create table if not exists \`${schema}\`.migration (
         number integer primary key, name varchar(200) not null, is_breaking boolean not null,
         applied_at timestamp not null default current_timestamp) engine = InnoDB`,
    );
    const applied = await run(client, `select number, is_breaking from \`${schema}\`.migration`);
    const migrations = await readMigrations('sink-mysql');
    const newest = Math.max(0, ...applied.filter(([, is]) => is === 1).map(([n]) => Number(n)));
    if (newest > migrations.length) {
      throw new EngineError('EXPORT_REFUSED', {
        schema,
        reason: 'the schema was made by a newer version',
      });
    }
    for (const { number, name, isBreaking, sql } of migrations) {
      if (applied.some(([known]) => known === number)) continue;
      for (const statement of sql.replaceAll('{schema}', schema).split(/;\s*$/m)) {
        if (statement.trim() !== '') await run(client, statement);
      }
      await run(
        client,
        `insert ignore into \`${schema}\`.migration (number, name, is_breaking) values (?)`,
        [[number, name, isBreaking]],
      );
    }
    client.release();
  } catch (error) {
    client.destroy();
    throw error;
  }
}

/** As in PostgreSQL: writers share the schema, a removal has it alone. */
async function lock(client: mysql.PoolConnection, schema: string, how: string): Promise<void> {
  await run(client, `select 1 from \`${schema}\`.migration where number = 1 ${how}`);
}

async function upsert(
  client: mysql.PoolConnection,
  schema: string,
  table: Table,
  rows: ExportRows,
): Promise<void> {
  const names = Object.keys(table.columns);
  const types = Object.values(table.columns);
  const updated = names.filter((name) => !table.key.includes(name) && !/^(bytes|kind)$/.test(name));
  const sql = `insert into \`${schema}\`.${table.name} (${names.join(', ')}) values ?
    on duplicate key update ${updated.map((name) => `${name} = values(${name})`).join(', ')}`;
  for (const piece of pieces(valuesOf(rows, table), MAX_ROWS, MAX_BYTES)) {
    const values = piece.map((row) =>
      row.map((value, i) => (types[i] === 'bytes' ? Buffer.from(value as Uint8Array) : value)),
    );
    await run(client, sql, [values]);
  }
}

async function* readMarks(
  pool: mysql.Pool,
  schema: string,
  sessionId: SessionId,
): AsyncGenerator<RowMark> {
  let client: mysql.PoolConnection;
  try {
    client = await pool.getConnection();
  } catch (error) {
    throw sinkFailure(error);
  }
  let isDone = false;
  try {
    await run(client, 'set transaction isolation level repeatable read');
    await run(client, 'start transaction with consistent snapshot, read only');
    yield* marksWithin(client, schema, sessionId);
    await run(client, 'commit');
    isDone = true;
  } catch (error) {
    throw sinkFailure(error);
  } finally {
    if (isDone) client.release();
    else client.destroy();
  }
}

/** By pages, each after the last key of the one before it. */
async function* marksWithin(
  client: mysql.PoolConnection,
  schema: string,
  sessionId: SessionId,
): AsyncGenerator<RowMark> {
  for (const table of TABLES) {
    const names = Object.keys(table.columns);
    const columns = Object.entries(table.columns).map(([name, type]) => readable(name, type));
    const key = table.key.join(', ');
    const from = `\`${schema}\`.${table.name}`;
    // As a join, since MariaDB asks a subquery behind `in` once for each row of the table.
    const select =
      table.name === 'payload'
        ? `select ${columns.join(', ')} from (${references(schema, '=')}) mine join ${from} using (cid)
           where true`
        : `select ${columns.join(', ')} from ${from} where session_id = ?`;
    const own = Array.from({ length: table.name === 'payload' ? 5 : 1 }, () => sessionId);
    let last: unknown[] | null = null;
    for (;;) {
      const after: string =
        last === null ? '' : `and (${key}) > (${last.map(() => '?').join(', ')})`;
      const sql = `${select} ${after} order by ${key} limit ${PAGE_ROWS}`;
      const rows = await run(client, sql, [...own, ...(last ?? [])]);
      for (const row of rows) {
        yield markOf(
          table,
          row.map((value, i) => (table.columns[names[i] ?? ''] === 'bool' ? value === 1 : value)),
        );
      }
      const end = rows.at(-1);
      if (end === undefined || rows.length < PAGE_ROWS) break;
      last = table.key.map((name) => end[names.indexOf(name)]);
    }
  }
}

function readable(name: string, type: ColumnType): string {
  if (type === 'id') return `cast(${name} as char)`;
  return type === 'bytes' || type === 'body' ? `sha2(${name}, 256)` : name;
}

/** CIDs that sessions refer to; takes the session's id five times. */
function references(schema: string, how: '=' | '<>'): string {
  const from = (column: string, table: string) =>
    `select ${column} as cid from \`${schema}\`.${table}
     where session_id ${how} ? and ${column} is not null`;
  return [
    from('policy_cid', 'session'),
    from('keyring_cid', 'session'),
    from('request_cid', 'task'),
    from('evidence_cid', 'task'),
    from('result_cid', 'task_result'),
  ].join(' union ');
}

async function remove(
  client: mysql.PoolConnection,
  schema: string,
  sessionId: SessionId,
): Promise<Record<ExportTable, number>> {
  const gone = async (sql: string, values: readonly unknown[]): Promise<number> => {
    const [result] = await client.query({ sql, timeout: STATEMENT_MS, values: [...values] });
    return (result as mysql.ResultSetHeader).affectedRows;
  };
  // Of several tables, what is deleted from cannot be named with its database.
  await run(client, `use \`${schema}\``);
  const five = Array.from({ length: 5 }, () => sessionId);
  const payload = await gone(
    `delete block from (${references(schema, '=')}) mine
       join \`${schema}\`.payload block on block.cid = mine.cid
       left join (${references(schema, '<>')}) theirs on theirs.cid = mine.cid
     where theirs.cid is null`,
    [...five, ...five],
  );
  const own = (table: ExportTable) =>
    gone(`delete from \`${schema}\`.${table} where session_id = ?`, [sessionId]);
  const task_result = await own('task_result');
  const task = await own('task');
  const session = await own('session');
  return { session, task, task_result, payload };
}

async function asSink<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw sinkFailure(error);
  }
}

function sinkFailure(cause: unknown): EngineError {
  if (cause instanceof EngineError) return cause;
  const fault = mysqlFault(cause);
  switch (fault.kind) {
    case 'refusal':
      return fault.error;
    case 'untrusted':
      return new EngineError('SINK_UNTRUSTED', { reason: fault.reason }, { cause });
    case 'credentials':
      return new EngineError('SINK_CREDENTIALS', fault.details, { cause });
    case 'away':
      return new EngineError('SINK_UNREACHABLE', fault.details, { cause });
    case 'statement':
    case 'time':
      return new EngineError('EXPORT_REFUSED', fault.details, { cause });
    case 'other':
      return new EngineError('INTERNAL', { reason: fault.name }, { cause });
  }
}
