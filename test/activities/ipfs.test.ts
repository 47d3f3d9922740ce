import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApplicationFailure } from '@temporalio/common';
import { createIpfsActivities } from '../../activities/ipfs.js';
import { merkleRoot, taskLeaf } from '../../adapters/chain/merkle.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import type { Keyring, Reader } from '../../domain/sealing.js';
import { parsePolicy, type SessionPolicy } from '../../domain/session.js';
import type { SettlementBatch } from '../../domain/settlement.js';
import type { SettledTask } from '../../domain/task.js';
import { memoryStore } from './memory-store.js';

const POLICY = parsePolicy({
  model: 'm',
  redundancy: 3,
  level: 'link',
  priceCeilingWei: '10',
  maxTasks: 100,
  idleSeconds: 60,
  taskSeconds: 60,
});

function activities() {
  const store = memoryStore();
  const wrapped: (readonly string[])[] = [];
  const ipfs = createIpfsActivities({
    store,
    encodeJson,
    createKeyring: async () => ({ keyring: {} as Keyring, recipient: 'age1session' }),
    wrapKeyring: async (_, readers) => {
      wrapped.push(readers);
      return Buffer.from(readers.join());
    },
    taskLeaf,
    merkleRoot,
  });
  return { ...ipfs, store, wrapped };
}

const task = (ordinal: number): SettledTask => ({
  sessionId: '7',
  taskId: `0x${ordinal.toString(16).padStart(64, '0')}`,
  ordinal,
  outcome: 'completed',
  requestCid: 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy',
  evidenceCid: 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy',
  chargeWei: '105',
  feeWei: '5',
  payments: [{ miner: `0x${'01'.repeat(20)}`, amountWei: '100' }],
});

test('pinPolicy: equal policies have one CID, whatever the order of their fields', async () => {
  const { pinPolicy, store } = activities();
  const reversed = Object.fromEntries(Object.entries(POLICY).reverse()) as unknown as SessionPolicy;
  assert.equal(await pinPolicy(POLICY), await pinPolicy(reversed));
  assert.equal(store.blocks.size, 1);
});

test('createKeyring: wraps the keyring for every reader and lays it out', async () => {
  const { createKeyring, store, wrapped } = activities();
  const readers = ['a', 'b'].map((name) => ({ recipient: `age1${name}` }) as Reader);
  const ref = await createKeyring({ sessionId: '7', readers });
  assert.equal(ref.recipient, 'age1session');
  assert.ok(store.blocks.has(ref.cid));
  assert.deepEqual(wrapped, [['age1a', 'age1b']]);
});

test('buildBatch: the same tasks are the same batch, other tasks are another', async () => {
  const { buildBatch } = activities();
  const { batchCid } = await buildBatch([task(0), task(1)]);
  assert.deepEqual(await buildBatch([task(0), task(1)]), { batchCid });
  assert.notEqual((await buildBatch([task(0)])).batchCid, batchCid);
});

test('buildBatch: sums charges, payments and fees, and names the batch by its root', async () => {
  const { buildBatch, store } = activities();
  const { batchCid } = await buildBatch([task(0), task(1)]);
  const batch = JSON.parse(Buffer.from(await store.get(batchCid)).toString()) as SettlementBatch;
  assert.equal(batch.batchId, batch.root);
  assert.equal(batch.root, merkleRoot([task(0), task(1)].map(taskLeaf)));
  assert.deepEqual(
    batch.charges.map((charge) => [charge.sessionId, BigInt(charge.mask), charge.amountWei]),
    [['7', 0b11n, '210']],
  );
  assert.deepEqual([batch.payments[0]?.amountWei, batch.feeWei], ['200', '10']);
});

test('buildBatch: refuses for good a task whose sums do not close', async () => {
  const { buildBatch } = activities();
  await assert.rejects(buildBatch([{ ...task(0), chargeWei: '106' }]), (error) => {
    assert.ok(error instanceof ApplicationFailure);
    assert.deepEqual([error.type, error.nonRetryable], ['INVARIANT_BROKEN', true]);
    return true;
  });
});
