/** What owners and payers sign: the fields of such bodies, and whose signature it must be. */
import { z } from 'zod';
import { EngineError } from '../../../domain/errors.js';
import type { Address, Hex } from '../../../domain/ids.js';
import { parseWei } from '../../../domain/money.js';
import type { AppDeps } from '../app.js';

/** A text of this form, which the document of the API shows as a pattern. */
const hex = <T extends Hex>(pattern: RegExp, what: string) =>
  z.string().regex(pattern, `expected ${what}`) as z.ZodType<string> as z.ZodType<T>;
export const address = hex<Address>(/^0x[0-9a-fA-F]{40}$/, 'an address');
export const bytes32 = hex(/^0x[0-9a-fA-F]{64}$/, '32 bytes');
const keySignature = hex(/^0x[0-9a-fA-F]{130}$/, 'a signature of 65 bytes');
/** Of a key, or whatever a contract takes for one. */
export const signature = hex(/^0x([0-9a-fA-F]{2}){0,2048}$/, 'a signature of 2,048 bytes at most');
export const permit = z.object({
  owner: address,
  valueWei: z.string(),
  deadline: z.number().int().min(0),
  signature: keySignature,
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
