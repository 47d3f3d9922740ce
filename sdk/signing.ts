/** What owners and payers sign: openings, deposits with their permits, withdrawals, and policies. */
import { toHex } from '../adapters/seal/bytes.js';
import type { NetworkInfo } from '../domain/api.js';
import { MESSAGE_TYPES, signingDomain, type MessageType } from '../domain/attestation.js';
import type { Address, Hex, SessionId } from '../domain/ids.js';
import type { TokenPermit } from '../domain/session.js';

/** EIP-712 as wallets speak it: what differs between messages. */
interface TypedDomain {
  readonly name: string;
  readonly version: string;
  readonly chainId: number;
  readonly verifyingContract: string;
}

/** Whoever signs for the owner. An ethers `Wallet` or `Signer` with an `address` fits as it is; a
 * viem account in one line: `signTypedData: (domain, types, message) => account.signTypedData({
 * domain, types, message, primaryType: Object.keys(types)[0] })`. */
export interface OwnerSigner {
  readonly address: string;
  /** The account is a contract (ERC-1271). The token takes permits of keys alone: such an account has
   * approved `SessionPayment` for what it deposits. */
  readonly isContract?: boolean;
  signTypedData(
    domain: TypedDomain,
    types: Record<string, { name: string; type: string }[]>,
    value: Record<string, string | number | bigint>,
  ): Promise<string>;
}

/** In the place of a permit that nobody can sign: the token refuses it, and the allowance counts. */
const NO_PERMIT: Hex = `0x${'00'.repeat(64)}1b`;
/** Seconds that a permit may be used in. */
const PERMIT_SECONDS = 3_600;

/** Signs the opening of a session, for SessionManager. */
export function signOpening(
  signer: OwnerSigner,
  network: NetworkInfo,
  opening: { readonly clientReference: Hex; readonly policyHash: Hex; readonly depositWei: bigint },
): Promise<Hex> {
  const { clientReference, policyHash, depositWei: deposit } = opening;
  const value = { owner: signer.address, clientReference, policyHash, deposit };
  return sign(signer, network, 'OpenSession', 'sessionManager', value);
}

/** Signs another policy for an open session, for SessionManager.
 * @param change - `nonce`: changes of this session's policy so far. */
export function signPolicyChange(
  signer: OwnerSigner,
  network: NetworkInfo,
  change: { readonly sessionId: SessionId; readonly policyHash: Hex; readonly nonce: number },
): Promise<Hex> {
  return sign(signer, network, 'ChangePolicy', 'sessionManager', { ...change });
}

/** Signs whose deposit it is, and for which session, for SessionPayment. */
export function signDeposit(
  signer: OwnerSigner,
  network: NetworkInfo,
  deposit: { readonly sessionId: SessionId; readonly amountWei: bigint; readonly reference: Hex },
): Promise<Hex> {
  const { sessionId, amountWei: amount, reference } = deposit;
  const value = { sessionId, payer: signer.address, amount, reference };
  return sign(signer, network, 'Deposit', 'sessionPayment', value);
}

/** Signs that a part of a session's deposit goes back to its owner, for SessionPayment. */
export function signWithdrawal(
  signer: OwnerSigner,
  network: NetworkInfo,
  withdrawal: {
    readonly sessionId: SessionId;
    readonly amountWei: bigint;
    readonly reference: Hex;
  },
): Promise<Hex> {
  const { sessionId, amountWei: amount, reference } = withdrawal;
  const value = { sessionId, amount, reference };
  return sign(signer, network, 'WithdrawDeposit', 'sessionPayment', value);
}

/** Signs the permit that lets SessionPayment take a deposit.
 * @param permit - `nonce`: the signer's next EIP-2612 nonce. */
export async function signPermit(
  signer: OwnerSigner,
  network: NetworkInfo,
  permit: { readonly valueWei: bigint; readonly nonce: bigint },
): Promise<TokenPermit> {
  const { valueWei: value, nonce } = permit;
  const deadline = Math.floor(Date.now() / 1_000) + PERMIT_SECONDS;
  const owner = signer.address as Address;
  const spender = network.contracts.sessionPayment;
  const message = { owner, spender, value, nonce, deadline };
  const signature =
    signer.isContract === true
      ? NO_PERMIT
      : await sign(signer, network, 'Permit', 'token', message);
  return { owner, valueWei: value.toString(), deadline, signature };
}

/** A reference that nobody has used. */
export function randomReference(): Hex {
  return toHex(crypto.getRandomValues(new Uint8Array(32)));
}

async function sign(
  signer: OwnerSigner,
  { chainId, contracts }: NetworkInfo,
  type: MessageType,
  verifier: keyof NetworkInfo['contracts'],
  value: Record<string, string | number | bigint>,
): Promise<Hex> {
  const domain = signingDomain(chainId, contracts[verifier]);
  const types = { [type]: MESSAGE_TYPES[type].map((field) => ({ ...field })) };
  return (await signer.signTypedData({ ...domain }, types, value)) as Hex;
}
