/**
 * Accounts that are contracts, and say by themselves what they have signed.
 * @see https://eips.ethereum.org/EIPS/eip-1271
 */
import { Interface, type JsonRpcProvider } from 'ethers';
import { EngineError } from '../../domain/errors.js';
import type { Address, Hex } from '../../domain/ids.js';
import { nodeMessage, revertDataOf } from './revert.js';

const WALLET = new Interface(['function isValidSignature(bytes32, bytes) view returns (bytes4)']);
/** What a contract answers that has signed. */
const MAGIC = '1626ba7e';
/** Enough for a wallet of many keys; one that takes more has not signed. */
const GAS = 1_000_000;

/** Asks a contract whether a signature is its own, at the newest block.
 * @param digest - what was signed, 32 bytes.
 * @returns false also for an account without code, and for a contract that reverts, answers something
 *   else, or takes more than 1,000,000 gas.
 * @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH — nothing is known of the signature. */
export async function isContractSignature(
  provider: JsonRpcProvider,
  wallet: Address,
  digest: Hex,
  signature: Hex,
): Promise<boolean> {
  const data = WALLET.encodeFunctionData('isValidSignature', [digest, signature]);
  try {
    const answer = await provider.call({ to: wallet, data, gasLimit: GAS });
    return answer.toLowerCase() === `0x${MAGIC.padEnd(64, '0')}`;
  } catch (error) {
    if (error instanceof EngineError) throw error;
    if (revertDataOf(error) !== undefined) return false;
    const reason = nodeMessage(error);
    // Some nodes have their own words for it.
    if (/outofgas|gas (limit|required)/i.test(reason)) return false;
    throw new EngineError('CHAIN_UNREACHABLE', { reason }, { cause: error });
  }
}
