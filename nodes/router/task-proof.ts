/** The proof that a task was settled, out of its batch's document. */
import { ZeroHash } from 'ethers';
import { merkleProof, merkleRoot, taskLeaf } from '../../adapters/chain/merkle.js';
import { getJson, type BlockStore } from '../../adapters/ipfs/block-store.js';
import { digestOf } from '../../adapters/ipfs/cid.js';
import type { TaskProof } from '../../domain/api.js';
import { deadlineIn } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid, Hex, SessionId } from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import type { SettlementBatch } from '../../domain/settlement.js';

const READ_MS = 30_000;

/** Puts the proof of a settled task together.
 * @throws TASK_NOT_SETTLED — the chain has no batch with it, or not yet.
 * @throws INVARIANT_BROKEN — the document is not what was settled.
 * @throws as `BlockStore.get` */
export async function proveTask(
  sessionId: SessionId,
  record: TaskRecord,
  store: BlockStore,
  outer: AbortSignal,
): Promise<TaskProof> {
  const { taskId, state, batchCid, settlementTx } = record;
  if (state !== 'Settled' || batchCid === null || settlementTx === null) {
    throw new EngineError('TASK_NOT_SETTLED', { taskId, state });
  }
  const signal = deadlineIn(READ_MS, outer);
  // Written by this deployment and re-hashed on reading; whoever gets the proof verifies it anyway.
  const batch = await getJson(store, batchCid, (value) => value as SettlementBatch, { signal });
  const index = batch.tasks.findIndex((t) => t.sessionId === sessionId && t.taskId === taskId);
  const task = batch.tasks[index];
  if (task === undefined)
    throw new EngineError('INVARIANT_BROKEN', { what: 'a task in its batch' });
  const leaves = batch.tasks.map(taskLeaf);
  if (merkleRoot(leaves) !== batch.root) {
    throw new EngineError('INVARIANT_BROKEN', { what: 'the root of a batch', batchCid });
  }
  return {
    sessionId,
    taskId,
    ordinal: task.ordinal,
    outcome: task.outcome,
    evidenceDigest: digestOrZero(task.evidenceCid),
    resultDigest: digestOrZero(task.resultCid),
    chargeWei: task.chargeWei,
    batchId: batch.batchId,
    batchCid,
    root: batch.root,
    leaf: taskLeaf(task),
    proof: merkleProof(leaves, index),
    settlementTx,
  };
}

function digestOrZero(cid: Cid | undefined): Hex {
  return cid === undefined ? (ZeroHash as Hex) : digestOf(cid);
}
