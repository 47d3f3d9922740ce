import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { concat, keccak256, ZeroHash } from 'ethers';
import fc from 'fast-check';
import { merkleProof, merkleRoot, taskLeaf } from '../../adapters/chain/merkle.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { cidOf, digestOf } from '../../adapters/ipfs/cid.js';
import { findInBatch, inclusionOf, isProven } from '../../cli/task-proof.js';
import type { TaskProof } from '../../domain/api.js';
import type { Hex } from '../../domain/ids.js';
import { sumBatch, type SettlementBatch } from '../../domain/settlement.js';
import type { SettledTask } from '../../domain/task.js';

const CID = cidOf(new Uint8Array([7]));

function taskOf(ordinal: number): SettledTask {
  return {
    sessionId: '5',
    taskId: `0x${(ordinal + 1).toString(16).padStart(64, '0')}`,
    ordinal,
    outcome: 'completed',
    requestCid: CID,
    evidenceCid: CID,
    resultCid: cidOf(new Uint8Array([ordinal])),
    chargeWei: '21',
    feeWei: '1',
    payments: [{ miner: `0x${'a1'.repeat(20)}`, amountWei: '20' }],
  };
}

function batchOf(count: number): SettlementBatch {
  const tasks = Array.from({ length: count }, (_, i) => taskOf(i));
  const root = merkleRoot(tasks.map(taskLeaf));
  return { version: 1, batchId: root, root, tasks, ...sumBatch(tasks) };
}

/** The contract's own check, by OpenZeppelin's rule: pairs in ascending order. */
function chainOf(batch: SettlementBatch) {
  return {
    verifyTask: async (batchId: Hex, leaf: Hex, proof: readonly Hex[]) =>
      batchId === batch.batchId &&
      proof.reduce((node, sibling) => {
        const [low, high] = node < sibling ? [node, sibling] : [sibling, node];
        return keccak256(concat([low, high])) as Hex;
      }, leaf) === batch.root,
  };
}

function claimedOf(batch: SettlementBatch, index: number): TaskProof {
  const task = batch.tasks[index] ?? taskOf(index);
  const leaves = batch.tasks.map(taskLeaf);
  return {
    sessionId: task.sessionId,
    taskId: task.taskId,
    ordinal: task.ordinal,
    outcome: task.outcome,
    evidenceDigest: task.evidenceCid === undefined ? ZERO : digestOf(task.evidenceCid),
    resultDigest: task.resultCid === undefined ? ZERO : digestOf(task.resultCid),
    chargeWei: task.chargeWei,
    batchId: batch.batchId,
    batchCid: CID,
    root: batch.root,
    leaf: leaves[index] ?? ZERO,
    proof: merkleProof(leaves, index),
    settlementTx: ZERO,
  };
}
const ZERO = ZeroHash as Hex;

const drawn = fc
  .integer({ min: 1, max: 40 })
  .chain((count) => fc.tuple(fc.constant(count), fc.nat({ max: count - 1 })));

describe('a proof of a task', () => {
  it('holds for every task of a batch, whether a router or the batch itself brings it', async () => {
    await fc.assert(
      fc.asyncProperty(drawn, async ([count, index]) => {
        const batch = batchOf(count);
        const claimed = claimedOf(batch, index);
        const get = async () => encodeJson(batch);
        const signal = AbortSignal.timeout(60_000);
        assert.ok(await isProven(inclusionOf(claimed, claimed), chainOf(batch)));
        assert.ok(await isProven(await findInBatch({ get }, CID, claimed, signal), chainOf(batch)));
      }),
      { numRuns: 30 },
    );
  });

  it('does not hold when the router changes anything that it says of the task', async () => {
    const batch = batchOf(5);
    const honest = claimedOf(batch, 2);
    const lies: Partial<TaskProof>[] = [
      { ordinal: 3 },
      { outcome: 'failed' },
      { chargeWei: '20' },
      { evidenceDigest: ZERO },
      { resultDigest: digestOf(CID) },
      { batchId: ZERO },
      { proof: honest.proof.slice(1) },
    ];
    for (const lie of lies) {
      const claimed = { ...honest, ...lie };
      assert.equal(await isProven(inclusionOf(claimed, honest), chainOf(batch)), false);
    }
  });

  it('believes neither leaf nor root of a router', async () => {
    const batch = batchOf(5);
    const claimed = { ...claimedOf(batch, 1), chargeWei: '1', leaf: claimedOf(batch, 1).leaf };
    assert.equal(await isProven(inclusionOf(claimed, claimed), chainOf(batch)), false);
  });

  it('is refused when it is of another task or session', async () => {
    const batch = batchOf(3);
    const honest = claimedOf(batch, 0);
    const other = taskOf(1);
    for (const asked of [other, { ...honest, sessionId: '6' }]) {
      assert.throws(() => inclusionOf(honest, asked), { code: 'REQUEST_INVALID' });
    }
    const get = async () => encodeJson(batch);
    const asked = { sessionId: '5', taskId: taskOf(9).taskId };
    const found = findInBatch({ get }, CID, asked, AbortSignal.timeout(1_000));
    await assert.rejects(found, { code: 'REQUEST_INVALID' });
  });
});
