/** A user's own database, of either kind, as sources see it: something that answers one query. */
import type pg from 'pg';
import type { DatabaseAccess } from './access.js';
import { readMysqlRows } from './mysql-rows.js';
import { openUserMysql } from './mysql.js';
import { readPostgresRows } from './postgres-rows.js';
import { openUserPostgres } from './postgres.js';

export interface ReadLimits {
  readonly rows: number;
  /** Of all rows' text. */
  readonly bytes: number;
  /** Milliseconds for a statement. */
  readonly statementMs: number;
}

/** A row by the names of its columns. */
export type Row = Readonly<Record<string, unknown>>;

/** Reads the rows of one `select`, in a read-only transaction, under an account that reaches no files of
 * the server.
 * @throws SOURCE_INVALID — it is no `select`, writes, fails, takes too long, or gives more than the
 *   limits; the account could do more than a source's may, or is not let in.
 * @throws DATABASE_UNREACHABLE, DATABASE_UNTRUSTED, ADDRESS_REFUSED */
export type ReadRows = (text: string, limits: ReadLimits) => Promise<readonly Row[]>;

interface Opened {
  readonly readRows: ReadRows;
  close(): Promise<void>;
}
export type UserDatabase =
  | (Opened & { readonly kind: 'postgresql'; readonly pool: pg.Pool })
  | (Opened & { readonly kind: 'mysql' });

/** Opens a database by the scheme of its URL; connects on first use.
 * @param options.maxConnections - at once.
 * @throws CONFIG_INVALID — the URL cannot be read; or, of MySQL, TLS to a bare address. */
export function openUserDatabase(
  access: DatabaseAccess,
  options: { readonly maxConnections: number; readonly statementTimeoutMs: number },
): UserDatabase {
  if (/^(mysql|mariadb):/.test(access.url)) {
    const path = URL.canParse(access.url) ? new URL(access.url).pathname.slice(1) : '';
    const pool = openUserMysql(access, {
      ...(path === '' ? {} : { database: decodeURIComponent(path) }),
      connectionLimit: options.maxConnections,
      // As the server writes them: no number loses a digit, no time its zone.
      supportBigNumbers: true,
      bigNumberStrings: true,
      dateStrings: true,
      jsonStrings: true,
    });
    return {
      kind: 'mysql',
      readRows: (text, limits) => readMysqlRows(pool, text, limits),
      close: () => pool.end(),
    };
  }
  const pool = openUserPostgres(access, options);
  return {
    kind: 'postgresql',
    pool,
    readRows: (text, limits) => readPostgresRows(pool, text, limits),
    close: () => pool.end(),
  };
}
