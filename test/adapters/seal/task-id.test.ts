import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import fc from 'fast-check';
import { seedOf, taskIdOf } from '../../../adapters/seal/task-id.js';

test('a task id is SHA-256 over its session and idempotency key', async () => {
  const preimage = 'cortensor/task/1|42|order-7';
  const digest = createHash('sha256').update(preimage).digest('hex');
  assert.equal(await taskIdOf('42', 'order-7'), `0x${digest}`);
});

test('requests that differ in session or key are different tasks', async () => {
  const ids = await Promise.all([
    taskIdOf('42', 'a'),
    taskIdOf('42', 'b'),
    taskIdOf('43', 'a'),
    taskIdOf('4', '2|a'),
  ]);
  assert.equal(new Set(ids).size, ids.length);
});

test('a key that does not survive UTF-8 is refused', async () => {
  for (const key of ['', '\ud800', 'a\udc00']) {
    await assert.rejects(taskIdOf('42', key), { code: 'REQUEST_INVALID' });
  }
});

test('a seed is the first 31 bits of the task id', () => {
  assert.equal(seedOf(`0x${'f'.repeat(64)}`), 2 ** 31 - 1);
  assert.equal(seedOf(`0x${'0'.repeat(64)}`), 0);
  assert.equal(seedOf(`0x00000003${'0'.repeat(56)}`), 1);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
      const seed = seedOf(`0x${Buffer.from(bytes).toString('hex')}`);
      assert.ok(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 31);
    }),
  );
});
