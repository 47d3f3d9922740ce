/**
 * A task with what every miner answered, out of its evidence. At levels `open` and `link` the router
 * may read the answers, and opens them for who asks; what it shows is what was committed to.
 */
import { getJson, type BlockStore } from '../../adapters/ipfs/block-store.js';
import { openAtRest } from '../../adapters/seal/at-rest.js';
import type { Channel } from '../../adapters/seal/channel.js';
import type { PlainOutput, TaskDetail, TaskOutput } from '../../domain/api.js';
import { deadlineIn } from '../../domain/deadline.js';
import { EngineError, findEngineError } from '../../domain/errors.js';
import { sameAddress, type Cid, type SessionId } from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import { isClientSealed, type SealingLevel } from '../../domain/sealing.js';
import type { ChatResult, Commitment, TaskEvidence } from '../../domain/task.js';
import { parseChatResult } from './chat-result.js';
import { openKeys } from './session-keys.js';

/** For all that is read of one task. */
const READ_MS = 20_000;

export interface DetailDeps {
  readonly blockStore: BlockStore;
  /** The router's age identity: a reader of keyrings at level `link`. */
  readonly identity: string;
}

/** Opens what is at rest of one session. */
export interface ContentReader {
  readonly channel: Channel;
  /** @throws as `BlockStore.get` and `openAtRest` */
  read(cid: Cid, signal: AbortSignal): Promise<Uint8Array>;
}

/** Reads a task's evidence; `null` where it has none.
 * @throws as `BlockStore.get` */
export async function readEvidence(
  { evidenceCid }: Pick<TaskRecord, 'evidenceCid'>,
  { blockStore }: Pick<DetailDeps, 'blockStore'>,
  outer: AbortSignal,
): Promise<TaskEvidence | null> {
  if (evidenceCid === null) return null;
  const signal = deadlineIn(READ_MS, outer);
  // Written by a router of this deployment and re-hashed on reading, hence not parsed again.
  return getJson(blockStore, evidenceCid, (value) => value as TaskEvidence, { signal });
}

/** Opens a session's content to this router.
 * @throws SEAL_NOT_RECIPIENT — the session is sealed for others.
 * @throws as `BlockStore.get` — its keyring could not be read. */
export async function openContent(
  session: {
    readonly sessionId: SessionId;
    readonly level: SealingLevel;
    readonly keyringCid: Cid | null;
  },
  { blockStore, identity }: DetailDeps,
  signal: AbortSignal,
): Promise<ContentReader> {
  const { sessionId, level, keyringCid } = session;
  if (isClientSealed(level)) throw new EngineError('SEAL_NOT_RECIPIENT', { sessionId, level });
  const keyring = keyringCid === null ? null : await blockStore.get(keyringCid, { signal });
  const keys = await openKeys(sessionId, keyring, identity);
  return {
    channel: keys.channel,
    async read(cid, s) {
      const block = await blockStore.get(cid, { signal: s });
      return keys.identity === null ? block : await openAtRest(block, keys.identity);
    },
  };
}

/** Reads the answer that a miner committed to.
 * @throws MINER_PROTOCOL — what is at rest is another one.
 * @throws as `ContentReader.read` */
export async function readAnswer(
  { channel, read }: ContentReader,
  { resultCid, resultHash }: Pick<Commitment, 'resultCid' | 'resultHash'>,
  signal: AbortSignal,
): Promise<ChatResult> {
  const result = parseChatResult(await read(resultCid, signal));
  const isCommitted = result !== null && (await channel.resultHash(result)) === resultHash;
  if (!isCommitted) throw new EngineError('MINER_PROTOCOL', { expected: 'the committed result' });
  return result;
}

/** Puts a record and its evidence together.
 * @param level - of the session, where the answers are wanted in plain; else `null`.
 * @throws as `readEvidence` */
export async function detailOf(
  record: TaskRecord,
  level: SealingLevel | null,
  deps: DetailDeps,
  outer: AbortSignal,
): Promise<TaskDetail> {
  const evidence = await readEvidence(record, deps, outer);
  if (evidence === null) return { ...record, primary: null, verdict: null, outputs: [] };
  const { primary, commitments, verdict } = evidence;
  const outputs = commitments.map((commitment) => outputOf(commitment, record, evidence));
  const { scores: _, ...judged } = verdict;
  const detail = { ...record, primary, verdict: judged, outputs };
  if (level === null) return detail;
  const plain = await readPlain(evidence, level, deps, outer);
  return {
    ...detail,
    outputs: outputs.map((output, i) => ({
      ...output,
      plain: plain[i] ?? { error: 'INTERNAL' },
    })),
  };
}

function outputOf(
  { miner, resultHash, resultCid, usage }: Commitment,
  { payments }: Pick<TaskRecord, 'payments'>,
  { verdict, times }: TaskEvidence,
): TaskOutput {
  const score = verdict.scores.find((s) => sameAddress(s.miner, miner));
  const time = times?.find((t) => sameAddress(t.miner, miner));
  const paid = payments.find((p) => sameAddress(p.miner, miner));
  return {
    miner,
    answeredMs: time?.answeredMs ?? null,
    committedMs: time?.committedMs ?? null,
    resultHash,
    resultCid,
    usage,
    scoreBps: score?.scoreBps ?? 0,
    isAgreed: score?.isAgreed ?? false,
    paidWei: paid?.amountWei ?? '0',
  };
}

/** One an answer, in the order of the commitments; never rejects. */
async function readPlain(
  { sessionId, keyringCid, commitments }: TaskEvidence,
  level: SealingLevel,
  deps: DetailDeps,
  outer: AbortSignal,
): Promise<PlainOutput[]> {
  const signal = deadlineIn(READ_MS, outer);
  const opening = openContent({ sessionId, level, keyringCid: keyringCid ?? null }, deps, signal);
  return Promise.all(
    commitments.map(async (commitment): Promise<PlainOutput> => {
      try {
        const answer = await readAnswer(await opening, commitment, signal);
        const { text, finishReason, toolCalls } = answer;
        return { text, finishReason, ...(toolCalls === undefined ? {} : { toolCalls }) };
      } catch (error) {
        return { error: findEngineError(error)?.code ?? 'IPFS_UNREACHABLE' };
      }
    }),
  );
}
