/**
 * `eraseSession`: takes a closed session away, keys first, so that whatever copy is left somewhere
 * cannot be read from then on; then its content on IPFS, its rows at sinks, its records, and in the
 * end a signed receipt. Killed anywhere, it goes on: every step may be repeated. What the chain holds
 * stays, and so do the batches that prove what was paid.
 */
import {
  ApplicationFailure,
  isCancellation,
  log,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { RetryPolicies } from '../domain/config.js';
import type { ErasurePlan, ErasureStage, SignedErasure } from '../domain/erasure.js';
import type { RemovalReceipt } from '../domain/export.js';
import type { SessionId } from '../domain/ids.js';
import { databaseActivities, erasureActivities, ipfsActivities } from './activities.js';
import { codeOf, isFinal, OUTAGE_PAUSE } from './failure.js';
import { erasureQuery } from './messages.js';

export interface EraseSessionInput {
  readonly chainId: number;
  readonly sessionId: SessionId;
  /** Of the session's workflow. */
  readonly workflowId: string;
  readonly retries: RetryPolicies;
}

/** Pauses between tries at what is away: a sink may be away for weeks, and each try is in the history. */
const FIRST_PAUSE_MS = 60_000;
const LONGEST_PAUSE_MS = 3_600_000;

export async function eraseSession(input: EraseSessionInput): Promise<SignedErasure> {
  const { chainId, sessionId, workflowId, retries } = input;
  const erasure = erasureActivities(retries);
  const ipfs = ipfsActivities(retries);
  const database = databaseActivities(retries);
  let stage: ErasureStage = 'Keys';
  let waitingFor: string | null = null;
  let signed: SignedErasure | null = null;
  setHandler(erasureQuery, () => ({ sessionId, stage, waitingFor, signed }));

  /** A promise to erase is kept, however long what is away stays away, or refuses. */
  async function untilDone<T>(attempt: () => Promise<T>): Promise<T> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        const result = await attempt();
        waitingFor = null;
        return result;
      } catch (error) {
        if (isCancellation(error)) throw error;
        waitingFor = codeOf(error);
        log.warn('not erased yet', { sessionId, stage, code: waitingFor });
        await sleep(pauseMs);
      }
    }
  }

  const { keyrings, pages, manifestCid, sinks, owner, level, tasks, host } = await planned();
  await untilDone(() => erasure.destroyKeys({ sessionId, keyrings }));

  stage = 'Content';
  for (const page of pages) {
    for (let from: number | null = 0; from !== null;) {
      const at: number = from;
      from = await untilDone(() => ipfs.releaseTasks({ page, from: at }));
    }
  }

  stage = 'Sinks';
  const removed: RemovalReceipt[] = [];
  for (const sink of sinks) {
    removed.push(await untilDone(() => database.removeExport({ sessionId, sink })));
  }

  stage = 'Records';
  if (manifestCid !== null)
    await untilDone(() => erasure.releaseManifest({ sessionId, manifestCid }));
  for (const page of pages) await untilDone(() => ipfs.unpin({ sessionId, cid: page }));

  stage = 'Receipt';
  const receipt = {
    version: 1,
    kind: 'erasure',
    chainId,
    sessionId,
    owner,
    level,
    keyrings,
    tasks,
    manifestCid,
    sinks: removed,
    ...(host === undefined ? {} : { host }),
    erasedAt: new Date().toISOString(),
  } as const;
  signed = await untilDone(() => erasure.signErasure(receipt));
  stage = 'Done';
  return signed;

  /** A session that cannot be erased is refused at once: then nothing has been touched. */
  async function planned(): Promise<ErasurePlan> {
    for (;;) {
      try {
        return await erasure.planErasure({ sessionId, workflowId });
      } catch (error) {
        if (isCancellation(error)) throw error;
        const code = codeOf(error);
        if (isFinal(error)) {
          const { workflowId: id } = workflowInfo();
          throw ApplicationFailure.nonRetryable(`${id} cannot be carried out`, code);
        }
        waitingFor = code;
        await sleep(OUTAGE_PAUSE);
      }
    }
  }
}
