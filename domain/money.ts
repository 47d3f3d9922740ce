/**
 * Amounts of the network's token, always as `bigint` in its smallest unit (wei, 18 decimals).
 * Outside a process (Temporal payloads, JSON, SQL) an amount is a decimal string of that unit.
 */
import { EngineError } from './errors.js';

/** Decimal string of an amount in wei: `0` or digits without a leading zero. */
export type WeiString = string;

export const TOKEN_DECIMALS = 18;
const MAX_UINT128 = (1n << 128n) - 1n;

/** Reads an amount in wei.
 * @throws AMOUNT_INVALID — anything but a plain non-negative decimal below 2^128. */
export function parseWei(text: WeiString): bigint {
  if (!/^(0|[1-9]\d{0,38})$/.test(text)) {
    throw new EngineError('AMOUNT_INVALID', { expected: 'a decimal string of wei' });
  }
  const amount = BigInt(text);
  if (amount > MAX_UINT128) {
    throw new EngineError('AMOUNT_INVALID', { expected: 'an amount below 2^128 wei' });
  }
  return amount;
}

/** Writes an amount of whole tokens with up to 18 decimals, for people: `1.25`. */
export function formatTokens(amountWei: bigint): string {
  const sign = amountWei < 0n ? '-' : '';
  const digits = (amountWei < 0n ? -amountWei : amountWei)
    .toString()
    .padStart(TOKEN_DECIMALS + 1, '0');
  const whole = digits.slice(0, -TOKEN_DECIMALS);
  const fraction = digits.slice(-TOKEN_DECIMALS).replace(/0+$/, '');
  return fraction === '' ? `${sign}${whole}` : `${sign}${whole}.${fraction}`;
}

/** Reads whole tokens as people write them (`100`, `0.5`) into wei.
 * @throws AMOUNT_INVALID — not a non-negative decimal with at most 18 places. */
export function parseTokens(text: string): bigint {
  const match = /^(\d{1,20})(?:\.(\d{1,18}))?$/.exec(text);
  if (match === null) {
    throw new EngineError('AMOUNT_INVALID', { expected: 'tokens, as in 100 or 0.5' });
  }
  const [, whole = '0', fraction = ''] = match;
  return parseWei(BigInt(whole + fraction.padEnd(TOKEN_DECIMALS, '0')).toString());
}

/** The protocol's share of `amountWei`, rounded down so that a fee never exceeds its rate. */
export function feeOf(amountWei: bigint, feeBps: number): bigint {
  return (amountWei * BigInt(feeBps)) / 10_000n;
}

/** The sums that must close, in every reachable state (design section 9, invariant 1). */
export interface MoneySummary {
  readonly depositedWei: bigint;
  /** To miners, and to the protocol as fee. */
  readonly paidWei: bigint;
  readonly refundedWei: bigint;
  readonly slashedWei: bigint;
  readonly heldWei: bigint;
}

export function isBalanced(money: MoneySummary): boolean {
  return (
    money.depositedWei === money.paidWei + money.refundedWei + money.slashedWei + money.heldWei
  );
}
