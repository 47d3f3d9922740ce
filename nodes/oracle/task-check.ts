/**
 * One settled task, judged again from its evidence: who committed to what, what the results say, who
 * is to be paid, and how much. Nothing that the router or the workflow concluded is taken over.
 */
import { parseTaskEvidence } from './schema.js';
import { chargeOf } from '../../domain/charge.js';
import { sameAddress, type Address } from '../../domain/ids.js';
import type { NodeStatus } from '../../domain/node.js';
import type { ChatRequest, Commitment, SettledTask, TaskEvidence } from '../../domain/task.js';
import { checkPair } from './commitments.js';
import { agreedMiners, isSameMiners, judgeAnswers, type JudgedAnswer } from './judge.js';
import type { OracleDeps } from './ports.js';
import { Refusal } from './refusal.js';
import { readDocument, type OpenedResult, type ResultReader, type SealedUnder } from './results.js';
import type { SessionTerms, TermsReader } from './session-terms.js';

/** A miner that was jailed or is leaving has still earned what it did before. */
const PAYABLE: readonly NodeStatus[] = ['Active', 'Jailed', 'Exiting'];
/** Tokens that a chat template adds, to a prompt and to each of its messages; generous, since what
 * it guards against is a usage that has nothing to do with the text. */
const TEMPLATE_TOKENS = 128;
const MESSAGE_TOKENS = 32;

export interface TaskCheckDeps extends Pick<OracleDeps, 'store' | 'chain' | 'domains' | 'feeBps'> {
  readonly results: ResultReader;
  readonly terms: TermsReader;
}

/** Checks a task of a batch.
 * @throws Refusal — with what does not hold; errors of the evidence read as one (`asRefusal`).
 * @throws IPFS_UNREACHABLE, CHAIN_UNREACHABLE — the oracle could not look. */
export async function checkTask(
  task: SettledTask,
  deps: TaskCheckDeps,
  signal: AbortSignal,
): Promise<void> {
  if (task.outcome !== 'completed' || task.evidenceCid === undefined) {
    throw new Refusal('a task without an agreed answer is not charged');
  }
  const evidence = await readDocument(deps.store, task.evidenceCid, parseTaskEvidence, signal);
  const terms = await deps.terms.read(task.sessionId, signal);
  const session = checkFrame(task, evidence, terms);
  const commitments = checkCommitments(evidence, deps);
  await Promise.all(commitments.map(({ miner }) => checkRegistered(miner, deps)));

  const request = await deps.results.openRequest(session, task.requestCid, signal);
  if (request.model !== terms.policy.model) throw new Refusal('another model was asked for');
  const opened = await Promise.all(
    commitments.map(async (commitment): Promise<JudgedAnswer> => {
      const result = await deps.results.open(session, commitment.resultCid, signal);
      const isAsCommitted = result !== null && isHonest(commitment, result, request, terms);
      return { miner: commitment.miner, opened: isAsCommitted ? result : null };
    }),
  );
  // A router cannot make a majority by naming fewer miners than the owner's policy asks.
  const asked = Math.max(terms.policy.redundancy, commitments.length);
  const verdict = await judgeAnswers(opened, asked);
  const agreed = agreedMiners(verdict);
  if (verdict.status !== 'agreed') throw new Refusal('the results do not agree');
  if (!isSameMiners(agreed, agreedMiners(evidence.verdict))) {
    throw new Refusal('the verdict is not what the results say');
  }
  if (agreed.length > terms.policy.redundancy) {
    throw new Refusal('more miners would be paid than the policy asks');
  }
  checkCharge(task, medoidOf(evidence, commitments, agreed, verdict), agreed, terms, deps.feeBps);
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
  const { sessionId, taskId, precommitments, commitments, keyringCid } = evidence;
  const isUnique = (values: readonly string[]): boolean =>
    new Set(values.map((value) => value.toLowerCase())).size === values.length;
  if (
    !isUnique(precommitments.map((p) => p.miner)) ||
    !isUnique(commitments.map((c) => c.miner)) ||
    !isUnique(commitments.map((c) => c.salt)) ||
    // Sealing is never the same twice: one block under two names was copied.
    (keyringCid !== undefined && !isUnique(commitments.map((c) => c.resultCid)))
  ) {
    throw new Refusal('a commitment was given twice');
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

/** Whether a result is what its miner committed to, and its usage one that the texts allow: a token
 * is at least one byte. */
function isHonest(
  { resultHash, usage }: Commitment,
  opened: OpenedResult,
  request: ChatRequest,
  { policy }: SessionTerms,
): boolean {
  const { result } = opened;
  const promptBytes = request.messages.reduce((sum, m) => sum + bytesOf(m.content), 0);
  const overhead = TEMPLATE_TOKENS + MESSAGE_TOKENS * request.messages.length;
  return (
    opened.resultHash === resultHash.toLowerCase() &&
    result.model === policy.model &&
    result.usage.promptTokens === usage.promptTokens &&
    result.usage.completionTokens === usage.completionTokens &&
    usage.promptTokens <= promptBytes + overhead &&
    usage.completionTokens <= request.maxTokens &&
    usage.completionTokens <= bytesOf(result.text) + MESSAGE_TOKENS
  );
}

/** The commitment whose usage is billed. Identical answers have no medoid of their own, so there any
 * agreed one that the evidence names will do. */
function medoidOf(
  evidence: TaskEvidence,
  commitments: readonly Commitment[],
  agreed: readonly Address[],
  verdict: { readonly method: string; readonly medoid: Address | null },
): Commitment {
  const named = evidence.verdict.medoid ?? '';
  const isRight =
    verdict.method === 'identical'
      ? agreed.some((miner) => sameAddress(miner, named))
      : sameAddress(verdict.medoid ?? '', named);
  const medoid = commitments.find(({ miner }) => sameAddress(miner, named));
  if (!isRight || medoid === undefined) throw new Refusal('the agreed answer is another one');
  return medoid;
}

function checkCharge(
  task: SettledTask,
  medoid: Commitment,
  miners: readonly Address[],
  { pricePerTokenWei }: SessionTerms,
  feeBps: number,
): void {
  const due = chargeOf({ usage: medoid.usage, pricePerTokenWei, miners, feeBps });
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

function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}
