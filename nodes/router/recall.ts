/** What was recorded of a task before: by this router, another one, or long ago. */
import { getJson, type BlockStore } from '../../adapters/ipfs/block-store.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid, SessionId, TaskId } from '../../domain/ids.js';
import type { TaskEvidence, TaskOutcome } from '../../domain/task.js';
import { conclude, NO_USAGE, type Conclusion } from './outcome.js';
import type { TaskRecords } from './records.js';
import { persist } from './retry.js';

/** A task that the workflow knows, or its archive. */
export interface Recorded {
  /** Number of the task in its session. */
  readonly ordinal: number;
  readonly requestCid: Cid;
  /** Set when it was known before, and that it has ended. */
  readonly ended: TaskOutcome | null;
}

/** Reads how a task ended, with the agreed answer out of its evidence.
 * @throws TASK_NOT_FOUND — the session never took it, or it has not ended.
 * @throws as `TaskRecords.find`, and as `BlockStore.get` once `signal` is aborted. */
export async function recall(
  sessionId: SessionId,
  taskId: TaskId,
  deps: { readonly records: TaskRecords; readonly blockStore: BlockStore },
  signal: AbortSignal,
): Promise<Conclusion> {
  const record = await deps.records.find(sessionId, taskId, signal);
  if (record.outcome === null) throw new EngineError('TASK_NOT_FOUND', { taskId });
  const { outcome, evidenceCid, requestCid, failure } = record;
  // Written by a router of this deployment and re-hashed on reading, hence not parsed again.
  const read = (cid: Cid) =>
    persist(
      (attempt) => getJson(deps.blockStore, cid, (v) => v as TaskEvidence, { signal: attempt }),
      signal,
    );
  const evidence = evidenceCid === null ? null : await read(evidenceCid);
  const reason = failure === undefined ? {} : { failure };
  const code = record.host?.code ?? null;
  const hosting = code === null ? {} : { hostCode: code };
  const end = { taskId, outcome, usage: record.usage ?? NO_USAGE, ...reason, ...hosting };
  return conclude(end, requestCid, evidence);
}
