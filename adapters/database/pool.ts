/**
 * Connections to PostgreSQL, and the one place that turns its errors into the engine's: what a retry
 * can mend is DATABASE_UNREACHABLE, everything else is final.
 * SQLSTATE codes: https://www.postgresql.org/docs/18/errcodes-appendix.html
 */
import pg from 'pg';
import { EngineError, type ErrorDetails } from '../../domain/errors.js';
import { findRefusal } from '../net/address-guard.js';
import { certificateFault } from '../net/certificate.js';

export interface PoolOptions {
  /** Connections at most. @default 10 */
  readonly maxConnections?: number;
  /** Limit for opening a connection, in milliseconds. @default 5_000 */
  readonly connectTimeoutMs?: number;
  /** Limit for one statement, waiting for locks included, in milliseconds. @default 30_000 */
  readonly statementTimeoutMs?: number;
  /** How connections are made, where the URL is a user's: nothing in its query counts then. */
  readonly access?: Pick<pg.PoolConfig, 'ssl' | 'stream'>;
}

/** How long the client waits beyond the server's own limit: a server that is gone enforces none. */
const SILENCE_MARGIN_MS = 5_000;

/**
 * Opens a pool; connections are made on first use. Close it with `end()`.
 * @param url - `postgres://user:password@host:port/database`; never part of an error.
 * @throws CONFIG_INVALID — the URL cannot be read.
 */
export function openPool(url: string, options: PoolOptions = {}): pg.Pool {
  const statementTimeoutMs = options.statementTimeoutMs ?? 30_000;
  if (!/^postgres(ql)?:\/\//.test(url) || !URL.canParse(url)) {
    throw new EngineError('CONFIG_INVALID', { what: 'database URL', expected: 'postgres://…' });
  }
  const pool = new pg.Pool({
    connectionString: options.access === undefined ? url : url.replace(/[?#].*$/s, ''),
    ...options.access,
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + SILENCE_MARGIN_MS,
    keepAlive: true,
    application_name: 'cortensor-engine',
    // An idle pool must not keep a process alive that has nothing else to do.
    allowExitOnIdle: true,
  });
  // An idle connection that breaks is replaced on the next use; unheard, the event ends the process.
  pool.on('error', () => {});
  // One that breaks in use fails its statement as well; that failure is the one we translate.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

/**
 * Runs one statement.
 * @throws as `translateDatabaseError` has it.
 */
export async function query<Row extends pg.QueryResultRow>(
  on: Pick<pg.Pool, 'query'> | Pick<pg.PoolClient, 'query'>,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  try {
    const result = await on.query<Row>(text, [...values]);
    return result.rows;
  } catch (error) {
    throw translateDatabaseError(error);
  }
}

/**
 * Runs `work` in one transaction: committed when it resolves, rolled back when it throws. When the
 * connection breaks during the commit nobody knows which of both happened, so `work` must be
 * idempotent by a key of its own.
 * @throws what `work` throws; otherwise as `translateDatabaseError` has it.
 */
export async function inTransaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  let client: pg.PoolClient;
  try {
    client = await pool.connect();
  } catch (error) {
    throw translateDatabaseError(error);
  }
  let isBroken = false;
  try {
    await query(client, 'begin');
    const result = await work(client);
    await query(client, 'commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(() => {
      isBroken = true; // The connection itself failed: PostgreSQL rolls back when it closes.
    });
    throw error;
  } finally {
    client.release(isBroken);
  }
}

/** Connection failures of Node.js and messages of `pg` that carry no SQLSTATE. */
const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EPIPE',
  'ENOENT', // of a Unix socket
]);
const LOST_CONNECTION =
  /connection terminated|connection timeout|timeout exceeded when trying to connect|query read timeout|client (was closed|has encountered)/i;

/** Classes and codes that pass by themselves: connection, resources, rollback, lock, shutdown. */
const PASSING_STATE = /^(08|53|40|55P03|57014|57P0[1-5]|25P03)/;
/** Classes whose message holds names of roles, databases, tables and constraints, never values. */
const NAMING_STATE = /^(23|28|3D|3F|42)/;

/**
 * Turns an error of `pg` into the engine's; an EngineError comes back as it is.
 * @returns DATABASE_UNREACHABLE — network, shutdown, too many connections, deadlock, time-out;
 *   DATABASE_REFUSED — credentials, permission, constraint, unknown relation, and all other SQLSTATEs;
 *   DATABASE_UNTRUSTED — the handshake failed, with `reason` as `certificateFault` has it;
 *   ADDRESS_REFUSED — a user's database at an address that is closed to it;
 *   INTERNAL — not an error of the database.
 */
export function translateDatabaseError(error: unknown): EngineError {
  if (error instanceof EngineError) return error;
  if (!(error instanceof Error)) return new EngineError('INTERNAL', {}, { cause: error });
  const refusal = findRefusal(error);
  if (refusal !== undefined) return refusal;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (error instanceof pg.DatabaseError) {
    const details = describeState(error, code);
    return PASSING_STATE.test(code)
      ? new EngineError('DATABASE_UNREACHABLE', details, { cause: error })
      : new EngineError('DATABASE_REFUSED', details, { cause: error });
  }
  if (NETWORK_CODES.has(code)) {
    return new EngineError('DATABASE_UNREACHABLE', { reason: code }, { cause: error });
  }
  const fault = certificateFault(error);
  if (fault !== undefined) {
    return new EngineError('DATABASE_UNTRUSTED', { reason: fault }, { cause: error });
  }
  if (LOST_CONNECTION.test(error.message)) {
    return new EngineError('DATABASE_UNREACHABLE', { reason: error.message }, { cause: error });
  }
  if (/SASL|SCRAM|password must be a string/i.test(error.message)) {
    return new EngineError('DATABASE_REFUSED', { reason: error.message }, { cause: error });
  }
  return new EngineError('INTERNAL', { reason: error.name }, { cause: error });
}

function describeState(error: pg.DatabaseError, sqlstate: string): ErrorDetails {
  return {
    sqlstate,
    ...(error.constraint === undefined ? {} : { constraint: error.constraint }),
    ...(error.table === undefined ? {} : { table: error.table }),
    ...(error.column === undefined ? {} : { column: error.column }),
    ...(NAMING_STATE.test(sqlstate) ? { reason: error.message } : {}),
  };
}
