/**
 * The outbox's transactions in PostgreSQL: each locks the signer, decides on a nonce or a fee, signs,
 * and stores the signed bytes before anyone broadcasts them.
 */
import { solidityPackedKeccak256 } from 'ethers';
import type pg from 'pg';
import type { LayerName } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { Hex } from '../../domain/ids.js';
import { inTransaction } from '../database/pool.js';
import type { Call, ChainAccount, Fees } from './account.js';
import {
  findRow,
  highestNonces,
  insertAttempt,
  insertRow,
  listRowsFrom,
  lockSigner,
  moveRow,
  type OutboxRow,
} from './outbox-store.js';

/** What shall happen on chain, once. */
export interface Intent extends Call {
  /** Same key, same transaction; 1–256 characters. */
  readonly key: string;
  readonly layer: LayerName;
}

/** Identifies what an intent does, whoever signs it. */
export function hashIntent(chainId: number, call: Call): Hex {
  return solidityPackedKeccak256(
    ['uint256', 'string', 'bytes'],
    [chainId, call.to?.toLowerCase() ?? 'deploy', call.data],
  ) as Hex;
}

/**
 * Reserves a nonce for an intent and stores its signed transaction.
 * @param pending - the node's next nonce for the signer; covers what others sent with its key.
 * @returns the key's row, which may be an earlier one.
 * @throws DATABASE_UNREACHABLE, DATABASE_REFUSED
 */
export async function reserve(
  pool: pg.Pool,
  account: ChainAccount,
  intent: Intent,
  terms: { readonly pending: number; readonly gasLimit: bigint; readonly fees: Fees },
): Promise<OutboxRow> {
  const { key, layer } = intent;
  const { chainId, address: signer } = account;
  return await inTransaction(pool, async (client) => {
    await lockSigner(client, chainId, signer);
    const earlier = await findRow(client, key);
    if (earlier !== null) return earlier;
    const { reserved } = await highestNonces(client, chainId, signer);
    const nonce = Math.max(terms.pending, reserved + 1);
    const attempt = account.sign(intent, nonce, terms.gasLimit, terms.fees);
    const row = {
      key,
      intentHash: hashIntent(chainId, intent),
      layer,
      chainId,
      signer,
      nonce,
      fromBlock: terms.fees.block,
    };
    await insertRow(client, row, attempt);
    return {
      ...row,
      state: 'signed',
      blockNumber: null,
      revert: null,
      attempts: [attempt],
      attemptAgeMs: 0,
    };
  });
}

/**
 * Fills a nonce that nobody will use with a transfer of nothing to the signer itself, so that those
 * behind it are mined. A nonce below one of ours is never given to other business.
 * @returns the row at that nonce.
 */
export async function reserveGap(
  pool: pg.Pool,
  account: ChainAccount,
  layer: LayerName,
  nonce: number,
): Promise<OutboxRow> {
  const { chainId, address: signer } = account;
  const key = `gap:${chainId}:${signer}:${nonce}`;
  const call: Call = { to: signer, data: '0x' };
  const fees = await account.suggestFees();
  const gasLimit = await account.simulate(call, fees);
  await inTransaction(pool, async (client) => {
    await lockSigner(client, chainId, signer);
    const [taken] = await listRowsFrom(client, chainId, signer, nonce);
    if (taken?.nonce === nonce) return;
    const intentHash = hashIntent(chainId, call);
    const row = { key, intentHash, layer, chainId, signer, nonce, fromBlock: fees.block };
    await insertRow(client, row, account.sign(call, nonce, gasLimit, fees));
  });
  const [row] = await listRowsFrom(pool, chainId, signer, nonce);
  if (row?.nonce !== nonce) {
    throw new EngineError('INVARIANT_BROKEN', { what: 'filled gap of nonces', nonce, signer });
  }
  return row;
}

/**
 * Signs a row again with higher fees, on its nonce, unless somebody has just done so.
 * @param olderThanMs - only if the last attempt is at least that old.
 * @returns the row with its new attempt, or as it is when there is none to make.
 */
export async function bump(
  pool: pg.Pool,
  account: ChainAccount,
  row: OutboxRow,
  olderThanMs: number,
): Promise<OutboxRow> {
  if (row.signer !== account.address) return row; // Signed by a key that was replaced since.
  const fees = await account.suggestFees();
  return await inTransaction(pool, async (client) => {
    await lockSigner(client, row.chainId, row.signer);
    const now = (await findRow(client, row.key)) ?? row;
    const isBumped = now.attempts.length > row.attempts.length;
    if (isBumped || now.attemptAgeMs < olderThanMs || now.blockNumber !== null) return now;
    const attempt = account.signBumped(now.attempts, fees);
    if (attempt === null) return now;
    await insertAttempt(client, now.key, now.attempts.length, attempt);
    return { ...now, attempts: [...now.attempts, attempt], attemptAgeMs: 0 };
  });
}

/**
 * Gives an intent whose nonce was used by somebody else the next free one.
 * @returns the row under its new nonce, not broadcast yet.
 */
export async function renew(
  pool: pg.Pool,
  account: ChainAccount,
  row: OutboxRow,
): Promise<OutboxRow> {
  const [fees, pending] = await Promise.all([
    account.suggestFees(),
    account.provider.getTransactionCount(account.address, 'pending'),
  ]);
  return await inTransaction(pool, async (client) => {
    await lockSigner(client, row.chainId, row.signer);
    const now = (await findRow(client, row.key)) ?? row;
    const last = now.attempts.at(-1);
    if (now.nonce !== row.nonce || last === undefined) return now;
    const { reserved } = await highestNonces(client, row.chainId, row.signer);
    const nonce = Math.max(pending, reserved + 1);
    const attempt = account.signMoved(last, nonce, fees);
    await moveRow(client, row.key, nonce, fees.block);
    await insertAttempt(client, row.key, now.attempts.length, attempt);
    const attempts = [...now.attempts, attempt];
    return { ...now, nonce, fromBlock: fees.block, state: 'signed', attempts, attemptAgeMs: 0 };
  });
}
