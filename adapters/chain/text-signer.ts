/** Who signed a text as wallets do.
 * @see https://eips.ethereum.org/EIPS/eip-191 */
import { verifyMessage } from 'ethers';
import type { Address, Hex } from '../../domain/ids.js';

/** @returns `null` when the signature is nobody's. */
export function recoverTextSigner(text: string, signature: Hex): Address | null {
  try {
    return verifyMessage(text, signature) as Address;
  } catch {
    // ethers throws for each way in which bytes are no signature.
    return null;
  }
}
