import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AbiCoder, keccak256 } from 'ethers';
import fc from 'fast-check';
import { precommitmentOf } from '../../../adapters/chain/precommitment.js';
import type { Hex } from '../../../domain/ids.js';

const hex = (bytes: number) =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .map((of): Hex => `0x${Buffer.from(of).toString('hex')}`);
const commitment = fc.record({
  sessionId: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
  taskId: hex(32),
  miner: hex(20),
  resultHash: hex(32),
  resultDigest: hex(32),
  salt: hex(32),
});

test('a precommitment is the hash of what Solidity encodes', () => {
  const types = ['uint64', 'bytes32', 'address', 'bytes32', 'bytes32', 'bytes32'];
  fc.assert(
    fc.property(commitment, fc.boolean(), (value, isLoud) => {
      const { sessionId, taskId, miner, resultHash, resultDigest, salt } = value;
      const fields = [sessionId, taskId, miner, resultHash, resultDigest, salt];
      const encoded = AbiCoder.defaultAbiCoder().encode(types, fields);
      const loud: Hex = `0x${resultHash.slice(2).toUpperCase()}`;
      const given = isLoud ? { ...value, resultHash: loud } : value;
      assert.equal(precommitmentOf(given), keccak256(encoded));
    }),
  );
});

test('digits that move from one field into the next are no second commitment', () => {
  fc.assert(
    fc.property(commitment, fc.integer({ min: 1, max: 20 }), (value, moved) => {
      const digits = value.resultDigest.slice(2);
      const shifted = {
        ...value,
        resultHash: `${value.resultHash}${digits.slice(0, moved)}` as Hex,
        resultDigest: `0x${digits.slice(moved)}` as Hex,
      };
      assert.throws(() => precommitmentOf(shifted), TypeError);
    }),
  );
  const [value] = fc.sample(commitment, 1);
  assert.ok(value);
  for (const wrong of [
    { sessionId: '-1' },
    { sessionId: String(2n ** 64n) },
    { salt: `0x${'g'.repeat(64)}` as Hex },
    { taskId: 'a'.repeat(66) as Hex },
    { miner: `${value.miner}00` as Hex },
  ]) {
    assert.throws(() => precommitmentOf({ ...value, ...wrong }), TypeError);
  }
});
