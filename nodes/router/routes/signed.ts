/** What owners and payers sign: the fields of such bodies, and whose signature it must be. */
import { z } from 'zod';
import { EngineError } from '../../../domain/errors.js';
import { sameAddress, type Address, type Hex } from '../../../domain/ids.js';
import { parseWei } from '../../../domain/money.js';
import type { AppDeps } from '../app.js';
import type { SignatureCheck } from '../crypto-pool.js';

/** A text of this form, which the document of the API shows as a pattern. */
const hex = <T extends Hex>(pattern: RegExp, what: string) =>
  z.string().regex(pattern, `expected ${what}`) as z.ZodType<string> as z.ZodType<T>;
export const address = hex<Address>(/^0x[0-9a-fA-F]{40}$/, 'an address');
export const bytes32 = hex(/^0x[0-9a-fA-F]{64}$/, '32 bytes');
export const signature = hex(/^0x[0-9a-fA-F]{130}$/, 'a signature of 65 bytes');
export const permit = z.object({
  owner: address,
  valueWei: z.string(),
  deadline: z.number().int().min(0),
  signature,
});

/** Bounds of every body but those with prompts. */
export function limitsOf(deps: AppDeps) {
  return {
    maxBytes: deps.limits.maxBodyBytes,
    tooLarge: 'CONTENT_TOO_LARGE',
    notText: 'REQUEST_INVALID',
  } as const;
}

/** Reads an amount that something is to be done with.
 * @throws AMOUNT_INVALID — not wei, beyond what a contract holds, or nothing. */
export function parseAmount(text: string, field: string): bigint {
  const wei = parseWei(text);
  if (wei === 0n) throw new EngineError('AMOUNT_INVALID', { field, expected: 'more than 0' });
  return wei;
}

/** Holds a signature to its signer.
 * @throws SIGNATURE_INVALID — another's, nobody's, or over something else. */
export async function requireSigner(
  deps: AppDeps,
  signer: Address,
  check: SignatureCheck,
): Promise<void> {
  const [recovered] = await deps.crypto.recover([check]);
  if (recovered === undefined || !sameAddress(recovered, signer)) {
    throw new EngineError('SIGNATURE_INVALID', { message: check.type, signer });
  }
}
