/** What a committee signs of a batch: hashes over the very arguments that `settle` takes. */
import { AbiCoder, keccak256 } from 'ethers';
import type { Hex } from '../../domain/ids.js';
import type { SettlementBatch } from '../../domain/settlement.js';
import type { MessageValue } from './sign.js';

const CHARGES = 'tuple(uint64,uint32,uint256,uint128)[]';
const PAYMENTS = 'tuple(address,uint128)[]';

/** Builds the EIP-712 value of `Settle`. The order of charges and payments is part of it.
 * @see contracts/src/service/SessionPayment.sol settle */
export function settleMessage(
  batch: Pick<SettlementBatch, 'batchId' | 'root' | 'charges' | 'payments' | 'feeWei'>,
): MessageValue {
  const { batchId, root, charges, payments, feeWei } = batch;
  return {
    batchId,
    root,
    chargesHash: hash(
      CHARGES,
      charges.map((c) => [c.sessionId, c.word, c.mask, c.amountWei]),
    ),
    paymentsHash: hash(
      PAYMENTS,
      payments.map((p) => [p.miner.toLowerCase(), p.amountWei]),
    ),
    fee: feeWei,
  };
}

function hash(type: string, rows: readonly (readonly unknown[])[]): Hex {
  return keccak256(AbiCoder.defaultAbiCoder().encode([type], [rows])) as Hex;
}
