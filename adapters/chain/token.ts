/** The network's token, on every layer that pays with it: balances, permits, and the faucet of
 * development. @see contracts/src/onboarding/ICortensorToken.sol */
import { Signature, type BaseWallet, type JsonRpcProvider } from 'ethers';
import { cortensorTokenAbi } from '../../contracts/abi.js';
import { signingDomain } from '../../domain/attestation.js';
import type { LayerConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, Hex } from '../../domain/ids.js';
import { addressOf, BoundContract, type Write } from './contract.js';
import { signMessage } from './sign.js';

/** Reads: @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH */
export class TokenChain {
  readonly address: Address;
  readonly #token: BoundContract<typeof cortensorTokenAbi>;

  constructor(provider: JsonRpcProvider, contracts: LayerConfig['contracts']) {
    this.address = addressOf(contracts, 'token');
    this.#token = new BoundContract(provider, this.address, cortensorTokenAbi);
  }

  async readBalanceWei(owner: Address): Promise<bigint> {
    const [balance] = await this.#token.read('balanceOf', [owner]);
    return balance;
  }

  /** The number that the owner's next permit must carry. */
  async readPermitNonce(owner: Address): Promise<bigint> {
    const [nonce] = await this.#token.read('nonces', [owner]);
    return nonce;
  }

  /** Creates tokens; reverts unless the token's owner sends it. */
  encodeMint(to: Address, amountWei: bigint): Write {
    return this.#token.encode('mint', [to, amountWei]);
  }
}

/** Signs an EIP-2612 permit: the spender may take `valueWei` once.
 * @see https://eips.ethereum.org/EIPS/eip-2612 */
export async function signPermit(
  wallet: Pick<BaseWallet, 'address' | 'signingKey'>,
  token: { readonly chainId: number; readonly address: Address },
  permit: {
    readonly spender: Address;
    readonly valueWei: bigint;
    readonly nonce: bigint;
    /** Unix seconds. */
    readonly deadline: number;
  },
): Promise<Hex> {
  const { spender, valueWei: value, nonce, deadline } = permit;
  return await signMessage(wallet, 'Permit', signingDomain(token.chainId, token.address), {
    owner: wallet.address,
    spender,
    value,
    nonce,
    deadline,
  });
}

/** Splits a signature into what contracts with permits take.
 * @throws SIGNATURE_INVALID */
export function splitSignature(signature: Hex): readonly [v: number, r: Hex, s: Hex] {
  try {
    const { v, r, s } = Signature.from(signature);
    return [v, r as Hex, s as Hex];
  } catch {
    throw new EngineError('SIGNATURE_INVALID', { message: 'Permit' });
  }
}
