/** Proof that a task was settled: put together from what anyone may say, believed only as far as the
 * contract confirms it. */
import { ZeroHash } from 'ethers';
import { merkleProof, taskLeaf } from '../adapters/chain/merkle.js';
import type { ServiceChain } from '../adapters/chain/service.js';
import type { BlockStore } from '../adapters/ipfs/block-store.js';
import { cidOfDigest } from '../adapters/ipfs/cid.js';
import type { TaskProof } from '../domain/api.js';
import { EngineError } from '../domain/errors.js';
import { sameAddress, type Cid, type Hex, type SessionId, type TaskId } from '../domain/ids.js';
import type { SettledTask } from '../domain/task.js';
import { readDocument } from '../nodes/oracle/results.js';
import { parseBatch } from '../nodes/oracle/schema.js';

/** What a leaf says of a task. */
export type ProvenTask = Pick<
  SettledTask,
  'sessionId' | 'taskId' | 'ordinal' | 'outcome' | 'evidenceCid' | 'resultCid' | 'chargeWei'
>;

export interface Inclusion {
  readonly task: ProvenTask;
  readonly batchId: Hex;
  /** Siblings from the task's leaf to the root. */
  readonly proof: readonly Hex[];
}

/** Which task is asked about. */
interface Asked {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
}

/** Reads a router's proof; its leaf and its root are left aside, since they are computed again.
 * @throws REQUEST_INVALID — it is of another task. */
export function inclusionOf(claimed: TaskProof, asked: Asked): Inclusion {
  const { sessionId, taskId, ordinal, outcome, chargeWei, batchId, proof } = claimed;
  if (sessionId !== asked.sessionId || !sameAddress(taskId, asked.taskId)) throw unfit('proof');
  const evidenceCid = cidOrNone(claimed.evidenceDigest);
  const resultCid = cidOrNone(claimed.resultDigest);
  return {
    task: {
      sessionId,
      taskId,
      ordinal,
      outcome,
      chargeWei,
      ...(evidenceCid !== null && { evidenceCid }),
      ...(resultCid !== null && { resultCid }),
    },
    batchId,
    proof,
  };
}

/** Finds a task in a batch's document, without any router.
 * @throws REQUEST_INVALID — no batch, or the task is not in it.
 * @throws CONTENT_MISSING, CONTENT_MISMATCH, IPFS_UNREACHABLE */
export async function findInBatch(
  store: Pick<BlockStore, 'get'>,
  batchCid: Cid,
  asked: Asked,
  signal: AbortSignal,
): Promise<Inclusion> {
  const { batchId, tasks } = await readDocument(store, batchCid, parseBatch, signal);
  const index = tasks.findIndex(
    (task) => task.sessionId === asked.sessionId && sameAddress(task.taskId, asked.taskId),
  );
  const task = tasks[index];
  if (task === undefined) throw unfit('batch');
  return { task, batchId, proof: merkleProof(tasks.map(taskLeaf), index) };
}

/** Asks the contract. @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH */
export function isProven(
  { task, batchId, proof }: Inclusion,
  chain: Pick<ServiceChain, 'verifyTask'>,
): Promise<boolean> {
  return chain.verifyTask(batchId, leafOf(task), proof);
}

function leafOf(task: ProvenTask): Hex {
  return taskLeaf({ requestCid: '', feeWei: '0', payments: [], ...task });
}

function cidOrNone(digest: Hex): Cid | null {
  return digest === ZeroHash ? null : cidOfDigest(digest);
}

function unfit(field: string): EngineError {
  return new EngineError('REQUEST_INVALID', { field, expected: 'one with the task in it' });
}
