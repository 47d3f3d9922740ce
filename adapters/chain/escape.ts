/** What people do on SessionPayment with their own keys, without the engine: owners leave, miners and
 * the treasury take what they earned. @see contracts/src/service/ISessionPayment.sol */
import { getCreateAddress, type JsonRpcProvider } from 'ethers';
import { sessionPaymentAbi } from '../../contracts/abi.js';
import type { Address, SessionId } from '../../domain/ids.js';
import { BoundContract, type Write } from './contract.js';
import type { ReceiptSummary } from './receipt.js';

/** When an owner may leave. */
export interface ExitTerms {
  /** Seconds between the request to exit and the exit. */
  readonly delaySeconds: number;
  /** Unix seconds, by the chain's clock; 0 where the owner has not asked to. */
  readonly exitAt: number;
  /** Unix seconds of the newest block. */
  readonly now: number;
}

/** Reads: @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH */
export class PaymentEscape {
  readonly #provider: JsonRpcProvider;
  readonly #payment: BoundContract<typeof sessionPaymentAbi>;

  constructor(provider: JsonRpcProvider, sessionPayment: Address) {
    this.#provider = provider;
    this.#payment = new BoundContract(provider, sessionPayment, sessionPaymentAbi);
  }

  async readExit(sessionId: SessionId): Promise<ExitTerms> {
    const [[account], [delaySeconds], block] = await Promise.all([
      this.#payment.read('accountOf', [BigInt(sessionId)]),
      this.#payment.read('exitDelay', []),
      this.#provider.getBlock('latest'),
    ]);
    return {
      delaySeconds: Number(delaySeconds),
      exitAt: Number(account.exitAt),
      now: block?.timestamp ?? 0,
    };
  }

  async readTreasury(): Promise<Address> {
    const [treasury] = await this.#payment.read('treasury', []);
    return treasury;
  }

  /** Starts the delay; sent by the owner. */
  encodeRequestExit(sessionId: SessionId): Write {
    return this.#payment.encode('requestExit', [BigInt(sessionId)]);
  }

  /** Closes the session and refunds what it holds; sent by the owner once the delay is over. */
  encodeExit(sessionId: SessionId): Write {
    return this.#payment.encode('exit', [BigInt(sessionId)]);
  }

  /** Pays the sender all that it has earned. */
  encodeWithdraw(): Write {
    return this.#payment.encode('withdraw', []);
  }

  /** What a receipt of `encodeWithdraw` paid. */
  parseWithdrawnWei(receipt: Pick<ReceiptSummary, 'logs'>): bigint {
    const event = this.#payment.parseEvent(receipt.logs, 'EarningsWithdrawn');
    return (event?.['amount'] as bigint | undefined) ?? 0n;
  }
}

/** The manager that a payment contract's constructor made: a contract's first creation has nonce 1
 * (EIP-161). */
export function managerOf(sessionPayment: Address): Address {
  return getCreateAddress({ from: sessionPayment, nonce: 1 }) as Address;
}
