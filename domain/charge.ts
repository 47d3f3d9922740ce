/** What a finished task costs: one rule, used by the session's ledger and by every oracle. */
import type { Address } from './ids.js';
import { feeOf, type WeiString } from './money.js';
import type { TokenUsage } from './task.js';

export interface Charge {
  /** One entry a paid miner, in the order given; every agreeing miner earns the same. */
  readonly payments: readonly { readonly miner: Address; readonly amountWei: WeiString }[];
  readonly feeWei: WeiString;
  /** Payments and fee together: what the session is charged. */
  readonly chargeWei: WeiString;
}

/** The usage that is billed: the median of what the agreeing miners claim (of an even count the lower
 * one, so that in doubt the session pays less), and never more than the request allows. */
export function billedUsage(claims: readonly TokenUsage[], bounds: TokenUsage): TokenUsage {
  return {
    promptTokens: Math.min(median(claims.map((c) => c.promptTokens)), bounds.promptTokens),
    completionTokens: Math.min(
      median(claims.map((c) => c.completionTokens)),
      bounds.completionTokens,
    ),
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

/** Prices a task by the usage of its agreed answer. Nobody to pay means nothing to charge.
 * @param input.feeBps - the protocol's share on top of the payments, 0–10,000. */
export function chargeOf(input: {
  readonly usage: TokenUsage;
  readonly pricePerTokenWei: bigint;
  readonly miners: readonly Address[];
  readonly feeBps: number;
}): Charge {
  const tokens = BigInt(input.usage.promptTokens + input.usage.completionTokens);
  const amountWei = tokens * input.pricePerTokenWei;
  const paidWei = amountWei * BigInt(input.miners.length);
  const feeWei = feeOf(paidWei, input.feeBps);
  return {
    payments: input.miners.map((miner) => ({ miner, amountWei: amountWei.toString() })),
    feeWei: feeWei.toString(),
    chargeWei: (paidWei + feeWei).toString(),
  };
}
