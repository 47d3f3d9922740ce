import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApplicationFailure } from '@temporalio/common';
import { createIpfsActivities } from '../../activities/ipfs.js';
import { getJson } from '../../adapters/ipfs/block-store.js';
import { merkleRoot, taskLeaf } from '../../adapters/chain/merkle.js';
import { putDocument } from '../../adapters/ipfs/manifest.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { allTasks, findArchived, parseArchivePage } from '../../domain/archive.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import type { Keyring, Reader } from '../../domain/sealing.js';
import { parsePolicy, type SessionPolicy } from '../../domain/session.js';
import type { SettlementBatch } from '../../domain/settlement.js';
import type { TaskRecord } from '../../domain/lease.js';
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
    readJson: (cid, parse) => getJson(store, cid, parse),
    encodeJson,
    putDocument: (value) => putDocument(store, value),
    repair: () => Promise.reject(new Error('not asked for here')),
    copyTo: () => Promise.reject(new Error('not asked for here')),
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

/** An archived page of this many tasks, and the blocks of each of them. */
async function archivedPage(store: ReturnType<typeof memoryStore>, count: number) {
  const records: TaskRecord[] = [];
  const blocks: Cid[] = [];
  for (let n = 0; n < count; n++) {
    const results = await Promise.all(
      ['a', 'b'].map((miner) => store.put(Buffer.from(`result ${n} ${miner}`))),
    );
    const evidence = { commitments: results.map((resultCid) => ({ resultCid })) };
    const evidenceCid = await store.put(encodeJson(evidence));
    const requestCid = await store.put(Buffer.from(`request ${n}`));
    records.push({ taskId: `0x${n}`, ordinal: n, requestCid, evidenceCid } as TaskRecord);
    blocks.push(requestCid, evidenceCid, ...results);
  }
  return { records, blocks };
}

test('archiveTasks: the same records are the same page, and a page names the one before it', async () => {
  const { archiveTasks, store } = activities();
  const { records } = await archivedPage(store, 3);
  const first = await archiveTasks({ sessionId: '7', previous: null, records });
  assert.equal(await archiveTasks({ sessionId: '7', previous: null, records }), first);
  const second = await archiveTasks({ sessionId: '7', previous: first, records });
  const read = async (cid: Cid) =>
    parseArchivePage(JSON.parse(Buffer.from(await store.get(cid)).toString()));
  assert.equal((await read(second)).previous, first);
  assert.deepEqual(await allTasks([first], [], read), records);
  assert.equal((await findArchived([first, second], '0x2', read))?.ordinal, 2);
  assert.equal(await findArchived([first, second], '0x9', read), null);
});

test('releaseTasks: gives up all content of its tasks, and nothing else, however often it is cut short', async () => {
  const { archiveTasks, releaseTasks, store } = activities();
  const { records, blocks } = await archivedPage(store, 120);
  const page = await archiveTasks({ sessionId: '7', previous: null, records });
  const other = await store.put(Buffer.from('the batch of another session'));
  const release = async (): Promise<void> => {
    for (let from: number | null = 0; from !== null;) from = await releaseTasks({ page, from });
  };
  const { unpin } = store;
  let left = 77;
  store.unpin = async (cid) => {
    if (left-- === 0) throw new EngineError('IPFS_UNREACHABLE');
    await unpin(cid);
  };
  await assert.rejects(release(), { type: 'IPFS_UNREACHABLE' });
  assert.ok(blocks.some((cid) => store.blocks.has(cid)));
  await release();
  assert.ok(blocks.every((cid) => !store.blocks.has(cid)));
  await release();
  assert.deepEqual([...store.blocks.keys()].sort(), [page, other].sort());
});
