/** A validator's verdict over results that it opened itself. */
import type { JudgeRequest } from '../../domain/api.js';
import { sameAddress, type Address } from '../../domain/ids.js';
import { exactKey } from '../../domain/tools.js';
import {
  judgeEmbeddings,
  judgeIdentical,
  type EmbeddedAnswer,
  type Verdict,
} from '../../domain/verdict.js';
import { Refusal } from './refusal.js';
import type { OpenedResult, ResultReader } from './results.js';

/** An answer to judge; `null` where the miner left nothing that opens, which agrees with nobody. */
export interface JudgedAnswer {
  readonly miner: Address;
  readonly opened: OpenedResult | null;
}

/** Answers `POST /v1/judge`.
 * @throws as `ResultReader.open`.
 * @throws Refusal — a miner is named twice. */
export async function judgeTask(
  request: JudgeRequest,
  results: ResultReader,
  signal: AbortSignal,
): Promise<Verdict> {
  const { sessionId, keyringCid } = request;
  const miners = new Set(request.answers.map((answer) => answer.miner.toLowerCase()));
  if (miners.size !== request.answers.length) throw new Refusal('a miner answers twice');
  const answers = await Promise.all(
    request.answers.map(async ({ miner, resultCid }) => ({
      miner,
      opened: await results.open({ sessionId, keyringCid }, resultCid, signal),
    })),
  );
  return judgeAnswers(answers, request.asked);
}

/** Judges opened answers, in the order of their miners: whoever asks, and in whatever order, gets
 * the same verdict, also where two answers are as close to the rest. */
export async function judgeAnswers(
  answers: readonly JudgedAnswer[],
  asked: number,
): Promise<Verdict> {
  const sorted = [...answers].sort((a, b) => (BigInt(a.miner) < BigInt(b.miner) ? -1 : 1));
  const readable = sorted.flatMap(({ miner, opened }) =>
    opened === null ? [] : [{ miner, opened }],
  );
  const unreadable = sorted.flatMap(({ miner, opened }) =>
    opened === null ? [{ miner, scoreBps: 0, isAgreed: false }] : [],
  );
  const [first] = readable;
  const isIdentical = readable.every(
    ({ opened }) => opened.resultHash === first?.opened.resultHash,
  );
  const verdict =
    first !== undefined && isIdentical
      ? judgeIdentical(
          readable.map(({ miner }) => miner),
          asked,
        )
      : judgeEmbeddings(
          await Promise.all(
            readable.map(async ({ miner, opened }) => ({
              miner,
              ...(await comparedBy(opened)),
              exact: exactKey(opened.result),
            })),
          ),
          asked,
        );
  return { ...verdict, scores: [...verdict.scores, ...unreadable] };
}

/** Vectors are compared as they are; everything else by the embedding of its text. */
async function comparedBy(
  opened: OpenedResult,
): Promise<Pick<EmbeddedAnswer, 'embedding' | 'vectors'>> {
  const { vectors } = opened;
  if (vectors !== null) return { embedding: new Float32Array(), vectors };
  return { embedding: await opened.embedding() };
}

/** Miners that a verdict agrees with, in the order of their addresses. */
export function agreedMiners(verdict: Verdict): Address[] {
  return verdict.scores
    .filter((score) => score.isAgreed)
    .map((score) => score.miner)
    .sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
}

/** True when two lists, each in the order of addresses, name the same miners. */
export function isSameMiners(a: readonly Address[], b: readonly Address[]): boolean {
  return a.length === b.length && a.every((miner, i) => sameAddress(miner, b[i] ?? ''));
}
