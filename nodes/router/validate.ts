/**
 * Validation by agreement: a task's own answers are judged again by an oracle, or a claim is put
 * among the answers that agree, and the oracle says whether it is one of them. The oracle does not
 * know which of the answers is the claim, and at sealed levels it alone can read them.
 */
import { randomUUID } from 'node:crypto';
import { precommitmentOf } from '../../adapters/chain/precommitment.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { putJson, type BlockStore } from '../../adapters/ipfs/block-store.js';
import { digestOf } from '../../adapters/ipfs/cid.js';
import type { Channel } from '../../adapters/seal/channel.js';
import type { JudgeRequest, Validation } from '../../domain/api.js';
import type { SigningDomain } from '../../domain/attestation.js';
import { findEngineError } from '../../domain/errors.js';
import {
  sameAddress,
  type Address,
  type Cid,
  type Hex,
  type SessionId,
  type TaskId,
} from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import type { ChatRequest, ChatResult, TaskEvidence } from '../../domain/task.js';
import {
  finding,
  findingOfClaim,
  findingOfOutcome,
  findingOfTask,
  VALIDATION_REASONS,
  type Finding,
  type ValidationReceipt,
} from '../../domain/validation.js';
import type { MinerScore, Verdict } from '../../domain/verdict.js';
import type { CryptoPool } from './crypto-pool.js';
import type { Judge } from './judge.js';

export interface ValidateDeps {
  readonly blockStore: BlockStore;
  readonly judge: Judge;
  readonly crypto: CryptoPool;
  /** Of the miners' messages. */
  readonly signingDomain: SigningDomain;
}

/** A task that has answers to compare with. */
export interface JudgedTask {
  readonly sessionId: SessionId;
  readonly record: TaskRecord;
  readonly evidence: TaskEvidence | null;
  /** Its content may be at the owner's own store, where oracles cannot read it. */
  readonly isHosted: boolean;
}

/** A claimed answer, and what it is compared and kept with. */
export interface Claim {
  readonly text: string;
  readonly request: Pick<ChatRequest, 'model' | 'temperature'>;
  /** Of the session. */
  readonly channel: Channel;
  /** age recipient of the session; `null` at level `open`. */
  readonly recipient: string | null;
}

/** How a claim may have ended: nobody is asked for it. */
const CLAIM_ENDS = ['stop', 'length'] as const;
/** The claim among the miners that an oracle is told of. */
const CLAIMANT: Address = `0x${'0'.repeat(40)}`;

/** What a finding is about. */
type Facts = Omit<ValidationReceipt, 'version' | 'verdict' | 'reasons'>;

/** Judges a task again, from what is at rest.
 * @throws as `BlockStore.put` */
export async function validateTask(
  task: JudgedTask,
  deps: ValidateDeps,
  signal: AbortSignal,
): Promise<Validation> {
  const found = await findTask(task, deps, signal);
  return conclude(found, { ...factsOf(task), claimHash: null, scoreBps: null }, deps, signal);
}

/** Compares a claim with a task's agreed answers.
 * @throws as `BlockStore.put` and `CryptoPool.seal` */
export async function validateClaim(
  task: JudgedTask,
  claim: Claim,
  deps: ValidateDeps,
  signal: AbortSignal,
): Promise<Validation> {
  const claimHash = await claim.channel.resultHash({
    text: claim.text,
    finishReason: CLAIM_ENDS[0],
  });
  const { score, ...found } = await findClaim(task, claim, deps, signal);
  const facts = { ...factsOf(task), claimHash, scoreBps: score?.scoreBps ?? null };
  return conclude(found, facts, deps, signal);
}

/** What is said where no miner was asked. */
export function refuseClaim(sessionId: SessionId, reason: 'temperature-too-high'): Validation {
  const { verdict, reasons } = finding('NEEDS_SPEC', reason);
  return {
    verdict,
    reasons: reasons.map(explain),
    sessionId,
    taskId: null,
    outcome: null,
    claimHash: null,
    scoreBps: null,
    scores: [],
    requestCid: null,
    evidenceCid: null,
    receiptCid: null,
  };
}

/** Says that a task has not ended yet: asked again, the answer is another one. */
export function postpone(sessionId: SessionId, taskId: TaskId): Validation {
  const facts = { outcome: null, scores: [], requestCid: null, evidenceCid: null };
  const { verdict, reasons } = finding('RETRY', 'not-ended');
  const about = { sessionId, taskId, ...facts, claimHash: null, scoreBps: null };
  return { verdict, reasons: reasons.map(explain), ...about, receiptCid: null };
}

async function findTask(
  { record, evidence, isHosted }: JudgedTask,
  deps: ValidateDeps,
  signal: AbortSignal,
): Promise<Finding> {
  const early = findingOfOutcome(record.outcome);
  if (early !== null) return early;
  const isSigned = evidence !== null && (await areSigned(evidence, deps));
  if (!isSigned || agreedCommitments(evidence).length === 0) {
    return finding('INVALID', 'commitments-broken');
  }
  const { verdict, commitments } = evidence;
  const answers = commitments.map(({ miner, resultCid }) => ({ miner, resultCid }));
  try {
    // Of how many they were the majority is not in the evidence: of at most so many, in any case.
    const asked = Math.min(answers.length, 2 * agreedCommitments(evidence).length - 1);
    const judged = await askOracle(judgeRequest(evidence, answers, asked), isHosted, deps, signal);
    return findingOfTask(verdict, judged);
  } catch (error) {
    return unreachable(error);
  }
}

async function findClaim(
  { record, evidence, isHosted }: JudgedTask,
  claim: Claim,
  deps: ValidateDeps,
  signal: AbortSignal,
): Promise<Finding & { readonly score?: Pick<MinerScore, 'isAgreed' | 'scoreBps'> }> {
  const early = findingOfOutcome(record.outcome);
  if (early !== null) return early;
  const agreed = evidence === null ? [] : agreedCommitments(evidence);
  if (evidence === null || agreed.length === 0) return finding('RETRY', 'not-answered');
  const { temperature } = claim.request;
  const about = { temperature, agreed: agreed.length };
  const hashes = await Promise.all(
    CLAIM_ENDS.map((end) => claim.channel.resultHash({ text: claim.text, finishReason: end })),
  );
  if (agreed.some(({ resultHash }) => hashes.includes(resultHash))) {
    return { ...findingOfClaim(null, about), score: { isAgreed: true, scoreBps: 10_000 } };
  }
  // Its own: equal bytes may be somebody's answer.
  const holder = `claim:${randomUUID()}`;
  const resultCid = await keepClaim(claim, holder, deps, signal);
  const answers = [
    ...agreed.map(({ miner, resultCid: cid }) => ({ miner, resultCid: cid })),
    { miner: CLAIMANT, resultCid },
  ];
  try {
    const request = judgeRequest(evidence, answers, answers.length);
    const { scores } = await askOracle(request, isHosted, deps, signal);
    const score = scores.find(({ miner }) => sameAddress(miner, CLAIMANT));
    if (score === undefined) return finding('RETRY', 'judge-unreachable');
    return { ...findingOfClaim(score, about), score };
  } catch (error) {
    return unreachable(error);
  } finally {
    await deps.blockStore.unpin(resultCid, { holder, signal }).catch(() => undefined);
  }
}

/** Has an oracle judge answers. Oracles read our nodes alone: what lies at a session's host is lent to
 * them meanwhile.
 * @throws as `Judge`, and as `BlockStore.get` where the host does not give it. */
async function askOracle(
  request: JudgeRequest,
  isHosted: boolean,
  { judge, blockStore }: ValidateDeps,
  signal: AbortSignal,
): Promise<Verdict> {
  if (!isHosted) return await judge(request, signal);
  const holder = `validation:${randomUUID()}`;
  const lent: Cid[] = [];
  try {
    for (const { resultCid } of request.answers) {
      const block = await blockStore.get(resultCid, { signal });
      lent.push(resultCid);
      await blockStore.put(block, { holder, signal });
    }
    return await judge(request, signal);
  } finally {
    for (const cid of lent) await blockStore.unpin(cid, { holder }).catch(() => undefined);
  }
}

/** Puts a claim where an oracle can read it, in the form of a result. */
async function keepClaim(
  { text, request, recipient }: Claim,
  holder: string,
  { blockStore, crypto }: ValidateDeps,
  signal: AbortSignal,
): Promise<string> {
  const usage = { promptTokens: 0, completionTokens: 0 };
  const result: ChatResult = { model: request.model, text, finishReason: 'stop', usage };
  const plain = encodeJson(result);
  const block = recipient === null ? plain : await crypto.seal(plain, [recipient]);
  return blockStore.put(block, { holder, signal });
}

/** Whether every answer is what its miner signed before and after it was revealed. */
async function areSigned(
  { precommitments, commitments }: TaskEvidence,
  { crypto, signingDomain: domain }: ValidateDeps,
): Promise<boolean> {
  const checks = commitments.flatMap((commitment, i) => {
    const { sessionId, taskId, resultHash, resultDigest, salt, usage } = commitment;
    const precommitment = precommitments[i];
    const isOpened =
      precommitment !== undefined &&
      precommitmentOf(commitment) === precommitment.precommitment.toLowerCase() &&
      digestOf(commitment.resultCid) === resultDigest.toLowerCase();
    if (!isOpened) return [];
    const promised = { sessionId, taskId, precommitment: precommitment.precommitment };
    const revealed = { sessionId, taskId, resultHash, resultDigest, salt, ...usage };
    return [
      { type: 'Precommit', domain, value: promised, signature: precommitment.signature } as const,
      { type: 'Commit', domain, value: revealed, signature: commitment.signature } as const,
    ];
  });
  if (checks.length !== commitments.length * 2) return false;
  const signers = await crypto.recover(checks).catch(() => []);
  return checks.every((_, i) => {
    const miner = commitments[Math.floor(i / 2)]?.miner ?? '';
    return sameAddress(signers[i] ?? '', miner);
  });
}

function agreedCommitments({ commitments, verdict }: TaskEvidence) {
  return commitments.filter(({ miner }) =>
    verdict.scores.some((score) => score.isAgreed && sameAddress(score.miner, miner)),
  );
}

function judgeRequest(
  { sessionId, taskId, keyringCid }: TaskEvidence,
  answers: JudgeRequest['answers'],
  asked: number,
): JudgeRequest {
  return { sessionId, taskId, asked, keyringCid: keyringCid ?? null, answers };
}

/** @throws what is no sign of an oracle that is away. */
function unreachable(error: unknown): Finding {
  const known = findEngineError(error);
  if (known !== undefined && known.code !== 'ORACLE_UNREACHABLE') throw known;
  return finding('RETRY', 'judge-unreachable');
}

function factsOf({ sessionId, record, evidence }: JudgedTask) {
  const { taskId, outcome, requestCid, evidenceCid } = record;
  const scores = evidence?.verdict.scores ?? [];
  return { sessionId, taskId, outcome, requestCid, evidenceCid, scores };
}

/** Keeps what is final: a word that may change tomorrow leaves no receipt. */
async function conclude(
  { verdict, reasons }: Finding,
  facts: Facts & { readonly taskId: Hex },
  { blockStore }: ValidateDeps,
  signal: AbortSignal,
): Promise<Validation> {
  const receipt: ValidationReceipt = { version: 1, verdict, reasons, ...facts };
  const receiptCid = verdict === 'RETRY' ? null : await putJson(blockStore, receipt, { signal });
  return { verdict, reasons: reasons.map(explain), ...facts, receiptCid };
}

function explain(code: keyof typeof VALIDATION_REASONS) {
  return { code, text: VALIDATION_REASONS[code] };
}
