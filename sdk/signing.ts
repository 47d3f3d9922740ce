/** What an owner signs to open a session: the opening, and the permit for its deposit. */
import type { NetworkInfo } from '../domain/api.js';
import { MESSAGE_TYPES, signingDomain } from '../domain/attestation.js';
import type { Address, Hex } from '../domain/ids.js';
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
  signTypedData(
    domain: TypedDomain,
    types: Record<string, { name: string; type: string }[]>,
    value: Record<string, string | number | bigint>,
  ): Promise<string>;
}

/** Name and version of CortensorToken's permit domain. @see contracts/src/onboarding/CortensorToken.sol */
const TOKEN_DOMAIN = { name: 'Cortensor', version: '1' } as const;
/** EIP-2612. @see https://eips.ethereum.org/EIPS/eip-2612 */
const PERMIT_FIELDS = [
  { name: 'owner', type: 'address' },
  { name: 'spender', type: 'address' },
  { name: 'value', type: 'uint256' },
  { name: 'nonce', type: 'uint256' },
  { name: 'deadline', type: 'uint256' },
];
/** Seconds that a permit may be used in. */
const PERMIT_SECONDS = 3_600;

/** Signs the opening of a session, for SessionManager. */
export async function signOpening(
  signer: OwnerSigner,
  network: NetworkInfo,
  opening: { readonly clientReference: Hex; readonly policyHash: Hex; readonly depositWei: bigint },
): Promise<Hex> {
  const { clientReference, policyHash, depositWei: deposit } = opening;
  const domain = signingDomain(network.chainId, network.contracts.sessionManager);
  const types = { OpenSession: MESSAGE_TYPES.OpenSession.map((field) => ({ ...field })) };
  const value = { owner: signer.address, clientReference, policyHash, deposit };
  return (await signer.signTypedData(domain, types, value)) as Hex;
}

/** Signs the permit that lets SessionPayment take the deposit.
 * @param nonce - the owner's next EIP-2612 nonce. */
export async function signPermit(
  signer: OwnerSigner,
  network: NetworkInfo,
  permit: { readonly valueWei: bigint; readonly nonce: bigint },
): Promise<TokenPermit> {
  const { chainId, contracts } = network;
  const deadline = Math.floor(Date.now() / 1_000) + PERMIT_SECONDS;
  const value = {
    owner: signer.address,
    spender: contracts.sessionPayment,
    value: permit.valueWei,
    nonce: permit.nonce,
    deadline,
  };
  const domain = { ...TOKEN_DOMAIN, chainId, verifyingContract: contracts.token };
  const signature = await signer.signTypedData(domain, { Permit: PERMIT_FIELDS }, value);
  return {
    owner: signer.address as Address,
    valueWei: permit.valueWei.toString(),
    deadline,
    signature: signature as Hex,
  };
}
