/**
 * The outbox's rows in the engine's database, one statement a function. Nonces belong to a signer on
 * a chain; a row's lock is its signer's.
 * @see adapters/database/sql/engine/000001-outbox.sql
 */
import type pg from 'pg';
import type { LayerName } from '../../domain/config.js';
import type { ErrorDetails } from '../../domain/errors.js';
import type { Address, Hex } from '../../domain/ids.js';
import { query } from '../database/pool.js';

type Database = Pick<pg.Pool, 'query'> | Pick<pg.PoolClient, 'query'>;

/** One signed version of an intent. */
export interface Attempt {
  readonly hash: Hex;
  readonly raw: Hex;
}

/** An intent with its nonce. */
export interface OutboxRow {
  readonly key: string;
  readonly intentHash: Hex;
  readonly layer: LayerName;
  readonly chainId: number;
  /** Lower-case. */
  readonly signer: Address;
  readonly nonce: number;
  /** `signed`: perhaps never broadcast. `final` and `reverted`: deep enough in the chain. */
  readonly state: 'signed' | 'broadcast' | 'final' | 'reverted';
  /** Head of the chain when the nonce was reserved. */
  readonly fromBlock: number;
  readonly blockNumber: number | null;
  readonly revert: ErrorDetails | null;
  /** Oldest first; never empty. */
  readonly attempts: readonly Attempt[];
  /** Since the last attempt was signed, in milliseconds, by the database's clock. */
  readonly attemptAgeMs: number;
}

interface RawRow {
  readonly key: string;
  readonly intent_hash: Hex;
  readonly layer: LayerName;
  readonly chain_id: string;
  readonly signer: Address;
  readonly nonce: string;
  readonly state: OutboxRow['state'];
  readonly from_block: string;
  readonly block_number: string | null;
  readonly revert: ErrorDetails | null;
  readonly hashes: readonly Hex[];
  readonly raws: readonly Hex[];
  readonly attempt_age_ms: number;
}

const SELECT = `
  select o.key, o.intent_hash, o.layer, o.chain_id, o.signer, o.nonce, o.state, o.from_block, o.block_number,
    o.revert, array_agg(a.hash order by a.number) as hashes,
    array_agg('0x' || encode(a.raw, 'hex') order by a.number) as raws,
    (extract(epoch from clock_timestamp() - max(a.created_at)) * 1000)::float8 as attempt_age_ms
  from engine.tx_outbox o join engine.tx_attempt a using (key)`;

function parseRow(row: RawRow): OutboxRow {
  return {
    key: row.key,
    intentHash: row.intent_hash,
    layer: row.layer,
    chainId: Number(row.chain_id),
    signer: row.signer,
    nonce: Number(row.nonce),
    state: row.state,
    fromBlock: Number(row.from_block),
    blockNumber: row.block_number === null ? null : Number(row.block_number),
    revert: row.revert,
    attempts: row.hashes.map((hash, i) => ({ hash, raw: row.raws[i] ?? '0x' })),
    attemptAgeMs: row.attempt_age_ms,
  };
}

/** @returns `null` when nothing was reserved under the key. */
export async function findRow(database: Database, key: string): Promise<OutboxRow | null> {
  const rows = await query<RawRow>(database, `${SELECT} where o.key = $1 group by o.key`, [key]);
  return rows[0] === undefined ? null : parseRow(rows[0]);
}

/** All rows of a signer from a nonce on, by nonce. */
export async function listRowsFrom(
  database: Database,
  chainId: number,
  signer: Address,
  nonce: number,
): Promise<OutboxRow[]> {
  const rows = await query<RawRow>(
    database,
    `${SELECT} where o.chain_id = $1 and o.signer = $2 and o.nonce >= $3
     group by o.key order by o.nonce`,
    [chainId, signer, nonce],
  );
  return rows.map(parseRow);
}

/** Everyone who ever reserved a nonce on the chain. */
export async function listSigners(database: Database, chainId: number): Promise<Address[]> {
  const rows = await query<{ address: Address }>(
    database,
    `select address from engine.tx_signer where chain_id = $1 order by address`,
    [chainId],
  );
  return rows.map((row) => row.address);
}

/** Highest nonce of a signer, of all rows and of those that were final; -1 for none. */
export async function highestNonces(
  database: Database,
  chainId: number,
  signer: Address,
): Promise<{ reserved: number; final: number }> {
  const [row] = await query<{ reserved: string; final: string }>(
    database,
    `select coalesce(max(nonce), -1) as reserved,
       coalesce(max(nonce) filter (where block_number is not null), -1) as final
     from (select nonce, block_number from engine.tx_outbox
       where chain_id = $1 and signer = $2 order by nonce desc limit 1000) newest`,
    [chainId, signer],
  );
  return { reserved: Number(row?.reserved ?? -1), final: Number(row?.final ?? -1) };
}

/** Locks the signer until the transaction ends: one reservation at a time, whoever asks. */
export async function lockSigner(
  client: pg.PoolClient,
  chainId: number,
  signer: Address,
): Promise<void> {
  const lock = `select 1 from engine.tx_signer where chain_id = $1 and address = $2 for update`;
  if ((await query(client, lock, [chainId, signer])).length > 0) return;
  await query(
    client,
    `insert into engine.tx_signer (chain_id, address) values ($1, $2) on conflict do nothing`,
    [chainId, signer],
  );
  await query(client, lock, [chainId, signer]);
}

/** Stores an intent and its first signed version. The signer must be locked. */
export async function insertRow(
  client: pg.PoolClient,
  row: Pick<
    OutboxRow,
    'key' | 'intentHash' | 'layer' | 'chainId' | 'signer' | 'nonce' | 'fromBlock'
  >,
  attempt: Attempt,
): Promise<void> {
  await query(
    client,
    `with intent as (
       insert into engine.tx_outbox (key, intent_hash, layer, chain_id, signer, nonce, from_block)
       values ($1, $2, $3, $4, $5, $6, $7) returning key)
     insert into engine.tx_attempt (hash, key, number, raw) select $8, key, 0, $9 from intent`,
    [
      row.key,
      row.intentHash,
      row.layer,
      row.chainId,
      row.signer,
      row.nonce,
      row.fromBlock,
      attempt.hash,
      bytes(attempt.raw),
    ],
  );
}

/** Stores another signed version of a locked signer's intent. */
export async function insertAttempt(
  client: pg.PoolClient,
  key: string,
  number: number,
  attempt: Attempt,
): Promise<void> {
  await query(
    client,
    `insert into engine.tx_attempt (hash, key, number, raw) values ($1, $2, $3, $4)`,
    [attempt.hash, key, number, bytes(attempt.raw)],
  );
}

/** Gives a displaced intent another nonce; the signer must be locked. */
export async function moveRow(
  client: pg.PoolClient,
  key: string,
  nonce: number,
  fromBlock: number,
): Promise<void> {
  await query(
    client,
    `update engine.tx_outbox set nonce = $2, from_block = $3, state = 'signed' where key = $1`,
    [key, nonce, fromBlock],
  );
}

/** Notes that a node took the transaction; a row that is further on stays there. */
export async function markBroadcast(database: Database, key: string): Promise<void> {
  await query(
    database,
    `update engine.tx_outbox set state = 'broadcast' where key = $1 and state = 'signed'`,
    [key],
  );
}

/** Notes that transactions are no longer in the chain: it was reorganised, or restored. */
export async function reopenRows(database: Database, keys: readonly string[]): Promise<void> {
  await query(
    database,
    `update engine.tx_outbox set state = 'broadcast', block_number = null, revert = null
     where key = any($1) and block_number is not null`,
    [keys],
  );
}

/** Notes the end of an intent.
 * @param revert - decoded contract error; `null` for success. */
export async function markFinal(
  database: Database,
  key: string,
  blockNumber: number,
  revert: ErrorDetails | null,
): Promise<void> {
  await query(
    database,
    `update engine.tx_outbox set state = $2, block_number = $3, revert = $4 where key = $1`,
    [key, revert === null ? 'final' : 'reverted', blockNumber, revert],
  );
}

function bytes(hex: Hex): Buffer {
  return Buffer.from(hex.slice(2), 'hex');
}
