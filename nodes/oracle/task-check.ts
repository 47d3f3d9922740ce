/**
 * One settled task, judged again from its evidence: who committed to what, what the results say, who
 * is to be paid, and how much. Nothing that the router or the workflow concluded is taken over.
 */
import { billedUsage, chargeOf } from '../../domain/charge.js';
import { maxPromptTokensOf, maxTokensOf } from '../../domain/chat.js';
import { fitsRequest } from '../../domain/embedding.js';
import { sameAddress, type Address } from '../../domain/ids.js';
import type { NodeStatus } from '../../domain/node.js';
import type {
  Commitment,
  InferenceRequest,
  SettledTask,
  TaskEvidence,
  TokenUsage,
} from '../../domain/task.js';
import { textOfAnswer } from '../../domain/tools.js';
import { utf8Bytes } from '../../domain/utf8.js';
import type { Verdict } from '../../domain/verdict.js';
import { checkPair } from './commitments.js';
import { agreedMiners, isSameMiners, judgeAnswers, type JudgedAnswer } from './judge.js';
import type { OracleDeps } from './ports.js';
import { Refusal } from './refusal.js';
import { readDocument, type ResultReader, type SealedUnder } from './results.js';
import { parseTaskEvidence } from './schema.js';
import type { SessionTerms, TermsReader } from './session-terms.js';

/** A miner that was jailed or is leaving has still earned what it did before. */
const PAYABLE: readonly NodeStatus[] = ['Active', 'Jailed', 'Exiting'];
/** What a text's token count may exceed its bytes by: marks that leave no text. */
const MARK_TOKENS = 32;

export interface TaskCheckDeps extends Pick<OracleDeps, 'store' | 'chain' | 'domains' | 'feeBps'> {
  readonly results: ResultReader;
  readonly terms: TermsReader;
}

/** Checks a task of a batch.
 * @throws Refusal — with what does not hold; errors of the evidence read as one (`asRefusal`).
 * @throws CONTENT_MISSING, IPFS_UNREACHABLE, CHAIN_UNREACHABLE — the oracle could not look. */
export async function checkTask(
  task: SettledTask,
  deps: TaskCheckDeps,
  signal: AbortSignal,
): Promise<void> {
  if (task.outcome !== 'completed') return await checkFree(task, deps);
  if (task.evidenceCid === undefined) throw new Refusal('a task without evidence is not charged');
  const evidence = await readDocument(deps.store, task.evidenceCid, parseTaskEvidence, signal);
  const terms = await deps.terms.read(task.sessionId, signal);
  const session = checkFrame(task, evidence, terms);
  const commitments = checkCommitments(evidence, deps);
  await Promise.all(commitments.map(({ miner }) => checkRegistered(miner, deps)));

  const request = await deps.results.openRequest(session, task.requestCid, signal);
  if (request.model !== terms.policy.model) throw new Refusal('another model was asked for');
  const answers = await Promise.all(
    commitments.map(async ({ miner, resultCid, resultHash }): Promise<JudgedAnswer> => {
      const opened = await deps.results.open(session, resultCid, signal);
      const isAsCommitted = opened?.resultHash === resultHash.toLowerCase();
      const isAnswer = isAsCommitted && fitsRequest(opened.result, request);
      return { miner, opened: isAnswer ? opened : null };
    }),
  );
  // A router cannot make a majority by naming fewer miners than the owner's policy asks.
  const asked = Math.max(terms.policy.redundancy, commitments.length);
  const agreed = checkVerdict(await judgeAnswers(answers, asked), evidence, terms);
  checkResult(task, evidence, agreed);
  const usage = usageOf(commitments, answers, agreed, request);
  checkCharge(task, usage, agreed, terms, deps.feeBps);
}

/** A task that did not complete costs nothing and names no answer. Its leaf is there so that a
 * contract can be told of its end; nothing of value hangs on which end that is. */
async function checkFree(
  task: SettledTask,
  { chain }: Pick<TaskCheckDeps, 'chain'>,
): Promise<void> {
  const { chargeWei, feeWei, payments, resultCid } = task;
  if (chargeWei !== '0' || feeWei !== '0' || payments.length > 0 || resultCid !== undefined) {
    throw new Refusal('a task without an agreed answer is not charged');
  }
  if ((await chain.readSession(task.sessionId)) === null) {
    throw new Refusal('the session is not on chain');
  }
}

/** The answer that goes on chain must be the one that the client got: the primary's where it agreed,
 * else the medoid's (nodes/router/outcome.ts). */
function checkResult(
  { resultCid }: SettledTask,
  { primary, verdict, commitments }: TaskEvidence,
  agreed: readonly Address[],
): void {
  const isPrimary = agreed.some((miner) => sameAddress(miner, primary));
  const miner = isPrimary ? primary : (verdict.medoid ?? '');
  const answer = commitments.find((commitment) => sameAddress(commitment.miner, miner));
  if (answer === undefined || answer.resultCid !== resultCid) {
    throw new Refusal('the answer is not the one that was agreed on');
  }
}

/** What evidence, task and policy must have in common. */
function checkFrame(task: SettledTask, evidence: TaskEvidence, terms: SessionTerms): SealedUnder {
  if (
    evidence.sessionId !== task.sessionId ||
    !sameAddress(evidence.taskId, task.taskId) ||
    evidence.requestCid !== task.requestCid ||
    evidence.model !== terms.policy.model
  ) {
    throw new Refusal('the evidence is of another task');
  }
  const keyringCid = evidence.keyringCid ?? null;
  if ((terms.policy.level === 'open') !== (keyringCid === null)) {
    throw new Refusal('the task was not sealed as the policy asks');
  }
  return { sessionId: task.sessionId, keyringCid };
}

function checkCommitments(
  evidence: TaskEvidence,
  { domains }: Pick<TaskCheckDeps, 'domains'>,
): readonly Commitment[] {
  const { sessionId, taskId, precommitments, commitments } = evidence;
  const isUnique = (values: readonly string[]): boolean =>
    new Set(values.map((value) => value.toLowerCase())).size === values.length;
  if (!isUnique(precommitments.map((p) => p.miner)) || !isUnique(commitments.map((c) => c.miner))) {
    throw new Refusal('a miner has answered twice');
  }
  for (const commitment of commitments) {
    const { miner } = commitment;
    const precommitment = precommitments.find((p) => sameAddress(p.miner, miner));
    if (precommitment === undefined) throw new Refusal('a commitment without a precommitment');
    checkPair({ sessionId, taskId, miner }, precommitment, commitment, domains.sessionPayment);
  }
  return commitments;
}

async function checkRegistered(miner: Address, deps: Pick<TaskCheckDeps, 'chain'>): Promise<void> {
  const node = await deps.chain.readNode(miner);
  if (node === null || node.role !== 'miner' || !PAYABLE.includes(node.status)) {
    throw new Refusal(`${miner} is not a registered miner`);
  }
}

/** The verdict of the evidence must be the oracle's own: the same miners agree, and the answer that
 * was given out is one of theirs.
 * @returns the miners that are paid, in the order of their addresses. */
function checkVerdict(
  verdict: Verdict,
  evidence: TaskEvidence,
  { policy }: SessionTerms,
): readonly Address[] {
  const agreed = agreedMiners(verdict);
  const { medoid } = evidence.verdict;
  if (verdict.status !== 'agreed') throw new Refusal('the results do not agree');
  if (
    !isSameMiners(agreed, agreedMiners(evidence.verdict)) ||
    !agreed.some((miner) => sameAddress(miner, medoid ?? ''))
  ) {
    throw new Refusal('the verdict is not what the results say');
  }
  if (agreed.length > policy.redundancy) {
    throw new Refusal('more miners would be paid than the policy asks');
  }
  return agreed;
}

/** The usage to bill, by the rule of the session's ledger. Text that has fewer bytes than tokens was
 * claimed for by a majority, and is not paid at all. */
function usageOf(
  commitments: readonly Commitment[],
  answers: readonly JudgedAnswer[],
  agreed: readonly Address[],
  request: InferenceRequest,
): TokenUsage {
  const hasAgreed = ({ miner }: { readonly miner: Address }): boolean =>
    agreed.some((paid) => sameAddress(paid, miner));
  const usage = billedUsage(
    commitments.filter(hasAgreed).map((commitment) => commitment.usage),
    { promptTokens: maxPromptTokensOf(request), completionTokens: maxTokensOf(request) },
  );
  const longest = Math.max(
    ...answers
      .filter(hasAgreed)
      .map(({ opened }) => (opened === null ? 0 : utf8Bytes(textOfAnswer(opened.result)))),
  );
  // The stop word that ended it was generated, and is not in the text.
  const stops = 'kind' in request ? [] : (request.stop ?? []);
  const stopped = Math.max(0, ...stops.map(utf8Bytes));
  if (usage.completionTokens > longest + stopped + MARK_TOKENS) {
    throw new Refusal('the text has fewer bytes than are billed as tokens');
  }
  return usage;
}

function checkCharge(
  task: SettledTask,
  usage: TokenUsage,
  miners: readonly Address[],
  { pricePerTokenWei }: SessionTerms,
  feeBps: number,
): void {
  const due = chargeOf({ usage, pricePerTokenWei, miners, feeBps });
  const paid = [...task.payments].sort((a, b) => (BigInt(a.miner) < BigInt(b.miner) ? -1 : 1));
  const isPaidRight = due.payments.every(
    ({ miner, amountWei }, i) =>
      sameAddress(miner, paid[i]?.miner ?? '') && amountWei === paid[i]?.amountWei,
  );
  if (
    !isPaidRight ||
    paid.length !== due.payments.length ||
    task.feeWei !== due.feeWei ||
    task.chargeWei !== due.chargeWei
  ) {
    throw new Refusal(`the charge is ${task.chargeWei} wei, and ${due.chargeWei} would be right`);
  }
}
