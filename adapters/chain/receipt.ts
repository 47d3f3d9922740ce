/** Receipts: found by any hash of an intent, summed up, and explained where the contract refused. */
import { getAddress, getCreateAddress, Transaction, type JsonRpcProvider } from 'ethers';
import type { TransactionReceipt } from 'ethers';
import { EngineError, type ErrorDetails } from '../../domain/errors.js';
import type { Address, Hex } from '../../domain/ids.js';
import type { OutboxRow } from './outbox-store.js';
import { describeRevert, revertDataOf } from './revert.js';

/** A final transaction, as far as callers need it. */
export interface ReceiptSummary {
  readonly hash: Hex;
  readonly blockNumber: number;
  /** Of a deployment. */
  readonly contractAddress: Address | null;
  readonly logs: readonly {
    readonly address: Address;
    readonly topics: readonly Hex[];
    readonly data: Hex;
  }[];
}

/** Looks for the receipt of an intent under every hash it was sent with, newest first.
 * @returns `null` when the node has none of them now, which proves nothing. */
export async function findReceipt(
  provider: Pick<JsonRpcProvider, 'getTransactionReceipt'>,
  row: OutboxRow,
): Promise<TransactionReceipt | null> {
  for (const { hash } of row.attempts.toReversed()) {
    const receipt = await provider.getTransactionReceipt(hash);
    if (receipt !== null) return receipt;
  }
  return null;
}

export function summarise(
  row: Pick<OutboxRow, 'signer' | 'nonce'>,
  receipt: TransactionReceipt,
): ReceiptSummary {
  return {
    hash: receipt.hash as Hex,
    blockNumber: receipt.blockNumber,
    contractAddress:
      receipt.to === null
        ? (getCreateAddress({ from: row.signer, nonce: row.nonce }) as Address)
        : null,
    logs: receipt.logs.map((log) => ({
      address: getAddress(log.address) as Address,
      topics: log.topics as readonly Hex[],
      data: log.data as Hex,
    })),
  };
}

/** Finds out why a mined transaction reverted, by running it again on the state before its block, or
 * where the node has no such state on the present one: receipts do not hold the reason. */
export async function explainRevert(
  provider: Pick<JsonRpcProvider, 'call'>,
  row: Pick<OutboxRow, 'signer' | 'attempts'>,
  receipt: TransactionReceipt,
): Promise<ErrorDetails> {
  const attempt = row.attempts.find(({ hash }) => hash === receipt.hash);
  if (attempt === undefined) return { error: 'unknown' };
  const { to, data, gasLimit } = Transaction.from(attempt.raw);
  if (receipt.gasUsed === gasLimit) return { error: 'OutOfGas', gasLimit: gasLimit.toString() };
  for (const blockTag of [receipt.blockNumber - 1, 'latest']) {
    try {
      await provider.call({ from: row.signer, to, data, blockTag });
    } catch (error) {
      if (error instanceof EngineError) throw error;
      const revertData = revertDataOf(error);
      if (revertData !== undefined) return describeRevert(revertData);
    }
  }
  return { error: 'unknown' };
}
