/** What a task's end can be judged by again: who was asked, what they committed to, and the verdict. */
import type { JudgeRequest } from '../../domain/api.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid, TaskId } from '../../domain/ids.js';
import type { LeaseInput } from '../../domain/lease.js';
import type { TaskEvidence } from '../../domain/task.js';
import type { Verdict } from '../../domain/verdict.js';
import { judgeAnswers } from './outcome.js';
import type { RunResult } from './task-run.js';

/** Has the answers of a run judged, and puts the evidence together.
 * @param judge - asked where the answers differ.
 * @throws as `judge` */
export async function gatherEvidence(
  task: {
    readonly taskId: TaskId;
    readonly seed: number;
    readonly requestCid: Cid;
    readonly result: RunResult;
  },
  { sessionId, policy, keyring }: LeaseInput,
  judge: (request: JudgeRequest) => Promise<Verdict>,
): Promise<TaskEvidence> {
  const { taskId, seed, requestCid, result } = task;
  const primary = result.primary ?? result.answers[0]?.miner;
  if (primary === undefined) throw new EngineError('INVARIANT_BROKEN', { what: 'an answer' });
  const answers = [...result.answers].sort(
    (a, b) => Number(b.miner === primary) - Number(a.miner === primary),
  );
  const { redundancy: asked, model } = policy;
  const request = { sessionId, taskId, asked, keyringCid: keyring?.cid ?? null };
  const verdict = await judgeAnswers(answers, request, judge);
  return {
    version: 1,
    sessionId,
    taskId,
    model,
    seed,
    requestCid,
    ...(keyring === null ? {} : { keyringCid: keyring.cid }),
    primary,
    precommitments: answers.map((answer) => answer.precommitment),
    commitments: answers.map((answer) => answer.commitment),
    times: answers.map(({ miner, answeredMs, elapsedMs }) => ({
      miner,
      answeredMs: Math.round(answeredMs),
      committedMs: Math.round(elapsedMs),
    })),
    verdict,
  };
}
