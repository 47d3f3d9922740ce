/** Asking an oracle to judge answers that differ. Any one will do: its verdict is in the evidence,
 * and the others check it before they sign. */
import { z } from 'zod';
import type { JudgeRequest } from '../../domain/api.js';
import type { OracleConfig } from '../../domain/config.js';
import { deadlineIn } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import { sameAddress, type Address } from '../../domain/ids.js';
import type { Verdict } from '../../domain/verdict.js';

const MAX_VERDICT_BYTES = 64 * 1024;

const address = z.custom<Address>((v) => typeof v === 'string' && /^0x[0-9a-fA-F]{40}$/.test(v));
const verdictSchema = z.object({
  status: z.enum(['agreed', 'no-quorum']),
  method: z.enum(['identical', 'embedding', 'none']),
  medoid: address.nullable(),
  scores: z.array(
    z.object({
      miner: address,
      scoreBps: z.number().int().min(0).max(10_000),
      isAgreed: z.boolean(),
    }),
  ),
});

/** Asks for a verdict.
 * @throws ORACLE_UNREACHABLE — none of the oracles gave one. */
export type Judge = (request: JudgeRequest, signal: AbortSignal) => Promise<Verdict>;

/** Asks the oracles in their order, each with a deadline, until one gives a sound verdict. */
export function createJudge(oracles: readonly OracleConfig[], timeoutMs: number): Judge {
  return async (request, signal) => {
    let lastFailure: unknown;
    for (const oracle of oracles) {
      const deadline = deadlineIn(timeoutMs, signal);
      try {
        const response = await fetch(new URL('/v1/judge', oracle.url), {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(request),
          signal: deadline,
        });
        const text = await response.text();
        if (!response.ok) throw new Error(`status ${response.status}`);
        if (text.length > MAX_VERDICT_BYTES) throw new Error('the verdict is too long');
        return checkVerdict(verdictSchema.parse(JSON.parse(text)), request);
      } catch (cause) {
        lastFailure = cause;
      }
    }
    throw new EngineError(
      'ORACLE_UNREACHABLE',
      { oracles: oracles.length },
      { cause: lastFailure },
    );
  };
}

/** Holds a verdict to its own rules: only who answered can agree, and only a majority decides. */
function checkVerdict(verdict: Verdict, request: JudgeRequest): Verdict {
  const hasAnswered = (miner: Address) => request.answers.some((a) => sameAddress(a.miner, miner));
  const agreed = verdict.scores.filter((score) => score.isAgreed);
  const isSound =
    verdict.scores.every((score) => hasAnswered(score.miner)) &&
    new Set(verdict.scores.map((s) => s.miner.toLowerCase())).size === verdict.scores.length &&
    (verdict.status === 'agreed'
      ? agreed.length * 2 > request.asked &&
        agreed.some((score) => verdict.medoid !== null && sameAddress(score.miner, verdict.medoid))
      : agreed.length === 0);
  if (!isSound) throw new Error('the verdict contradicts itself');
  return verdict;
}
