/**
 * Merkle trees as OpenZeppelin's MerkleProof reads them: pairs hashed in ascending order, leaves
 * hashed twice so that no inner node can pose as one. The order of leaves matters for the root.
 * @see https://docs.openzeppelin.com/contracts/5.x/api/utils#MerkleProof
 */
import { AbiCoder, concat, keccak256, ParamType, ZeroHash } from 'ethers';
import type { NodeHealth } from '../../domain/health.js';
import type { Cid, Hex } from '../../domain/ids.js';
import { TASK_OUTCOMES, type SettledTask } from '../../domain/task.js';
import { digestOf } from '../ipfs/cid.js';

/** Types of leaves, read once: that takes as long as the rest of the hash. */
const TASK_LEAF = typesOf('uint64', 'bytes32', 'uint256', 'uint8', 'bytes32', 'bytes32', 'uint256');
const SCORE_LEAF = typesOf('address', 'uint16', 'uint8');

/** Leaf of a settled task: how it ended, what it cost, and where evidence and answer lie.
 * @throws REQUEST_INVALID — a CID is not one of ours.
 * @see contracts/src/service/ISessionPayment.sol taskLeaf */
export function taskLeaf(task: SettledTask): Hex {
  return leaf(TASK_LEAF, [
    task.sessionId,
    task.taskId,
    task.ordinal,
    TASK_OUTCOMES.indexOf(task.outcome),
    digestOrZero(task.evidenceCid),
    digestOrZero(task.resultCid),
    task.chargeWei,
  ]);
}

/** The digest that contracts store of a block; zero where there is none.
 * @throws REQUEST_INVALID — the CID is not one of ours. */
export function digestOrZero(cid: Cid | undefined): Hex {
  return cid === undefined ? (ZeroHash as Hex) : digestOf(cid);
}

/** Leaf of a miner's score in an epoch. @see contracts/src/health/IHealthLedger.sol scoreLeaf */
export function scoreLeaf(health: Pick<NodeHealth, 'miner' | 'scoreBps' | 'level'>): Hex {
  return leaf(SCORE_LEAF, [health.miner, health.scoreBps, health.level]);
}

/** Root over leaves in their order; a level's odd last node moves up as it is.
 * @returns 32 zero bytes for no leaves. */
export function merkleRoot(leaves: readonly Hex[]): Hex {
  return levels(leaves).at(-1)?.[0] ?? (ZeroHash as Hex);
}

/** Siblings from a leaf to the root.
 * @throws RangeError — no leaf has this index. */
export function merkleProof(leaves: readonly Hex[], index: number): Hex[] {
  if (leaves[index] === undefined) throw new RangeError(`expected a leaf's index, got ${index}`);
  const proof: Hex[] = [];
  let position = index;
  for (const level of levels(leaves)) {
    const sibling = level[position ^ 1];
    if (sibling !== undefined) proof.push(sibling);
    position >>= 1;
  }
  return proof;
}

function levels(leaves: readonly Hex[]): Hex[][] {
  const all: Hex[][] = [[...leaves]];
  for (let level = all[0] ?? []; level.length > 1;) {
    const above: Hex[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const [left, right] = [level[i], level[i + 1]];
      if (left !== undefined) above.push(right === undefined ? left : hashPair(left, right));
    }
    all.push(above);
    level = above;
  }
  return all;
}

function hashPair(a: Hex, b: Hex): Hex {
  const [low, high] = a.toLowerCase() < b.toLowerCase() ? [a, b] : [b, a];
  return keccak256(concat([low, high])) as Hex;
}

function typesOf(...types: readonly string[]): readonly ParamType[] {
  return types.map((type) => ParamType.from(type));
}

function leaf(types: readonly ParamType[], values: readonly unknown[]): Hex {
  return keccak256(keccak256(AbiCoder.defaultAbiCoder().encode(types, values))) as Hex;
}
