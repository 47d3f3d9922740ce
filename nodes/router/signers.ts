/**
 * Whose signature something bears: that of a key, or that of a contract, which is asked on the service
 * layer. Contracts are asked only where no key fits, and a few at a time.
 */
import { messageHash } from '../../adapters/chain/sign.js';
import { hashText, recoverTextSigner } from '../../adapters/chain/text-signer.js';
import { EngineError, findEngineError } from '../../domain/errors.js';
import { sameAddress, type Address, type Hex } from '../../domain/ids.js';
import type { CryptoPool, SignatureCheck } from './crypto-pool.js';

/** Contracts that are asked at once: whoever is not known yet may have them asked. */
const MAX_ASKED = 8;

/** Asks contracts on the service layer (ERC-1271).
 * @throws CHAIN_UNREACHABLE — nothing is known of the signature. */
export type ContractSignatures = (wallet: Address, digest: Hex, signature: Hex) => Promise<boolean>;

export class Signers {
  readonly #crypto: Pick<CryptoPool, 'recover'>;
  readonly #isContracts: ContractSignatures;
  #asked = 0;

  constructor(crypto: Pick<CryptoPool, 'recover'>, isContracts: ContractSignatures) {
    this.#crypto = crypto;
    this.#isContracts = isContracts;
  }

  /** Holds a message to its signer.
   * @returns what the signer is.
   * @throws SIGNATURE_INVALID — another's, nobody's, or over something else.
   * @throws CHAIN_UNREACHABLE, ROUTER_BUSY — it is no key's, and its contract could not be asked. */
  async require(signer: Address, check: SignatureCheck): Promise<'key' | 'contract'> {
    if (sameAddress((await this.#recover(check)) ?? '0x', signer)) return 'key';
    const { type, domain, value, signature } = check;
    const digest = messageHash(type, domain, value);
    if (await this.#isContract(signer, digest, signature)) return 'contract';
    throw new EngineError('SIGNATURE_INVALID', { message: type, signer });
  }

  /** Holds a text that is signed as wallets do (EIP-191) to its signer; throws as `require`. */
  async requireText(signer: Address, text: string, signature: Hex): Promise<void> {
    if (sameAddress(recoverTextSigner(text, signature) ?? '0x', signer)) return;
    if (await this.#isContract(signer, hashText(text), signature)) return;
    throw new EngineError('SIGNATURE_INVALID', { signer });
  }

  async #recover(check: SignatureCheck): Promise<Address | null> {
    try {
      return (await this.#crypto.recover([check]))[0] ?? null;
    } catch (error) {
      if (findEngineError(error)?.code !== 'SIGNATURE_INVALID') throw error;
      return null;
    }
  }

  async #isContract(signer: Address, digest: Hex, signature: Hex): Promise<boolean> {
    if (this.#asked >= MAX_ASKED) throw new EngineError('ROUTER_BUSY');
    this.#asked++;
    try {
      return await this.#isContracts(signer, digest, signature);
    } finally {
      this.#asked--;
    }
  }
}
