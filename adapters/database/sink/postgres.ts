/**
 * PostgreSQL as a sink: a schema of our own in the user's database, under the user's role. A batch is one
 * transaction; each table's rows travel as one array a column, so that a thousand rows are one round
 * trip and the statement's text is always the same.
 */
import type pg from 'pg';
import { EngineError } from '../../../domain/errors.js';
import type { ExportRows, ExportTable, RowMark } from '../../../domain/export.js';
import type { SessionId } from '../../../domain/ids.js';
import { migrate, sinkSchema } from '../migrate.js';
import { inTransaction, query, translateDatabaseError } from '../pool.js';
import { openUserPostgres } from '../user/postgres.js';
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

type Client = Pick<pg.PoolClient, 'query'>;

/** Batches of one export are written one after the other; the second connection is for readers. */
const MAX_CONNECTIONS = 2;
/** Rows a statement, and bytes of payload a statement (they travel as hexadecimal, twice as long). */
const MAX_ROWS = 1_000;
const MAX_BYTES = 8 * 1024 * 1024;
const PAGE_ROWS = 5_000;

const ARRAY_TYPES: Readonly<Record<ColumnType, string>> = {
  id: 'bigint[]',
  text: 'text[]',
  int: 'integer[]',
  wei: 'numeric[]',
  bool: 'boolean[]',
  bytes: 'bytea[]',
  body: 'text[]',
};

/** Opens a sink; connects on first use.
 * @param access.url - `postgres://user:password@host:port/database`; its query is left aside.
 * @throws CONFIG_INVALID — the URL cannot be read. */
export function openPostgresSink(access: SinkAccess): Sink {
  const { schema } = access;
  const pool = openUserPostgres(access, { maxConnections: MAX_CONNECTIONS });
  return {
    prepare: () => asSink(async () => void (await migrate(pool, sinkSchema(schema)))),
    write: (_, rows) =>
      asSink(() =>
        inTransaction(pool, async (client) => {
          await lock(client, schema, 'for share');
          for (const table of TABLES) await upsert(client, schema, table, rows);
        }),
      ),
    readMarks: (sessionId) => readMarks(pool, schema, sessionId),
    remove: (sessionId) =>
      asSink(() =>
        inTransaction(pool, async (client) => {
          await lock(client, schema, 'for update');
          const before = await digestOf(marksWithin(client, schema, sessionId));
          return { before, rows: await remove(client, schema, sessionId) };
        }),
      ),
    close: () => pool.end(),
  };
}

/** Writers share the schema, a removal has it alone: else a payload could go that a batch which is being
 * written refers to. */
async function lock(client: Client, schema: string, how: 'for share' | 'for update') {
  await query(client, `select 1 from ${schema}.migration where number = 1 ${how}`);
}

async function upsert(
  client: Client,
  schema: string,
  table: Table,
  rows: ExportRows,
): Promise<void> {
  const names = Object.keys(table.columns);
  const types = Object.values(table.columns);
  const others = names.filter((name) => !table.key.includes(name));
  // A block never changes under its CID; what is said of it may.
  const updated = others.filter((name) => name !== 'bytes' && name !== 'kind');
  const text = `insert into ${schema}.${table.name} as old (${names.join(', ')})
    select * from unnest(${types.map((type, i) => `$${i + 1}::${ARRAY_TYPES[type]}`).join(', ')})
    on conflict (${table.key.join(', ')}) do update set
      ${updated.map((name) => `${name} = excluded.${name}`).join(', ')}
    where (${updated.map((name) => `old.${name}`).join(', ')})
      is distinct from (${updated.map((name) => `excluded.${name}`).join(', ')})`;
  for (const piece of pieces(valuesOf(rows, table), MAX_ROWS, MAX_BYTES)) {
    const columns = types.map((type, i) =>
      piece.map((row) => (type === 'bytes' ? Buffer.from(row[i] as Uint8Array) : row[i])),
    );
    await query(client, text, columns);
  }
}

async function* readMarks(
  pool: pg.Pool,
  schema: string,
  sessionId: SessionId,
): AsyncGenerator<RowMark> {
  let client: pg.PoolClient;
  try {
    client = await pool.connect();
  } catch (error) {
    throw sinkFailure(error);
  }
  let isDone = false;
  try {
    // One snapshot for all tables: a batch that is written meanwhile is seen whole or not at all.
    await query(client, 'begin isolation level repeatable read, read only');
    yield* marksWithin(client, schema, sessionId);
    await query(client, 'commit');
    isDone = true;
  } catch (error) {
    throw sinkFailure(error);
  } finally {
    // Left in the middle, the connection is in a transaction: it is not used again.
    client.release(!isDone);
  }
}

/** Pages of a cursor keep memory flat; "C" makes the order that of bytes, whatever the locale. */
async function* marksWithin(
  client: Client,
  schema: string,
  sessionId: SessionId,
): AsyncGenerator<RowMark> {
  for (const table of TABLES) {
    const columns = Object.entries(table.columns).map(([name, type]) => readable(name, type));
    const order = table.key.map((name) => (name === 'session_id' ? name : `${name} collate "C"`));
    await query(
      client,
      `declare marks_of_${table.name} no scroll cursor for
       select ${columns.join(', ')} from ${schema}.${table.name}
       where ${belongs(schema, table.name, BigInt(sessionId))} order by ${order.join(', ')}`,
    );
    for (;;) {
      const text = `fetch ${PAGE_ROWS} from marks_of_${table.name}`;
      const { rows } = await client.query<unknown[]>({ text, rowMode: 'array' });
      for (const row of rows) yield markOf(table, row);
      if (rows.length < PAGE_ROWS) break;
    }
  }
}

function readable(name: string, type: ColumnType): string {
  if (type === 'id' || type === 'wei') return `${name}::text`;
  if (type === 'bytes') return `encode(sha256(${name}), 'hex')`;
  if (type === 'body') return `encode(sha256(convert_to(${name}, 'UTF8')), 'hex')`;
  return name;
}

/** Which rows of a table are a session's: a payload is by whatever refers to it. */
function belongs(schema: string, table: ExportTable, sessionId: bigint): string {
  const own = `session_id = ${sessionId}`;
  if (table !== 'payload') return own;
  return `cid in (${references(schema, own)})`;
}

function references(schema: string, where: string): string {
  return `select unnest(array[policy_cid, keyring_cid]) as cid from ${schema}.session where ${where}
    union select unnest(array[request_cid, evidence_cid]) from ${schema}.task where ${where}
    union select result_cid from ${schema}.task_result where ${where}`;
}

async function remove(
  client: Client,
  schema: string,
  sessionId: SessionId,
): Promise<Record<ExportTable, number>> {
  const own = `session_id = ${BigInt(sessionId)}`;
  const others = `session_id <> ${BigInt(sessionId)}`;
  const gone = async (text: string): Promise<number> => (await query(client, text)).length;
  const payload = await gone(
    `delete from ${schema}.payload where cid in (
       select cid from (${references(schema, own)}) mine
       except select cid from (${references(schema, others)}) theirs) returning 1`,
  );
  // Rows that refer to others go before them.
  const task_result = await gone(`delete from ${schema}.task_result where ${own} returning 1`);
  const task = await gone(`delete from ${schema}.task where ${own} returning 1`);
  const session = await gone(`delete from ${schema}.session where ${own} returning 1`);
  return { session, task, task_result, payload };
}

/** Credentials, databases and rights: what whoever runs the database has to mend. */
const CREDENTIAL_STATES = new Set(['28P01', '28000', '3D000', '42501', '3F000']);

async function asSink<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw sinkFailure(error);
  }
}

function sinkFailure(cause: unknown): EngineError {
  const known = translateDatabaseError(cause);
  const { code, details } = known;
  if (code === 'ADDRESS_REFUSED') return known;
  if (code === 'DATABASE_UNTRUSTED') return new EngineError('SINK_UNTRUSTED', details, { cause });
  const { sqlstate = '', reason = '' } = details;
  if (CREDENTIAL_STATES.has(String(sqlstate))) {
    return new EngineError('SINK_CREDENTIALS', { sqlstate }, { cause });
  }
  if (code === 'DATABASE_UNREACHABLE')
    return new EngineError('SINK_UNREACHABLE', details, { cause });
  if (code !== 'DATABASE_REFUSED') return new EngineError(code, details, { cause });
  if (/SASL|SCRAM|password/i.test(String(reason)) && sqlstate === '') {
    return new EngineError('SINK_CREDENTIALS', {}, { cause });
  }
  return new EngineError('EXPORT_REFUSED', details, { cause });
}
