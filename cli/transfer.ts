/** What commands that move an owner's tokens take. */
import { randomBytes } from 'node:crypto';
import { EngineError } from '../domain/errors.js';
import type { Hex } from '../domain/ids.js';
import { parseTokens } from '../domain/money.js';

export const REFERENCE_OPTION = {
  reference: {
    value: 'HEX',
    about: '0x and 64 hex digits: the same one is the same transfer; default: a random one',
  },
} as const;

/** Reads an amount of tokens. @throws AMOUNT_INVALID — no amount, or 0. */
export function parseAmount(text: string): bigint {
  const amountWei = parseTokens(text);
  if (amountWei === 0n) throw new EngineError('AMOUNT_INVALID', { expected: 'more than 0 tokens' });
  return amountWei;
}

/** @throws USAGE — not a reference. */
export function referenceOf(text: string | undefined): Hex {
  if (text === undefined) return `0x${randomBytes(32).toString('hex')}`;
  if (/^0x[0-9a-fA-F]{64}$/.test(text)) return text.toLowerCase() as Hex;
  throw new EngineError('USAGE', { option: '--reference', expected: '0x and 64 hex digits' });
}
