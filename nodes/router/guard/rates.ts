/** Requests and tokens a minute, by caller; each router counts for itself. */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { EngineError } from '../../../domain/errors.js';
import type { Caller } from './caller.js';

const MINUTE_SECONDS = 60;

export type RateKind = 'requests' | 'tokens';

/** How a caller stands: for the `x-ratelimit-*` headers. */
export interface RateState {
  readonly kind: RateKind;
  readonly limit: number;
  readonly remaining: number;
  /** Until the whole limit is there again. */
  readonly resetMs: number;
}

export class Rates {
  /** By what a limiter cannot change later: its points. */
  readonly #limiters = new Map<string, RateLimiterMemory>();

  /** Takes `points` off what a caller has left in this minute.
   * @throws RATE_LIMITED — it has less; nothing was taken. */
  async take(caller: Caller, kind: RateKind, points: number): Promise<RateState> {
    const { limit, limiter } = this.#of(caller, kind);
    // What is larger than a whole minute's would never pass.
    const asked = Math.min(points, limit);
    try {
      return stateOf(kind, limit, await limiter.consume(caller.id, asked));
    } catch (refused) {
      if (!(refused instanceof RateLimiterRes)) throw refused;
      await limiter.reward(caller.id, asked);
      const state = stateOf(kind, limit, refused);
      throw new EngineError('RATE_LIMITED', {
        limit: `${limit} ${kind} a minute`,
        retryAfterMs: state.resetMs,
      });
    }
  }

  /** Corrects what was taken: more when positive, given back when negative. */
  async correct(caller: Caller, kind: RateKind, points: number): Promise<void> {
    const { limiter } = this.#of(caller, kind);
    if (points > 0) await limiter.penalty(caller.id, points);
    // An estimate of the last minute is not given back to this one.
    else if (points < 0 && (await limiter.get(caller.id)) !== null) {
      await limiter.reward(caller.id, -points);
    }
  }

  /** How the caller stands, taking nothing. */
  async state(caller: Caller, kind: RateKind): Promise<RateState> {
    const { limit, limiter } = this.#of(caller, kind);
    const known = await limiter.get(caller.id);
    return known === null
      ? { kind, limit, remaining: limit, resetMs: 0 }
      : stateOf(kind, limit, known);
  }

  #of(caller: Caller, kind: RateKind): { limit: number; limiter: RateLimiterMemory } {
    const { requestsPerMinute, tokensPerMinute } = caller.rates;
    const limit = kind === 'requests' ? requestsPerMinute : tokensPerMinute;
    const name = `${kind}:${limit}`;
    let limiter = this.#limiters.get(name);
    if (limiter === undefined) {
      limiter = new RateLimiterMemory({ keyPrefix: name, points: limit, duration: MINUTE_SECONDS });
      this.#limiters.set(name, limiter);
    }
    return { limit, limiter };
  }
}

function stateOf(kind: RateKind, limit: number, found: RateLimiterRes): RateState {
  const remaining = Math.min(limit, Math.max(0, limit - found.consumedPoints));
  return { kind, limit, remaining, resetMs: Math.max(0, found.msBeforeNext) };
}

/** OpenAI's headers.
 * @see https://platform.openai.com/docs/guides/rate-limits */
export function rateHeaders({ kind, limit, remaining, resetMs }: RateState): [string, string][] {
  return [
    [`x-ratelimit-limit-${kind}`, String(limit)],
    [`x-ratelimit-remaining-${kind}`, String(remaining)],
    [`x-ratelimit-reset-${kind}`, `${Math.ceil(resetMs)}ms`],
  ];
}
