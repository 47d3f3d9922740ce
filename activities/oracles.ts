/** What the committee is asked: scores, and signatures that contracts accept. */
import type { OracleConfig } from '../domain/config.js';
import type { AttestationAnswer, AttestationRequest } from '../domain/api.js';
import { deadlineIn } from '../domain/deadline.js';
import { EngineError, isErrorCode } from '../domain/errors.js';
import type { NodeHealth } from '../domain/health.js';
import type { Cid, Hex } from '../domain/ids.js';
import { translated } from './failure.js';

export interface OracleActivities {
  /** Asks every oracle, and returns a quorum of signatures in the order that contracts want:
   * ascending by signer.
   * @throws ATTESTATION_REFUSED — so many refuse that no quorum is left; `disputed` names the tasks
   *   that a refusing majority disputes.
   * @throws NO_QUORUM — too few answered; asking again may help. `missing` names the tasks that keep
   *   the others from being signed for, because their content is not found. */
  collectAttestations(request: AttestationRequest): Promise<readonly Hex[]>;
  /** Scores an epoch's evidence at the first oracle that answers; the others check it when they sign. */
  scoreEpoch(evidenceCid: Cid): Promise<readonly NodeHealth[]>;
}

/** @param timeoutMs - for one oracle's answer; they are asked at the same time. */
export function createOracleActivities(deps: {
  readonly oracles: readonly OracleConfig[];
  readonly quorum: number;
  readonly timeoutMs: number;
}): OracleActivities {
  const { oracles, quorum, timeoutMs } = deps;
  return translated<OracleActivities>({
    async collectAttestations(request) {
      const answers = await Promise.allSettled(
        oracles.map((oracle) =>
          post<AttestationAnswer>(oracle.url, '/v1/attest', request, timeoutMs),
        ),
      );
      const heard = answers.flatMap((a) => (a.status === 'fulfilled' ? [a.value] : []));
      const signed = heard.filter((a) => a.signed);
      if (signed.length >= quorum) {
        return signed
          .sort((a, b) => (BigInt(a.oracle) < BigInt(b.oracle) ? -1 : 1))
          .slice(0, quorum)
          .map((a) => a.signature);
      }
      const unsigned = heard.filter((a) => !a.signed);
      // Who only lacks content to judge by has not refused: it may sign when it is asked again.
      const refused = unsigned.filter((a) => a.disputed.length > 0 || a.missing.length === 0);
      if (oracles.length - refused.length >= quorum) {
        throw new EngineError('NO_QUORUM', {
          signed: signed.length,
          of: oracles.length,
          quorum,
          missing: missingIn(unsigned, oracles.length - quorum).join(','),
        });
      }
      throw new EngineError('ATTESTATION_REFUSED', {
        kind: request.kind,
        reason: refused[0]?.reason ?? '',
        disputed: disputedByMajority(refused).join(','),
      });
    },

    async scoreEpoch(evidenceCid) {
      for (const oracle of oracles) {
        try {
          const { scores } = await post<{ scores: readonly NodeHealth[] }>(
            oracle.url,
            '/v1/score',
            { evidenceCid },
            timeoutMs,
          );
          return scores;
        } catch (error) {
          if (error instanceof EngineError && error.code !== 'ORACLE_UNREACHABLE') throw error;
        }
      }
      throw new EngineError('ORACLE_UNREACHABLE', { oracles: oracles.length });
    },
  });
}

/** Tasks that more oracles lack the content of than a quorum can do without. */
function missingIn(answers: readonly { readonly missing: readonly Hex[] }[], spare: number): Hex[] {
  const votes = new Map<Hex, number>();
  for (const { missing } of answers) {
    for (const taskId of missing) votes.set(taskId, (votes.get(taskId) ?? 0) + 1);
  }
  return [...votes].filter(([, count]) => count > spare).map(([taskId]) => taskId);
}

/** Tasks that more than half of the refusing oracles name. */
function disputedByMajority(refused: readonly { readonly disputed: readonly Hex[] }[]): Hex[] {
  const votes = new Map<Hex, number>();
  for (const { disputed } of refused) {
    for (const taskId of disputed) votes.set(taskId, (votes.get(taskId) ?? 0) + 1);
  }
  return [...votes].filter(([, count]) => count * 2 > refused.length).map(([taskId]) => taskId);
}

async function post<T>(base: string, path: string, body: unknown, timeoutMs: number): Promise<T> {
  const unreachable = (cause: unknown) =>
    new EngineError('ORACLE_UNREACHABLE', { oracle: new URL(base).host }, { cause });
  let response: Response;
  try {
    response = await fetch(new URL(path, base), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: deadlineIn(timeoutMs),
    });
  } catch (error) {
    throw unreachable(error);
  }
  const answer = (await response.json().catch(() => null)) as
    | (T & { readonly error?: { readonly code?: unknown } })
    | null;
  if (response.ok && answer !== null) return answer;
  const code = answer?.error?.code;
  if (response.status >= 500 || !isErrorCode(code)) throw unreachable(response.status);
  throw new EngineError(code, { oracle: new URL(base).host });
}
