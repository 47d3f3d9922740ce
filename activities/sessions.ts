/** What a session does on chain between its owner's signature and its refund. */
import type { Write } from '../adapters/chain/contract.js';
import type { ServiceChain } from '../adapters/chain/service.js';
import { EngineError } from '../domain/errors.js';
import type { Cid, Hex, SessionId } from '../domain/ids.js';
import type { WeiString } from '../domain/money.js';
import type {
  DepositRequest,
  OpenSessionRequest,
  PolicyChange,
  WithdrawalRequest,
} from '../domain/session.js';

export interface SessionActivities {
  /** What is signed anyone may hand in: each of these is `null` when somebody else has, and its
   * transaction when not. */
  openSession(input: {
    readonly request: OpenSessionRequest;
    readonly policyCid: Cid;
  }): Promise<Hex | null>;
  /** Takes a deposit with its payer's permit. */
  depositFor(request: DepositRequest): Promise<Hex | null>;
  /** The deposit as it is on chain. */
  readDeposit(sessionId: SessionId): Promise<{
    /** Held and charged, together. */
    readonly depositedWei: WeiString;
    /** False when its owner takes the exit, or has. */
    readonly isOpen: boolean;
  }>;
  withdrawDeposit(input: {
    readonly request: WithdrawalRequest;
    /** Of the committee, in order of their signers. */
    readonly signatures: readonly Hex[];
  }): Promise<Hex | null>;
  changePolicy(input: {
    readonly change: PolicyChange;
    readonly policyCid: Cid;
  }): Promise<Hex | null>;
  closeSession(input: {
    readonly sessionId: SessionId;
    readonly chargedWei: WeiString;
    readonly signatures: readonly Hex[];
  }): Promise<{ readonly refundedWei: WeiString }>;
}

/** Writes to the service layer through the outbox, under a key that names the business. */
export interface ServiceWriter {
  /** Sends once a key.
   * @throws IDEMPOTENCY_CONFLICT — the key was used for other data. */
  readonly execute: (key: string, write: Write) => Promise<{ readonly hash: Hex }>;
  /** Sends once a key, whichever members of the committee have signed. */
  readonly executeSigned: ServiceWriter['execute'];
}

export function createSessionActivities(deps: {
  readonly service: ServiceChain;
  readonly writer: ServiceWriter;
}): SessionActivities {
  const { service, writer } = deps;
  const { execute, executeSigned } = writer;
  return {
    async openSession({ request, policyCid }) {
      const { sessionId } = request;
      const sent = execute(
        `open-session:${sessionId}`,
        service.encodeOpenSession(request, policyCid),
      );
      return await orDone(sent, () => service.hasPolicy(sessionId, policyCid));
    },

    async depositFor(request) {
      const key = `deposit:${request.sessionId}:${request.payer}:${request.reference}`;
      const sent = execute(key, service.encodeDepositFor(request));
      return await orDone(sent, () => service.isDeposited(request));
    },

    async readDeposit(sessionId) {
      const account = await service.readSession(sessionId);
      if (account === null) throw new EngineError('TRANSACTION_PENDING', { sessionId });
      const { heldWei, chargedWei, status } = account;
      return { depositedWei: (heldWei + chargedWei).toString(), isOpen: status === 'Open' };
    },

    async withdrawDeposit({ request, signatures }) {
      const key = `withdraw-deposit:${request.sessionId}:${request.reference}`;
      const sent = executeSigned(key, service.encodeWithdrawDeposit(request, signatures));
      return await orDone(sent, () => service.isWithdrawn(request));
    },

    async changePolicy({ change, policyCid }) {
      const { sessionId, nonce } = change;
      // Of two policies for one nonce, the first may have been refused.
      const key = `change-policy:${sessionId}:${nonce}:${policyCid}`;
      const sent = execute(key, service.encodeChangePolicy(change, policyCid));
      return await orDone(sent, () => service.hasPolicy(sessionId, policyCid));
    },

    async closeSession(close) {
      const { sessionId, chargedWei } = close;
      const key = `close-session:${sessionId}:${chargedWei}`;
      try {
        await executeSigned(key, service.encodeCloseSession(close));
      } catch (error) {
        // The owner may have taken its exit meanwhile; then there is nothing left to close.
        if (!isRevert(error) || (await service.readClosing(sessionId)) === null) throw error;
      }
      const closing = await service.readClosing(sessionId);
      if (closing === null) throw new EngineError('TRANSACTION_PENDING', { sessionId });
      return { refundedWei: closing.refundedWei.toString() };
    },
  };
}

/** @returns `null` when the transaction was refused because it had been done before. */
async function orDone(
  sent: Promise<{ readonly hash: Hex }>,
  isDone: () => Promise<boolean>,
): Promise<Hex | null> {
  try {
    return (await sent).hash;
  } catch (error) {
    if (!isRevert(error) || !(await isDone())) throw error;
    return null;
  }
}

function isRevert(error: unknown): boolean {
  return error instanceof EngineError && error.code === 'TRANSACTION_REVERTED';
}
