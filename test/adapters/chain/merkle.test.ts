import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AbiCoder, concat, keccak256, ZeroHash } from 'ethers';
import fc from 'fast-check';
import { merkleProof, merkleRoot, scoreLeaf, taskLeaf } from '../../../adapters/chain/merkle.js';
import type { Hex } from '../../../domain/ids.js';
import type { SettledTask } from '../../../domain/task.js';

/** MerkleProof.processProof of OpenZeppelin Contracts, in our words. */
function climb(leaf: Hex, proof: readonly Hex[]): string {
  return proof.reduce<string>((node, sibling) => {
    return keccak256(node < sibling ? concat([node, sibling]) : concat([sibling, node]));
  }, leaf);
}

/** https://github.com/OpenZeppelin/merkle-tree, README, "Building a Tree". */
test('a tree has the root that OpenZeppelin publishes for the same values', () => {
  const leaves = [
    ['0x1111111111111111111111111111111111111111', '5000000000000000000'],
    ['0x2222222222222222222222222222222222222222', '2500000000000000000'],
  ].map((value) => {
    const encoded = AbiCoder.defaultAbiCoder().encode(['address', 'uint256'], value);
    return keccak256(keccak256(encoded)) as Hex;
  });
  assert.equal(
    merkleRoot(leaves),
    '0xd4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77',
  );
});

const leaf = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => `0x${Buffer.from(bytes).toString('hex')}` as Hex);

test('every leaf is proven by its proof, and no other leaf is', () => {
  const trees = fc.uniqueArray(leaf, { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(trees, fc.nat(), leaf, (leaves, n, stranger) => {
      const index = n % leaves.length;
      const proof = merkleProof(leaves, index);
      assert.equal(climb(leaves[index] ?? '0x', proof), merkleRoot(leaves));
      if (!leaves.includes(stranger)) assert.notEqual(climb(stranger, proof), merkleRoot(leaves));
    }),
  );
});

test('a tree without leaves has a root of zeros, one leaf is its own root', () => {
  assert.equal(merkleRoot([]), ZeroHash);
  assert.equal(merkleRoot(['0xab']), '0xab');
  assert.deepEqual(merkleProof(['0xab'], 0), []);
  assert.throws(() => merkleProof(['0xab'], 1), RangeError);
});

test('a leaf of a task changes with everything that the contract hashes', () => {
  const task: SettledTask = {
    sessionId: '7',
    taskId: `0x${'1'.repeat(64)}`,
    ordinal: 0,
    outcome: 'completed',
    requestCid: 'unused',
    chargeWei: '10',
    feeWei: '1',
    payments: [],
  };
  const changes: Partial<SettledTask>[] = [
    {},
    { sessionId: '8' },
    { taskId: `0x${'2'.repeat(64)}` },
    { ordinal: 1 },
    { outcome: 'disputed' },
    { chargeWei: '11' },
    { evidenceCid: 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku' },
    { resultCid: 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku' },
  ];
  assert.equal(new Set(changes.map((c) => taskLeaf({ ...task, ...c }))).size, changes.length);
  const score = { miner: `0x${'1'.repeat(40)}`, scoreBps: 9_000, level: 9 } as const;
  assert.notEqual(scoreLeaf(score), scoreLeaf({ ...score, scoreBps: 9_001 }));
});
