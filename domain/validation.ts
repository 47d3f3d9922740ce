/**
 * Validation: what the network says of an answer, by agreement. Whether the miners of a task agreed
 * is the task's own verdict; here it is turned into one word about a claim, with reasons. Pure, so
 * that the same facts get the same word everywhere.
 */
import type { Cid, Hex, SessionId } from './ids.js';
import type { TaskOutcome } from './task.js';
import type { MinerScore, Verdict } from './verdict.js';

/** `VALID`: the network agrees. `INVALID`: it agrees on something else. `RETRY`: it could not judge
 * now. `NEEDS_SPEC`: the request is too open to be judged by agreement. */
export const VALIDATION_VERDICTS = ['VALID', 'INVALID', 'RETRY', 'NEEDS_SPEC'] as const;
export type ValidationVerdict = (typeof VALIDATION_VERDICTS)[number];

/** Why, by stable codes; the text is for people. */
export const VALIDATION_REASONS = {
  'verdict-holds': 'an oracle judges the answers as their evidence says',
  'verdict-broken': 'an oracle judges the answers otherwise than their evidence says',
  'commitments-broken': 'the answers are not what their miners signed',
  'claim-identical': 'the claim is, word for word, what miners committed to',
  'claim-near': 'the claim lies within the distance at which answers agree',
  'claim-far': 'the claim lies outside the distance at which answers agree',
  'one-answer': 'only one miner answered: there is nothing that agrees with it',
  sampled: 'the request is sampled, so that an honest answer may differ from this one',
  'temperature-too-high': 'at this temperature, agreement says nothing',
  'no-quorum': 'the miners do not agree with each other',
  disputed: 'the committee did not let the task be paid',
  'not-ended': 'the task has not ended',
  'not-answered': 'the task ended without an answer',
  'judge-unreachable': 'no oracle could be reached to judge',
} as const;
export type ValidationReason = keyof typeof VALIDATION_REASONS;

/** Above this, two honest answers need not be alike at all; miners are not even asked. */
export const MAX_JUDGED_TEMPERATURE = 1;

/** A word and why. */
export interface Finding {
  readonly verdict: ValidationVerdict;
  readonly reasons: readonly ValidationReason[];
}

/** What stays of a validation, on IPFS: the same facts have the same CID. */
export interface ValidationReceipt extends Finding {
  readonly version: 1;
  readonly sessionId: SessionId;
  /** The task whose answers were compared. */
  readonly taskId: Hex;
  readonly outcome: TaskOutcome | null;
  /** Hash of the claim in the form of a `resultHash`; `null` where a task itself was validated. */
  readonly claimHash: Hex | null;
  /** Similarity of the claim to the answer closest to all others, 0–10,000; `null` where nothing was
   * compared. */
  readonly scoreBps: number | null;
  /** Of the miners, as the evidence has them. */
  readonly scores: readonly MinerScore[];
  readonly requestCid: Cid | null;
  readonly evidenceCid: Cid | null;
}

/** What a task's end says before any answer is looked at; `null` where there is one to look at. */
export function findingOfOutcome(outcome: TaskOutcome | null): Finding | null {
  if (outcome === null) return finding('RETRY', 'not-ended');
  if (outcome === 'completed') return null;
  if (outcome === 'no-quorum') return finding('NEEDS_SPEC', 'no-quorum');
  if (outcome === 'disputed') return finding('INVALID', 'disputed');
  return finding('RETRY', 'not-answered');
}

/** Compares a task's recorded verdict with one that an oracle gives of the same answers. */
export function findingOfTask(recorded: Verdict, judged: Verdict): Finding {
  const isSame =
    recorded.status === judged.status && agreedOf(recorded).join() === agreedOf(judged).join();
  if (!isSame) return finding('INVALID', 'verdict-broken');
  return withWarning(finding('VALID', 'verdict-holds'), agreedOf(recorded).length);
}

/** What a claim's place among the agreed answers says.
 * @param claim - its score in an oracle's verdict over them and it; `null`: it is one of them.
 * @param request.agreed - answers that agree with each other, at least one. */
export function findingOfClaim(
  claim: Pick<MinerScore, 'isAgreed'> | null,
  request: { readonly temperature: number; readonly agreed: number },
): Finding {
  const { temperature, agreed } = request;
  if (claim === null) return withWarning(finding('VALID', 'claim-identical'), agreed);
  if (claim.isAgreed) return withWarning(finding('VALID', 'claim-near'), agreed);
  // A sampled answer that differs is no wrong one.
  if (temperature > 0) return finding('NEEDS_SPEC', 'claim-far', 'sampled');
  return withWarning(finding('INVALID', 'claim-far'), agreed);
}

/** @returns a word with its reasons, the decisive one first. */
export function finding(
  verdict: ValidationVerdict,
  ...reasons: readonly ValidationReason[]
): Finding {
  return { verdict, reasons };
}

function withWarning({ verdict, reasons }: Finding, agreed: number): Finding {
  return { verdict, reasons: agreed > 1 ? reasons : [...reasons, 'one-answer'] };
}

function agreedOf({ scores }: Verdict): string[] {
  return scores
    .filter(({ isAgreed }) => isAgreed)
    .map(({ miner }) => miner.toLowerCase())
    .sort();
}
