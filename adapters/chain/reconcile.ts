/**
 * Brings a chain up to what the outbox knows: after a crash, a reorganisation, a gap, or when a
 * development chain came back with older state. Everything the chain does not have is sent again,
 * byte for byte, those that were final once included.
 */
import type pg from 'pg';
import type { LayerName } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { ChainAccount } from './account.js';
import {
  listRowsFrom,
  listSigners,
  markBroadcast,
  reopenRows,
  type OutboxRow,
} from './outbox-store.js';
import { bump, reserveGap } from './reservation.js';

/**
 * Sends again what the chain's pool and blocks lack, in the order of blocks and nonces, and fills
 * gaps of nonces that nobody holds.
 * @returns how many transactions were handed to the node.
 * @throws TRANSACTION_PENDING — the node refused one for now; the others were sent all the same.
 * @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH, DATABASE_UNREACHABLE, DATABASE_REFUSED
 */
export async function reconcileChain(
  pool: pg.Pool,
  account: ChainAccount,
  layer: LayerName,
): Promise<number> {
  const { chainId, provider } = account;
  const missing: OutboxRow[] = [];
  /** By signer: the nonce that the node would take next. */
  const next = new Map<string, number>();
  for (const signer of await listSigners(pool, chainId)) {
    const [mined, pending] = await Promise.all([
      provider.getTransactionCount(signer, 'latest'),
      provider.getTransactionCount(signer, 'pending'),
    ]);
    // The rows are read after the counts: a nonce without a row below a row is then a real gap.
    const rows = await listRowsFrom(pool, chainId, signer, Math.min(mined, pending));
    const vanished = rows.filter((row) => row.blockNumber !== null && row.nonce >= mined);
    await reopenRows(
      pool,
      vanished.map((row) => row.key),
    );
    missing.push(...rows.filter((row) => row.nonce >= pending));
    next.set(signer, pending);
  }
  missing.sort((a, b) => blockOf(a) - blockOf(b) || a.nonce - b.nonce);
  let sent = 0;
  let refusal: EngineError | undefined;
  for (const row of missing) {
    try {
      const expected = next.get(row.signer) ?? row.nonce;
      if (row.signer === account.address) {
        for (let nonce = expected; nonce < row.nonce; nonce++) {
          await hand(pool, account, await reserveGap(pool, account, layer, nonce));
          sent += 1;
        }
      }
      await hand(pool, account, row);
      next.set(row.signer, row.nonce + 1);
      sent += 1;
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== 'TRANSACTION_PENDING') throw error;
      refusal ??= error;
    }
  }
  if (refusal !== undefined) throw refusal;
  return sent;
}

/** Broadcasts a row's last attempt; one whose fee the node finds too low is signed with a higher one. */
export async function hand(
  pool: pg.Pool,
  account: ChainAccount,
  row: OutboxRow,
): Promise<OutboxRow> {
  let current = row;
  if ((await broadcastLast(account, current)) === 'underpriced') {
    current = await bump(pool, account, current, 0);
    await broadcastLast(account, current);
  }
  await markBroadcast(pool, row.key);
  return current;
}

/**
 * Raises the fee of the transaction that the signer's others wait for, if it has waited long enough.
 * @param olderThanMs - since its last attempt.
 */
export async function bumpStuck(
  pool: pg.Pool,
  account: ChainAccount,
  olderThanMs: number,
): Promise<void> {
  const mined = await account.provider.getTransactionCount(account.address, 'latest');
  const [row] = await listRowsFrom(pool, account.chainId, account.address, mined);
  if (row?.nonce !== mined || row.attemptAgeMs < olderThanMs) return;
  await broadcastLast(account, await bump(pool, account, row, olderThanMs));
}

async function broadcastLast(account: ChainAccount, row: OutboxRow): Promise<string> {
  const attempt = row.attempts.at(-1);
  if (attempt === undefined) {
    throw new EngineError('INVARIANT_BROKEN', { what: 'attempts of a transaction', key: row.key });
  }
  return await account.broadcast(attempt);
}

/** Those never final come last, in the order of their nonces. */
function blockOf(row: OutboxRow): number {
  return row.blockNumber ?? Number.MAX_SAFE_INTEGER;
}
