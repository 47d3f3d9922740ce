/** Connections to a user's MySQL or MariaDB, and what their failures mean. */
import { connect, isIP, type Socket } from 'node:net';
import mysql from 'mysql2/promise';
import { EngineError, type ErrorDetails } from '../../../domain/errors.js';
import { checkHost, findRefusal, guardedLookup } from '../../net/address-guard.js';
import { certificateFault, type CertificateFault } from '../../net/certificate.js';
import type { DatabaseAccess } from './access.js';

const CONNECT_MS = 5_000;

/** Opens a pool; connects on first use.
 * @param access.url - `mysql://user:password@host:port`; its path is the caller's matter.
 * @throws CONFIG_INVALID — the URL cannot be read; or TLS to a bare address, against which the client
 *   library checks no certificate. */
export function openUserMysql(access: DatabaseAccess, options: mysql.PoolOptions): mysql.Pool {
  const pool = mysql.createPool({ ...optionsOf(access), ...options });
  // What breaks fails its statement as well; that failure is the one we translate.
  pool.on('connection', (connection) => void connection.on('error', () => {}));
  return pool;
}

function optionsOf(access: DatabaseAccess): mysql.PoolOptions {
  const { url: text, tls, ca } = access;
  if (!/^(mysql|mariadb):\/\//.test(text) || !URL.canParse(text)) {
    throw new EngineError('CONFIG_INVALID', { what: 'database URL', expected: 'mysql://…' });
  }
  const url = new URL(text);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = Number(url.port || 3306);
  if (tls && isIP(host) !== 0) {
    throw new EngineError('CONFIG_INVALID', { what: 'database URL', expected: 'a host name' });
  }
  return {
    host,
    port,
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    stream: () => guardedSocket(host, port, access),
    ...(tls && {
      ssl: {
        rejectUnauthorized: true,
        verifyIdentity: true,
        minVersion: 'TLSv1.2',
        ...(ca === null ? {} : { ca }),
      },
    }),
    connectTimeout: CONNECT_MS,
    charset: 'utf8mb4',
    // Files of this machine are none of a server's business.
    flags: ['-LOCAL_FILES'],
  };
}

function guardedSocket(host: string, port: number, access: DatabaseAccess): Socket {
  checkHost(host, access);
  return connect({ host, port, lookup: guardedLookup(access), noDelay: true, keepAlive: true });
}

/** What a failure means, whatever it is called where it happened. */
export type MysqlFault =
  | { readonly kind: 'refusal'; readonly error: EngineError }
  | { readonly kind: 'untrusted'; readonly reason: CertificateFault }
  /** Credentials, databases and rights; what passes by itself; a statement that the server refuses. */
  | {
      readonly kind: 'credentials' | 'away' | 'statement' | 'time';
      readonly details: ErrorDetails;
    }
  | { readonly kind: 'other'; readonly name: string };

/** Credentials, databases and rights. @see https://mariadb.com/kb/en/mariadb-error-code-reference/ */
const CREDENTIAL_ERRORS = new Set([1044, 1045, 1049, 1142, 1143, 1227, 1698]);
/** Too many connections, shutdown, lock wait, deadlock, read-only after a failover. */
const PASSING_ERRORS = new Set([
  1040, 1053, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1290, 1927,
]);
/** A limit of time on a statement: MariaDB's, and MySQL's. */
const TIME_ERRORS = new Set([1969, 3024]);
const LOST =
  /^(E[A-Z]+|PROTOCOL_(CONNECTION_LOST|SEQUENCE_TIMEOUT|ENQUEUE_\w+|PACKETS_OUT_OF_ORDER|UNEXPECTED_PACKET))$/;

/** Says what an error of the client library means. */
export function mysqlFault(error: unknown): MysqlFault {
  const refusal = findRefusal(error);
  if (refusal !== undefined) return { kind: 'refusal', error: refusal };
  const reason = certificateFault(error);
  if (reason !== undefined) return { kind: 'untrusted', reason };
  if (!(error instanceof Error)) return { kind: 'other', name: 'unknown' };
  const { errno, code } = error as Error & { readonly errno?: unknown; readonly code?: unknown };
  if (typeof errno === 'number' && errno > 0) {
    const details: ErrorDetails = { errno };
    if (CREDENTIAL_ERRORS.has(errno)) return { kind: 'credentials', details };
    if (PASSING_ERRORS.has(errno)) return { kind: 'away', details };
    return { kind: TIME_ERRORS.has(errno) ? 'time' : 'statement', details };
  }
  if (typeof code === 'string' && LOST.test(code))
    return { kind: 'away', details: { reason: code } };
  if (/closed state|connection is closed|Pool is closed/i.test(error.message)) {
    return { kind: 'away', details: {} };
  }
  return { kind: 'other', name: error.name };
}
