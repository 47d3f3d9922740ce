/** The service layer: sessions, their escrow, and the settlement of batches.
 * @see contracts/src/service/ISessionManager.sol, ISessionPayment.sol */
import { ZeroHash, type JsonRpcProvider } from 'ethers';
import { sessionManagerAbi, sessionPaymentAbi } from '../../contracts/abi.js';
import { signingDomain, type MessageType } from '../../domain/attestation.js';
import type { LayerConfig } from '../../domain/config.js';
import type { Address, Cid, Hex, SessionId } from '../../domain/ids.js';
import type { MoneySummary } from '../../domain/money.js';
import type {
  DepositRequest,
  OpenSessionRequest,
  PolicyChange,
  WithdrawalRequest,
} from '../../domain/session.js';
import type { SettlementBatch } from '../../domain/settlement.js';
import { digestOf } from '../ipfs/cid.js';
import { addressOf, BoundContract, type Write } from './contract.js';
import type { ReceiptSummary } from './receipt.js';
import { member } from './registry.js';
import { messageHash, type MessageValue } from './sign.js';
import { splitSignature } from './token.js';

/** Same order as `enum AccountStatus` in contracts/src/service/ISessionPayment.sol. */
const ACCOUNT_STATUSES = ['None', 'Open', 'Exiting', 'Closed'] as const;

/** A session as the chain knows it. */
export interface ChainSession {
  readonly sessionId: SessionId;
  readonly owner: Address;
  /** `Exiting`: the owner takes what is left after a delay; until then it settles like `Open`. */
  readonly status: 'Open' | 'Exiting' | 'Closed';
  /** SHA-256 of the policy's canonical JSON. */
  readonly policyHash: Hex;
  /** Changes of the policy so far; the nonce of the next one. */
  readonly policyNonce: number;
  /** Deposited, and neither charged nor refunded. */
  readonly heldWei: bigint;
  /** By all settled batches, and for the callback of a contract's request. */
  readonly chargedWei: bigint;
}

/** How a session ended on chain. */
export interface SessionClosing {
  readonly chargedWei: bigint;
  readonly refundedWei: bigint;
}

/** When an owner may take its money without the committee. */
export interface ExitTerms {
  /** Unix seconds, by the chain's clock; 0 where the owner has not asked to exit. */
  readonly exitAt: number;
  /** Seconds from the request to the exit. */
  readonly delaySeconds: number;
}

/** Reads: @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH */
export class ServiceChain {
  readonly sessionManager: Address;
  readonly sessionPayment: Address;
  readonly #manager: BoundContract<typeof sessionManagerAbi>;
  readonly #payment: BoundContract<typeof sessionPaymentAbi>;

  /** @throws CONFIG_INVALID — `sessionManager` or `sessionPayment` is not configured. */
  constructor(provider: JsonRpcProvider, contracts: LayerConfig['contracts']) {
    this.sessionManager = addressOf(contracts, 'sessionManager');
    this.sessionPayment = addressOf(contracts, 'sessionPayment');
    this.#manager = new BoundContract(provider, this.sessionManager, sessionManagerAbi);
    this.#payment = new BoundContract(provider, this.sessionPayment, sessionPaymentAbi);
  }

  /** @returns `null` when the session was never opened. */
  async readSession(sessionId: SessionId): Promise<ChainSession | null> {
    const [[session], [account]] = await Promise.all([
      this.#manager.read('sessionOf', [BigInt(sessionId)]),
      this.#payment.read('accountOf', [BigInt(sessionId)]),
    ]);
    const status = member(ACCOUNT_STATUSES, account.status, 'status of a session');
    if (status === 'None') return null;
    return {
      sessionId,
      owner: account.owner,
      status,
      policyHash: session.policyHash,
      policyNonce: session.policyNonce,
      heldWei: account.held,
      chargedWei: account.charged,
    };
  }

  /** Whether a session's policy is the one that lies there. */
  async hasPolicy(sessionId: SessionId, policyCid: Cid): Promise<boolean> {
    return (await this.readSession(sessionId))?.policyHash === digestOf(policyCid);
  }

  /** Tokens ever deposited and where they went, by the contract's own counters. Stakes, and so
   * slashing, are on the onboarding layer. */
  async readMoney(): Promise<MoneySummary> {
    const [depositedWei, paidWei, refundedWei, heldWei] = await this.#payment.read('money', []);
    return { depositedWei, paidWei, refundedWei, slashedWei: 0n, heldWei };
  }

  /** What a miner, or the treasury, has earned and not withdrawn. */
  async readEarningsWei(account: Address): Promise<bigint> {
    const [earnings] = await this.#payment.read('earningsOf', [account]);
    return earnings;
  }

  async isTaskSettled(sessionId: SessionId, ordinal: number): Promise<boolean> {
    const [isSettled] = await this.#payment.read('isTaskSettled', [
      BigInt(sessionId),
      BigInt(ordinal),
    ]);
    return isSettled;
  }

  /** Root of a settled batch; `null` when it is not settled. */
  async readBatchRoot(batchId: Hex): Promise<Hex | null> {
    const [root] = await this.#payment.read('rootOf', [batchId]);
    return root === ZeroHash ? null : root;
  }

  /** Whether a leaf (`taskLeaf`) is in a settled batch. */
  async verifyTask(batchId: Hex, leaf: Hex, proof: readonly Hex[]): Promise<boolean> {
    const [isIncluded] = await this.#payment.read('verifyTask', [batchId, leaf, proof]);
    return isIncluded;
  }

  /** How a session ended, whoever closed it; `null` while it has not. */
  async readClosing(sessionId: SessionId): Promise<SessionClosing | null> {
    const event = await this.#payment.findEvent('SessionClosed', BigInt(sessionId));
    return toClosing(event?.args ?? null);
  }

  /** How the session ended that a receipt of `encodeCloseSession` closed. */
  parseClosing(receipt: Pick<ReceiptSummary, 'logs'>): SessionClosing | null {
    return toClosing(this.#payment.parseEvent(receipt.logs, 'SessionClosed'));
  }

  /** @throws SIGNATURE_INVALID — the permit cannot be read. */
  encodeOpenSession(request: OpenSessionRequest, policyCid: Cid): Write {
    const { owner, clientReference, depositWei, signature, permit } = request;
    return this.#manager.encode('openSession', [
      owner,
      clientReference,
      digestOf(policyCid),
      BigInt(depositWei),
      signature,
      BigInt(permit.deadline),
      ...splitSignature(permit.signature),
    ]);
  }

  /** @throws SIGNATURE_INVALID — the permit cannot be read. */
  encodeDepositFor(request: DepositRequest): Write {
    const { sessionId, payer, amountWei, reference, signature, permit } = request;
    return this.#payment.encode('depositFor', [
      BigInt(sessionId),
      payer,
      BigInt(amountWei),
      reference,
      signature,
      BigInt(permit.deadline),
      ...splitSignature(permit.signature),
    ]);
  }

  /** @param signatures - of a quorum over `WithdrawDeposit`, by ascending signer. */
  encodeWithdrawDeposit(request: WithdrawalRequest, signatures: readonly Hex[]): Write {
    const { sessionId, amountWei, reference, signature } = request;
    return this.#payment.encode('withdrawDeposit', [
      BigInt(sessionId),
      BigInt(amountWei),
      reference,
      signature,
      signatures,
    ]);
  }

  /** @param policyCid - where the new policy lies. */
  encodeChangePolicy(change: Omit<PolicyChange, 'policy'>, policyCid: Cid): Write {
    const { sessionId, nonce, signature } = change;
    return this.#manager.encode('changePolicy', [
      BigInt(sessionId),
      digestOf(policyCid),
      BigInt(nonce),
      signature,
    ]);
  }

  /** Whether a deposit was made, whoever relayed it. */
  async isDeposited(request: Omit<DepositRequest, 'signature' | 'permit'>): Promise<boolean> {
    const { sessionId, payer, amountWei, reference } = request;
    return await this.#isUsed('Deposit', { sessionId, payer, amount: amountWei, reference });
  }

  /** Whether a withdrawal was made, whoever relayed it. */
  async isWithdrawn(request: Omit<WithdrawalRequest, 'signature'>): Promise<boolean> {
    const { sessionId, amountWei, reference } = request;
    return await this.#isUsed('WithdrawDeposit', { sessionId, amount: amountWei, reference });
  }

  async #isUsed(type: MessageType, value: MessageValue): Promise<boolean> {
    const [, , , chainId] = await this.#payment.read('eip712Domain', []);
    const digest = messageHash(type, signingDomain(Number(chainId), this.sessionPayment), value);
    const [isUsed] = await this.#payment.read('isUsed', [digest]);
    return isUsed;
  }

  /** When a session's owner may exit. */
  async readExit(sessionId: SessionId): Promise<ExitTerms> {
    const [[{ exitAt }], [delaySeconds]] = await Promise.all([
      this.#payment.read('accountOf', [BigInt(sessionId)]),
      this.#payment.read('exitDelay', []),
    ]);
    return { exitAt: Number(exitAt), delaySeconds: Number(delaySeconds) };
  }

  /** Who earns the fees. */
  async readTreasury(): Promise<Address> {
    const [treasury] = await this.#payment.read('treasury', []);
    return treasury;
  }

  /** What a receipt of `encodeWithdrawEarnings` paid out. */
  parseWithdrawnWei(receipt: Pick<ReceiptSummary, 'logs'>): bigint {
    const event = this.#payment.parseEvent(receipt.logs, 'EarningsWithdrawn');
    return (event?.['amount'] as bigint | undefined) ?? 0n;
  }

  encodeRequestExit(sessionId: SessionId): Write {
    return this.#payment.encode('requestExit', [BigInt(sessionId)]);
  }

  /** Reverts before the delay is over. */
  encodeExit(sessionId: SessionId): Write {
    return this.#payment.encode('exit', [BigInt(sessionId)]);
  }

  encodeWithdrawEarnings(): Write {
    return this.#payment.encode('withdraw', []);
  }

  /** @param signatures - of a quorum over `settleMessage(batch)`, by ascending signer. */
  encodeSettle(batch: SettlementBatch, signatures: readonly Hex[]): Write {
    return this.#payment.encode('settle', [
      batch.batchId,
      batch.root,
      batch.charges.map(({ sessionId, word, mask, amountWei }) => ({
        sessionId: BigInt(sessionId),
        word,
        mask: BigInt(mask),
        amount: BigInt(amountWei),
      })),
      batch.payments.map(({ miner, amountWei }) => ({ miner, amount: BigInt(amountWei) })),
      BigInt(batch.feeWei),
      signatures,
    ]);
  }

  /** @param close.chargedWei - the session's total, as the committee signed it. */
  encodeCloseSession(close: {
    readonly sessionId: SessionId;
    readonly chargedWei: string;
    readonly signatures: readonly Hex[];
  }): Write {
    return this.#payment.encode('closeSession', [
      BigInt(close.sessionId),
      BigInt(close.chargedWei),
      close.signatures,
    ]);
  }
}

function toClosing(event: Record<string, unknown> | null): SessionClosing | null {
  if (event === null) return null;
  return { chargedWei: event['charged'] as bigint, refundedWei: event['refunded'] as bigint };
}
