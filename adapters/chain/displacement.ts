/**
 * Whether a nonce was used by a transaction of somebody else with the same key. A receipt that is
 * missing proves nothing (nodes prune and lag), so the other transaction itself is looked for.
 */
import type { JsonRpcProvider } from 'ethers';
import { EngineError } from '../../domain/errors.js';
import { sameAddress, type Hex } from '../../domain/ids.js';
import type { OutboxRow } from './outbox-store.js';

/**
 * Finds the transaction that took a nonce, in the blocks from the row's reservation to `head`.
 * @returns its hash (perhaps one of the row's own); `null` when the node cannot tell, for example
 *   because it does not keep the state of past blocks.
 * @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH
 */
export async function findByNonce(
  provider: Pick<JsonRpcProvider, 'getTransactionCount' | 'getBlock'>,
  row: Pick<OutboxRow, 'signer' | 'nonce' | 'fromBlock'>,
  head: number,
): Promise<Hex | null> {
  try {
    if ((await provider.getTransactionCount(row.signer, head)) <= row.nonce) return null;
    // Invariant of the search: mined at `high`, and not yet at `low`.
    let low = Math.min(row.fromBlock, head) - 1;
    let high = head;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      const mined = await provider.getTransactionCount(row.signer, middle);
      if (mined > row.nonce) high = middle;
      else low = middle;
    }
    const block = await provider.getBlock(high, true);
    const found = block?.prefetchedTransactions.find(
      (transaction) => transaction.nonce === row.nonce && sameAddress(transaction.from, row.signer),
    );
    return (found?.hash ?? null) as Hex | null;
  } catch (error) {
    if (error instanceof EngineError) throw error;
    return null; // The node refuses to look into past blocks.
  }
}
