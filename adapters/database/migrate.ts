/**
 * Schema migrations: numbered SQL files, applied once each, in order. A migration's number is written
 * first in its own transaction, so that of two migrators the later one waits for the earlier and then
 * skips; nothing is locked beyond that.
 */
import { readdir, readFile } from 'node:fs/promises';
import type pg from 'pg';
import { EngineError, findEngineError } from '../../domain/errors.js';
import { inTransaction, query } from './pool.js';

/** A set of migrations: `sql/<folder>/`, for one schema of that database. */
export interface MigrationSet {
  readonly folder: string;
  readonly schema: string;
}

/** Tables of the engine itself: outbox and receipts. */
export const ENGINE_SCHEMA: MigrationSet = { folder: 'engine', schema: 'engine' };
/** Tables in a user's own database; `{schema}` in their files stands for it. */
export const sinkSchema = (schema: string): MigrationSet => ({ folder: 'sink', schema });

export interface Migration {
  readonly number: number;
  readonly name: string;
  /** Its first line is `--! breaking`: code that does not know it must not run on it. */
  readonly isBreaking: boolean;
  readonly sql: string;
}

/** "Someone else has just created it": duplicate schema, table, type (a table is one too), or row of
 * the system catalogue. */
const CLASH_STATES = new Set(['42P06', '42P07', '42710', '23505', 'XX000']);

/** The SQL files ship beside the sources; this module runs from `dist/adapters/database`. */
const SQL_ROOT = new URL('../../../adapters/database/sql/', import.meta.url);

/**
 * Brings a schema up to date; called at every start, by any number of processes at once.
 * @returns how many migrations this call applied.
 * @throws DATABASE_REFUSED — the schema was made by a newer version that broke with this one, or the
 *   role may not create it. @throws DATABASE_UNREACHABLE
 */
export async function migrate(pool: pg.Pool, set: MigrationSet = ENGINE_SCHEMA): Promise<number> {
  const migrations = await readMigrations(set.folder);
  await ensureLedger(pool, set.schema);
  await refuseNewer(pool, set.schema, migrations.length);
  let applied = 0;
  for (const migration of migrations) {
    if (await apply(pool, set.schema, migration)) applied += 1;
  }
  return applied;
}

async function ensureLedger(pool: pg.Pool, schema: string): Promise<void> {
  const [found] = await query<{ ledger: string | null }>(pool, `select to_regclass($1) as ledger`, [
    `${schema}.migration`,
  ]);
  if (found?.ledger != null) return;
  try {
    await query(pool, `create schema if not exists ${schema}`);
    await query(
      pool,
      `create table if not exists ${schema}.migration (
         number integer primary key,
         name text not null,
         is_breaking boolean not null,
         applied_at timestamptz not null default now()
       )`,
    );
  } catch (error) {
    const state = findEngineError(error)?.details['sqlstate'];
    if (typeof state !== 'string' || !CLASH_STATES.has(state)) throw error;
    // The other migrator has committed by now: PostgreSQL reports a clash only then.
    await ensureLedger(pool, schema);
  }
}

async function refuseNewer(pool: pg.Pool, schema: string, known: number): Promise<void> {
  const [row] = await query<{ newest: number | null }>(
    pool,
    `select max(number) as newest from ${schema}.migration where is_breaking`,
  );
  if (row?.newest != null && row.newest > known) {
    throw new EngineError('DATABASE_REFUSED', {
      schema,
      found: row.newest,
      known,
      reason: 'the schema was made by a newer version',
      remedy: 'run that version, or a newer one',
    });
  }
}

async function apply(pool: pg.Pool, schema: string, migration: Migration): Promise<boolean> {
  return await inTransaction(pool, async (client) => {
    const inserted = await query(
      client,
      `insert into ${schema}.migration (number, name, is_breaking) values ($1, $2, $3)
       on conflict (number) do nothing returning number`,
      [migration.number, migration.name, migration.isBreaking],
    );
    if (inserted.length === 0) return false;
    await query(client, migration.sql.replaceAll('{schema}', schema));
    return true;
  });
}

/** Reads the files of a folder, in order. @throws INVARIANT_BROKEN — their numbers have a gap. */
export async function readMigrations(folder: string): Promise<Migration[]> {
  const root = new URL(`${folder}/`, SQL_ROOT);
  const names = (await readdir(root)).filter((name) => name.endsWith('.sql')).sort();
  return await Promise.all(
    names.map(async (name, index) => {
      const number = Number(/^(\d{6})-/.exec(name)?.[1]);
      if (number !== index + 1) {
        throw new EngineError('INVARIANT_BROKEN', { what: 'number of a migration', file: name });
      }
      const sql = await readFile(new URL(name, root), 'utf8');
      return { number, name, isBreaking: sql.startsWith('--! breaking'), sql };
    }),
  );
}
