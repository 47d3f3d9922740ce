/** From the commitments of a task to its end: verdict, evidence, and what is paid for. */
import type { JudgeRequest } from '../../domain/api.js';
import { billedUsage } from '../../domain/charge.js';
import type { ErrorCode } from '../../domain/errors.js';
import { sameAddress, type Address, type Cid, type TaskId } from '../../domain/ids.js';
import type {
  Commitment,
  TaskCompletion,
  TaskEvidence,
  TaskOutcome,
  TokenUsage,
} from '../../domain/task.js';
import { judgeIdentical, NO_ANSWERS, type Verdict } from '../../domain/verdict.js';
import type { TaskStreamEvent } from '../../domain/wire.js';
import type { Answer, RunResult } from './task-run.js';

export const NO_USAGE: TokenUsage = { promptTokens: 0, completionTokens: 0 };

/** How a task ended, as its readers need it. */
export interface Conclusion {
  readonly taskId: TaskId;
  readonly outcome: TaskOutcome;
  readonly requestCid: Cid;
  /** The answer that counts: the primary's where it agreed, else the medoid's. */
  readonly agreed: Commitment | null;
  readonly resultCids: readonly Cid[];
  /** Billed. */
  readonly usage: TokenUsage;
  /** Code of why nobody committed; `null` where somebody did. */
  readonly failure: string | null;
  /** Code of what keeps the answer from the session's host; absent while nothing does. */
  readonly hostCode?: string;
}

/** The end of a task without an answer. */
export function completionOfNothing(
  taskId: TaskId,
  outcome: Exclude<RunResult['status'], 'committed' | 'abandoned'>,
  failure: ErrorCode | null,
): TaskCompletion {
  const reason = failure === null ? {} : { failure };
  return { taskId, outcome, paidMiners: [], usage: NO_USAGE, ...reason };
}

/** Judges answers: without help where all are equal or no majority can be, else by an oracle.
 * @param asked - miners that a task is put to; a majority of them decides.
 * @throws as `judge`. */
export async function judgeAnswers(
  answers: readonly Answer[],
  request: Pick<JudgeRequest, 'sessionId' | 'taskId' | 'asked' | 'keyringCid'>,
  judge: (request: JudgeRequest) => Promise<Verdict>,
): Promise<Verdict> {
  const hashes = new Set(answers.map((answer) => answer.commitment.resultHash.toLowerCase()));
  if (hashes.size === 1) {
    return judgeIdentical(
      answers.map((answer) => answer.miner),
      request.asked,
    );
  }
  if (answers.length * 2 <= request.asked) return NO_ANSWERS;
  return judge({
    ...request,
    answers: answers.map(({ miner, commitment }) => ({ miner, resultCid: commitment.resultCid })),
  });
}

/** What is recorded of a judged task.
 * @param bounds - of the reservation: no more than this is billed, whatever miners claim. */
export function completionOf(
  evidence: TaskEvidence,
  evidenceCid: Cid,
  bounds: { readonly maxPromptTokens: number; readonly maxTokens: number },
): TaskCompletion {
  const { taskId, verdict } = evidence;
  if (verdict.status !== 'agreed') {
    return { taskId, outcome: 'no-quorum', evidenceCid, paidMiners: [], usage: NO_USAGE };
  }
  const agreed = evidence.commitments.filter((c) => hasAgreed(verdict, c.miner));
  const answer = agreedCommitment(evidence);
  return {
    taskId,
    outcome: 'completed',
    evidenceCid,
    ...(answer === null ? {} : { resultCid: answer.resultCid }),
    paidMiners: agreed.map((c) => c.miner).sort(byAddress),
    usage: billedUsage(
      agreed.map((c) => c.usage),
      { promptTokens: bounds.maxPromptTokens, completionTokens: bounds.maxTokens },
    ),
  };
}

/** Puts together what readers of the task need to know of its end. */
export function conclude(
  end: Pick<TaskCompletion, 'taskId' | 'outcome' | 'usage'> & {
    readonly failure?: string;
    readonly hostCode?: string;
  },
  requestCid: Cid,
  evidence: TaskEvidence | null,
): Conclusion {
  const { taskId, outcome, usage, failure = null, hostCode } = end;
  const isAgreed = outcome === 'completed' && evidence !== null;
  return {
    taskId,
    outcome,
    requestCid,
    agreed: isAgreed ? agreedCommitment(evidence) : null,
    resultCids: evidence?.commitments.map((c) => c.resultCid) ?? [],
    usage,
    failure,
    ...(hostCode === undefined ? {} : { hostCode }),
  };
}

/** The last event of a task's stream.
 * @param streamed - whose frames the stream holds. */
export function endOf(conclusion: Conclusion, streamed: Address | null): TaskStreamEvent {
  const { taskId, outcome, failure, agreed, resultCids, requestCid, hostCode } = conclusion;
  const isStreamed = agreed !== null && streamed !== null && sameAddress(agreed.miner, streamed);
  return {
    type: 'ended',
    taskId,
    outcome,
    ...(failure === null ? {} : { failure }),
    agreed: agreed?.miner ?? null,
    resultCid: isStreamed ? null : (agreed?.resultCid ?? null),
    ...(agreed === null ? {} : { resultHash: agreed.resultHash }),
    resultCids,
    requestCid,
    ...(hostCode === undefined ? {} : { hostCode }),
  };
}

/** The answer that counts, by the evidence. `null` without agreement. */
function agreedCommitment(evidence: TaskEvidence): Commitment | null {
  const { verdict, primary } = evidence;
  const miner = hasAgreed(verdict, primary) ? primary : verdict.medoid;
  if (miner === null) return null;
  return evidence.commitments.find((c) => sameAddress(c.miner, miner)) ?? null;
}

function hasAgreed(verdict: Verdict, miner: Address): boolean {
  return verdict.scores.some((score) => score.isAgreed && sameAddress(score.miner, miner));
}

function byAddress(a: Address, b: Address): number {
  return a.toLowerCase() < b.toLowerCase() ? -1 : 1;
}
