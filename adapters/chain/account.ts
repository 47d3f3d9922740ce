/**
 * One signer on one chain: simulates, prices, signs and broadcasts single transactions, and knows
 * what a node means by its errors. It keeps no nonces; those are the outbox's.
 */
import { getAddress, Transaction, type BaseWallet, type JsonRpcProvider } from 'ethers';
import { EngineError } from '../../domain/errors.js';
import type { Address, Hex } from '../../domain/ids.js';
import type { Attempt } from './outbox-store.js';
import { describeRevert, nodeMessage, revertDataOf } from './revert.js';

export interface Fees {
  readonly maxFeeWei: bigint;
  readonly tipWei: bigint;
  /** Head of the chain when the fees were read. */
  readonly block: number;
  readonly blockGasLimit: bigint;
}

/** What goes into a transaction apart from nonce and fees. */
export interface Call {
  readonly to: Address | null;
  readonly data: Hex;
}

/** How a node took a transaction. `spent`: the nonce is used, by this transaction or another. */
export type Broadcast = 'accepted' | 'spent' | 'underpriced';

/** Estimates are of the state now; the transaction runs on a later one. */
const GAS_MARGIN_PERCENT = 125n;
/** Fees are good for about one block. */
const FEES_TTL_MS = 1_000;
/** A replacement must raise both fees: by 10 % for most nodes, and a little more to be safe. */
const BUMP_PER_MILLE = 1_125n;
/** A transaction never offers more than this multiple of its first fee. */
const BUMP_CAP = 5n;

export class ChainAccount {
  readonly provider: JsonRpcProvider;
  readonly chainId: number;
  /** Lower-case. */
  readonly address: Address;
  readonly #wallet: Pick<BaseWallet, 'address' | 'signingKey'>;
  #fees: { readonly value: Promise<Fees>; readonly readMs: number } | undefined;

  constructor(
    provider: JsonRpcProvider,
    chainId: number,
    wallet: Pick<BaseWallet, 'address' | 'signingKey'>,
  ) {
    this.provider = provider;
    this.chainId = chainId;
    this.address = wallet.address.toLowerCase() as Address;
    this.#wallet = wallet;
  }

  /**
   * Runs the call without sending it.
   * @returns gas to allow, with a margin.
   * @throws TRANSACTION_REVERTED — it would revert. @throws TRANSACTION_PENDING — the signer cannot
   * pay for it, or the node would not run it. @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH
   */
  async simulate(call: Call, fees: Fees): Promise<bigint> {
    const [gas, balanceWei] = await Promise.all([
      this.#estimate(call),
      this.provider.getBalance(this.address, 'pending'),
    ]);
    const withMargin = (gas * GAS_MARGIN_PERCENT) / 100n;
    const gasLimit = withMargin < fees.blockGasLimit ? withMargin : fees.blockGasLimit;
    const neededWei = gasLimit * fees.maxFeeWei;
    if (balanceWei < neededWei) {
      throw new EngineError('TRANSACTION_PENDING', {
        reason: 'the signer has too little to pay for gas',
        signer: getAddress(this.address),
        chainId: this.chainId,
        balanceWei: balanceWei.toString(),
        neededWei: neededWei.toString(),
      });
    }
    return gasLimit;
  }

  async #estimate(call: Call): Promise<bigint> {
    try {
      return await this.provider.estimateGas({ from: this.address, to: call.to, data: call.data });
    } catch (error) {
      if (error instanceof EngineError) throw error;
      const data = revertDataOf(error);
      if (data !== undefined) {
        throw new EngineError('TRANSACTION_REVERTED', {
          ...describeRevert(data),
          ...(call.to === null ? {} : { to: getAddress(call.to) }),
          stage: 'simulation',
        });
      }
      const reason = nodeMessage(error);
      throw new EngineError('TRANSACTION_PENDING', { reason, stage: 'simulation' });
    }
  }

  /** What to offer now: the suggested tip, and twice the base fee, which lasts six full blocks. */
  async suggestFees(): Promise<Fees> {
    if (this.#fees !== undefined && Date.now() - this.#fees.readMs < FEES_TTL_MS) {
      return await this.#fees.value;
    }
    const value = this.#readFees();
    this.#fees = { value, readMs: Date.now() };
    value.catch(() => {
      this.#fees = undefined; // Whoever awaits it gets the error; the next one asks again.
    });
    return await value;
  }

  async #readFees(): Promise<Fees> {
    const [block, tip] = await Promise.all([
      this.provider.getBlock('latest'),
      this.provider.send('eth_maxPriorityFeePerGas', []),
    ]);
    if (block?.baseFeePerGas == null || typeof tip !== 'string') {
      throw new EngineError('CHAIN_MISMATCH', { expected: 'a chain with EIP-1559 fees' });
    }
    const tipWei = BigInt(tip);
    return {
      maxFeeWei: tipWei + 2n * block.baseFeePerGas,
      tipWei,
      block: block.number,
      blockGasLimit: block.gasLimit,
    };
  }

  sign(call: Call, nonce: number, gasLimit: bigint, fees: Fees): Attempt {
    return this.#sign(
      Transaction.from({
        type: 2,
        chainId: this.chainId,
        nonce,
        to: call.to,
        data: call.data,
        gasLimit,
        maxFeePerGas: fees.maxFeeWei,
        maxPriorityFeePerGas: fees.tipWei,
      }),
    );
  }

  /** Signs an earlier attempt again with another nonce. */
  signMoved(attempt: Attempt, nonce: number, fees: Fees): Attempt {
    const { to, data, gasLimit } = Transaction.from(attempt.raw);
    return this.sign({ to: to as Address | null, data: data as Hex }, nonce, gasLimit, fees);
  }

  /** Signs the last attempt again with higher fees.
   * @returns `null` when the cap leaves no room for a replacement that nodes would take. */
  signBumped(attempts: readonly Attempt[], fees: Fees): Attempt | null {
    const [first, last] = [attempts[0], attempts.at(-1)];
    if (first === undefined || last === undefined) return null;
    const origin = Transaction.from(first.raw);
    const next = Transaction.from(last.raw).clone();
    const raise = (now: bigint | null, suggested: bigint, start: bigint | null): bigint | null => {
      const least = ((now ?? 0n) * BUMP_PER_MILLE) / 1_000n + 1n;
      const cap = (start ?? 0n) * BUMP_CAP;
      if (least > cap) return null;
      return suggested > cap ? cap : suggested > least ? suggested : least;
    };
    const maxFeeWei = raise(next.maxFeePerGas, fees.maxFeeWei, origin.maxFeePerGas);
    const tipWei = raise(next.maxPriorityFeePerGas, fees.tipWei, origin.maxPriorityFeePerGas);
    if (maxFeeWei === null || tipWei === null) return null;
    next.maxFeePerGas = maxFeeWei;
    next.maxPriorityFeePerGas = tipWei;
    return this.#sign(next);
  }

  #sign(transaction: Transaction): Attempt {
    transaction.signature = this.#wallet.signingKey.sign(transaction.unsignedHash);
    return { hash: transaction.hash as Hex, raw: transaction.serialized as Hex };
  }

  /**
   * Hands signed bytes to the node. Safe to repeat: the same bytes are the same transaction.
   * @throws TRANSACTION_PENDING — the node does not take it now, and does not know it either.
   * @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH
   */
  async broadcast(attempt: Attempt): Promise<Broadcast> {
    try {
      await this.provider.send('eth_sendRawTransaction', [attempt.raw]);
      return 'accepted';
    } catch (error) {
      if (error instanceof EngineError) throw error;
      const message = nodeMessage(error);
      if (/already known|already imported|known transaction|already exists/i.test(message)) {
        return 'accepted';
      }
      if (/nonce.*too low|nonce.*already/i.test(message)) return 'spent';
      if (/underpriced|less than block base fee|fee too low/i.test(message)) return 'underpriced';
      // Nodes word the rest as they like; whether they have it decides.
      if ((await this.provider.getTransaction(attempt.hash)) !== null) return 'accepted';
      throw new EngineError('TRANSACTION_PENDING', { reason: message, hash: attempt.hash });
    }
  }
}
