/** Texts that are signed as wallets do.
 * @see https://eips.ethereum.org/EIPS/eip-191 */
import { hashMessage, verifyMessage, Wallet } from 'ethers';
import type { Address, Hex } from '../../domain/ids.js';

/** Signs a text.
 * @param key - 0x and 64 hex digits. */
export async function signText(
  key: string,
  text: string,
): Promise<{ readonly signer: Address; readonly signature: Hex }> {
  const wallet = new Wallet(key);
  const signature = await wallet.signMessage(text);
  return { signer: wallet.address as Address, signature: signature as Hex };
}

/** What is signed of a text. */
export function hashText(text: string): Hex {
  return hashMessage(text) as Hex;
}

/** @returns `null` when the signature is nobody's. */
export function recoverTextSigner(text: string, signature: Hex): Address | null {
  try {
    return verifyMessage(text, signature) as Address;
  } catch {
    // ethers throws for each way in which bytes are no signature.
    return null;
  }
}
