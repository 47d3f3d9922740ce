/** Texts that are signed as wallets do.
 * @see https://eips.ethereum.org/EIPS/eip-191 */
import { verifyMessage, type BaseWallet } from 'ethers';
import type { Address, Hex } from '../../domain/ids.js';

/** Signs a text. */
export async function signText(
  wallet: BaseWallet,
  text: string,
): Promise<{ readonly signer: Address; readonly signature: Hex }> {
  const signature = await wallet.signMessage(text);
  return { signer: wallet.address as Address, signature: signature as Hex };
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
