/** An owner of sessions with tokens, that signs what a session's life asks for. */
import { id, Wallet } from 'ethers';
import type { Write } from '../../adapters/chain/contract.js';
import type { ServiceChain } from '../../adapters/chain/service.js';
import { signMessage, type MessageValue } from '../../adapters/chain/sign.js';
import { signPermit, TokenChain } from '../../adapters/chain/token.js';
import { cidOf, digestOf } from '../../adapters/ipfs/cid.js';
import { sessionIdOf } from '../../adapters/seal/session-id.js';
import { signingDomain, type MessageType } from '../../domain/attestation.js';
import type { Address, Hex, SessionId } from '../../domain/ids.js';
import { parsePolicy, type TokenPermit } from '../../domain/session.js';
import { CHAIN_ID, DEADLINE, type CommitteeChain } from './committee-chain.js';

/** Stands for everything on IPFS: what lies there costs no gas. */
export const CONTENT = cidOf(new TextEncoder().encode('bench'));
export const DEPOSIT_WEI = 10n ** 21n;
const POLICY = parsePolicy({
  model: 'bench',
  redundancy: 3,
  level: 'open',
  priceCeilingWei: '1',
  maxTasks: 100_000,
});

export interface Owner {
  /** Opens a session with a deposit of `DEPOSIT_WEI`.
   * @returns its id, and the transaction's gas. */
  open(reference: string): Promise<{ readonly sessionId: SessionId; readonly gas: number }>;
  /** Adds to a session by relay. @returns gas. */
  deposit(sessionId: SessionId, reference: string): Promise<number>;
  /** Takes back from a session, with the committee's consent. @returns gas. */
  withdraw(sessionId: SessionId, reference: string): Promise<number>;
  /** Closes a session, which was never charged, by the committee. @returns gas. */
  close(sessionId: SessionId): Promise<number>;
}

/** Mints to an owner as much as it will deposit. */
export async function fundOwner(
  chain: CommitteeChain,
  service: ServiceChain,
  deposits: number,
): Promise<Owner> {
  const wallet = new Wallet(id('bench owner'));
  const owner = wallet.address as Address;
  const token = new TokenChain(chain.provider, chain.contracts);
  await chain.execute(token.encodeMint(owner, DEPOSIT_WEI * BigInt(deposits)));
  const { sessionManager, sessionPayment } = service;
  const sign = (type: MessageType, contract: Address, value: MessageValue): Promise<Hex> =>
    signMessage(wallet, type, signingDomain(CHAIN_ID, contract), value);
  const permit = async (): Promise<TokenPermit> => {
    const nonce = await token.readPermitNonce(owner);
    const at = { chainId: CHAIN_ID, address: token.address };
    const terms = { spender: sessionPayment, valueWei: DEPOSIT_WEI, nonce, deadline: DEADLINE };
    const signature = await signPermit(wallet, at, terms);
    return { owner, valueWei: `${DEPOSIT_WEI}`, deadline: DEADLINE, signature };
  };
  return {
    async open(reference) {
      const clientReference = id(reference) as Hex;
      const policyHash = digestOf(CONTENT);
      const opening = { owner, clientReference, policyHash, deposit: DEPOSIT_WEI };
      const request = {
        sessionId: await sessionIdOf({
          chainId: CHAIN_ID,
          sessionManager,
          owner,
          clientReference,
        }),
        owner,
        clientReference,
        policy: POLICY,
        depositWei: `${DEPOSIT_WEI}`,
        signature: await sign('OpenSession', sessionManager, opening),
        permit: await permit(),
      };
      const gas = await chain.execute(service.encodeOpenSession(request, CONTENT));
      return { sessionId: request.sessionId, gas };
    },
    async deposit(sessionId, text) {
      const reference = id(text) as Hex;
      const value = { sessionId, payer: owner, amount: DEPOSIT_WEI, reference };
      const request = {
        sessionId,
        payer: owner,
        amountWei: `${DEPOSIT_WEI}`,
        reference,
        signature: await sign('Deposit', sessionPayment, value),
        permit: await permit(),
      };
      return await chain.execute(service.encodeDepositFor(request));
    },
    async withdraw(sessionId, text) {
      const reference = id(text) as Hex;
      const value = { sessionId, amount: 1n, reference };
      const request = {
        sessionId,
        amountWei: '1',
        reference,
        signature: await sign('WithdrawDeposit', sessionPayment, value),
      };
      const consent = await chain.approve('WithdrawDeposit', sessionPayment, value);
      return await chain.execute(service.encodeWithdrawDeposit(request, consent));
    },
    async close(sessionId) {
      const value = { sessionId, charged: 0n };
      const signatures = await chain.approve('CloseSession', sessionPayment, value);
      const closing: Write = service.encodeCloseSession({ sessionId, chargedWei: '0', signatures });
      return await chain.execute(closing);
    },
  };
}
