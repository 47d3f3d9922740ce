import assert from 'node:assert/strict';
import test, { after } from 'node:test';
import { encode } from '@ipld/dag-cbor';
import { CarBlockIterator } from '@ipld/car';
import fc from 'fast-check';
import { createIpfsActivities } from '../../../activities/ipfs.js';
import { merkleRoot, taskLeaf } from '../../../adapters/chain/merkle.js';
import { getJson, openBlockStore, putJson } from '../../../adapters/ipfs/block-store.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { exportCar, importCar, type CarReport } from '../../../adapters/ipfs/car.js';
import { asBytes, cidOf, codecOf } from '../../../adapters/ipfs/cid.js';
import { linksOf } from '../../../adapters/ipfs/links.js';
import { checkManifest, getDocument, putDocument } from '../../../adapters/ipfs/manifest.js';
import { EngineError } from '../../../domain/errors.js';
import type { Address, Cid } from '../../../domain/ids.js';
import type { TaskRecord } from '../../../domain/lease.js';
import { parseManifest, type ManifestLink } from '../../../domain/manifest.js';
import { memoryStore } from '../../activities/memory-store.js';
import { api, blocksOf, Fixture } from './kubo-fixture.js';

const fixture = await Fixture.create();
after(() => fixture.close());
const kubo = await fixture.kubo('kubo');
const store = openBlockStore({ apiUrl: kubo.apiUrl, timeoutMs: 10_000 });
const ipfs = createIpfsActivities({
  store,
  readJson: (cid, parse) => getJson(store, cid, parse),
  encodeJson,
  putDocument: (value) => putDocument(store, value),
  repair: () => Promise.reject(new Error('not asked for here')),
  copyTo: () => Promise.reject(new Error('not asked for here')),
  createKeyring: () => Promise.reject(new Error('not asked for here')),
  wrapKeyring: () => Promise.reject(new Error('not asked for here')),
  taskLeaf,
  merkleRoot,
});
const MINERS: readonly Address[] = [`0x${'01'.repeat(20)}`, `0x${'02'.repeat(20)}`];
const usage = { promptTokens: 3, completionTokens: 4 };

/** Lays a session of so many tasks down, as routers and workflow do. */
async function closeSession(sessionId: string, tasks: number) {
  const policy = await putJson(store, { policy: sessionId });
  const keyring = await store.put(Buffer.from(`keyring of ${sessionId}`));
  const batchCid = await putJson(store, { batch: sessionId });
  const record = async (ordinal: number): Promise<TaskRecord> => {
    const of = `${sessionId}, ${ordinal}`;
    const requestCid = await store.put(Buffer.from(`request of ${of}`));
    const commitments = await Promise.all(
      MINERS.map(async (miner) => {
        const resultCid = await store.put(Buffer.from(`result of ${miner} for ${of}`));
        return { miner, resultCid, usage };
      }),
    );
    const verdict = { status: 'agreed', method: 'identical', medoid: MINERS[0], scores: [] };
    return {
      taskId: `0x${ordinal.toString(16).padStart(64, '0')}`,
      ordinal,
      state: 'Settled',
      outcome: 'completed',
      requestCid,
      evidenceCid: await putJson(store, { of, commitments, verdict }),
      resultCid: commitments[0]?.resultCid ?? null,
      usage,
      chargeWei: '21',
      payments: MINERS.map((miner) => ({ miner, amountWei: '10' })),
      settlementTx: `0x${'0a'.repeat(32)}`,
      batchCid,
    };
  };
  const records = await Promise.all(Array.from({ length: tasks }, (_, i) => record(i)));
  const page = await ipfs.archiveTasks({ sessionId, previous: null, records });
  const lists: ManifestLink[] = [];
  for (let from: number | null = 0; from !== null;) {
    const described = await ipfs.describeTasks({ page, from });
    if (described.list !== null) lists.push(described.list);
    from = described.next;
  }
  const root = await ipfs.writeManifest({
    chainId: 31_339,
    sessionId,
    owner: `0x${'aa'.repeat(20)}`,
    policy,
    keyrings: [keyring],
    archive: [page],
    tasks: lists,
    taskCount: tasks,
  });
  return { root, records, page, keyring, policy, lists };
}

async function carOf(root: Cid): Promise<{ readonly file: Buffer; readonly report: CarReport }> {
  const parts: Uint8Array[] = [];
  let report: CarReport | undefined;
  for await (const part of exportCar(store, root, (end) => (report = end))) parts.push(part);
  assert.ok(report);
  return { file: Buffer.concat(parts), report };
}

async function* bytesOf(file: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < file.length; at += 1_000) yield file.subarray(at, at + 1_000);
}

test('the manifest of a session names all that it has laid down, with sizes', async () => {
  const { root, records } = await closeSession('11', 3);
  const ordinals: number[] = [];
  const check = await checkManifest(store, root, { onTask: (task) => ordinals.push(task.ordinal) });
  // Session, policy, keyring, page, list, batch three times; a task, request, evidence, two results.
  assert.deepEqual([check.tasks, check.blocks, check.missing], [3, 5 + 3 + 3 * 5, []]);
  assert.deepEqual(ordinals, [0, 1, 2]);
  const task = await firstTask(root);
  assert.equal(task.request.cid, records[0]?.requestCid);
  assert.equal(task.request.bytes, 'request of 11, 0'.length);
  assert.deepEqual(
    task.results.map(({ miner }) => miner),
    MINERS,
  );
  assert.equal(task.verdict?.status, 'agreed');
});

test('describing the same tasks again is the same manifest, and nothing is pinned but its blocks', async () => {
  const { root } = await closeSession('12', 2);
  assert.equal((await closeSession('12', 2)).root, root);
  // Pinned with what it links, it would hold content that a retention has given up.
  assert.match(await api(kubo, `pin/ls?arg=${root}`), /is not pinned/);
  assert.match(await api(kubo, `pin/ls?arg=${asBytes(root)}`), /"recursive"/);
  await api(kubo, 'repo/gc');
  assert.equal((await checkManifest(store, root)).tasks, 2);
});

test('tasks of a page that a list cannot hold go into further lists', async () => {
  const { root, lists } = await closeSession('13', 101);
  assert.equal(lists.length, 2);
  assert.equal((await checkManifest(store, root)).tasks, 101);
});

test('content that is given up or damaged when the manifest is written is named without a size', async () => {
  const { page, records } = await closeSession('14', 1);
  const [record] = records;
  assert.ok(record !== undefined && record.evidenceCid !== null);
  await store.unpin(record.requestCid);
  await store.unpin(record.evidenceCid);
  await api(kubo, 'repo/gc');
  const { list } = await ipfs.describeTasks({ page, from: 0 });
  assert.ok(list);
  const { tasks } = await getDocument(store, list.cid, (value) => parseManifest('tasks', value));
  const task = await getDocument(store, tasks[0]?.cid ?? '', (v) => parseManifest('task', v));
  assert.deepEqual([task.request.bytes, task.evidence?.bytes, task.results], [null, null, []]);
});

test('what a retention has given up is counted as missing, and the rest still holds', async () => {
  const { root, page } = await closeSession('15', 2);
  for (let from: number | null = 0; from !== null;) from = await ipfs.releaseTasks({ page, from });
  await api(kubo, 'repo/gc');
  const { tasks, missing } = await checkManifest(store, root);
  assert.deepEqual([tasks, missing.length], [2, 8]);
  const { report } = await carOf(root);
  assert.equal(report.missing.length, 8);
});

test('a CAR of a session reads into a stock Kubo under the same CIDs, root and every block', async () => {
  const { root } = await closeSession('16', 3);
  const { file, report } = await carOf(root);
  const other = await fixture.kubo('stock');
  const body = new FormData();
  body.append('file', new Blob([new Uint8Array(file)]));
  const url = `${other.apiUrl}/api/v0/dag/import?pin-roots=true`;
  const answer = await (await fetch(url, { method: 'POST', body })).text();
  const [line = '{}'] = answer.split('\n');
  assert.deepEqual(JSON.parse(line), { Root: { Cid: { '/': root }, PinErrorMsg: '' } });
  const theirs = openBlockStore({ apiUrl: other.apiUrl, timeoutMs: 10_000 });
  assert.equal((await checkManifest(theirs, root)).tasks, 3);
  const held = new Set(await blocksOf(other));
  // Kubo lists what it holds by hash alone, as if all were bytes.
  for (const cid of await carCids(file)) assert.ok(held.has(asBytes(cid)), cid);
  // And what the stock Kubo exports reads back into the engine.
  const stock = await fetch(`${other.apiUrl}/api/v0/dag/export?arg=${root}`, { method: 'POST' });
  const back = memoryStore();
  const exported = new Uint8Array(await stock.arrayBuffer());
  assert.equal((await importCar(back, bytesOf(exported), { root })).blocks, report.blocks);
  assert.equal((await checkManifest(back, root)).tasks, 3);
});

test('a CAR reads back into the engine, and one that is altered anywhere is an error', async () => {
  const { root } = await closeSession('17', 2);
  const { file, report } = await carOf(root);
  const clean = memoryStore();
  const { blocks, missing } = await importCar(clean, bytesOf(file), { root });
  assert.deepEqual([blocks, missing], [report.blocks, []]);
  assert.equal((await checkManifest(clean, root)).tasks, 2);
  await fc.assert(
    fc.asyncProperty(fc.nat(file.length - 1), fc.nat(7), async (at, bit) => {
      const altered = Uint8Array.from(file);
      altered[at] = (altered[at] ?? 0) ^ (1 << bit);
      const into = memoryStore();
      // A length that swallows the rest leaves blocks out: then the report says which.
      const outcome = await importCar(into, bytesOf(altered), { root }).catch((e: unknown) => e);
      if (!(outcome instanceof EngineError)) {
        const report = outcome as CarReport;
        assert.ok(report.missing.length > 0, `byte ${at}, bit ${bit}: ${String(outcome)}`);
      }
      for (const [cid, block] of into.blocks) {
        assert.equal(cidOf(block, codecOf(cid)), cid);
      }
    }),
    { numRuns: 150 },
  );
});

test('a CAR of another root, of none, or cut short is no CAR of the session', async () => {
  const { root } = await closeSession('18', 1);
  const { file } = await carOf(root);
  const other = cidOf(new Uint8Array(1), 'dag-cbor');
  const into = memoryStore();
  const refused = { code: 'REQUEST_INVALID' };
  await assert.rejects(importCar(into, bytesOf(file), { root: other }), refused);
  await assert.rejects(importCar(into, bytesOf(Buffer.from('no car')), { root }), refused);
  await assert.rejects(importCar(into, bytesOf(new Uint8Array()), { root }), refused);
  await assert.rejects(importCar(into, bytesOf(file.subarray(0, -3)), { root }), refused);
  assert.equal(into.blocks.size > 0, true);
});

test('a CAR that brings blocks which hang on nothing is refused', async () => {
  const [mine, foreign] = [await closeSession('19', 1), await putJson(store, { foreign: true })];
  const { file } = await carOf(mine.root);
  const { file: stray } = await carOf(foreign);
  // Past the header of the second file, whose length is its first byte.
  const rest = stray.subarray((stray[0] ?? 0) + 1);
  const joined = Buffer.concat([file, rest]);
  const into = memoryStore();
  const refused = importCar(into, bytesOf(joined), { root: mine.root });
  await assert.rejects(refused, { code: 'CONTENT_MISMATCH' });
  assert.equal(into.blocks.has(foreign), false);
});

test('a manifest of which any bit is altered is an error under its own CID', async () => {
  const { root } = await closeSession('20', 1);
  const [list = ''] = (await getDocument(store, root, asSession)).tasks.map(({ cid }) => cid);
  const [task = ''] = linksOf(list, await store.get(list));
  for (const cid of [root, list, task]) {
    const whole = await store.get(cid);
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(7), async (at, bit) => {
        const altered = Uint8Array.from(whole);
        altered[at] = (altered[at] ?? 0) ^ (1 << bit);
        const liar = await lyingStore(cid, altered);
        await assert.rejects(checkManifest(liar, root), { code: 'CONTENT_MISMATCH' });
      }),
      { numRuns: 10 },
    );
  }
});

test('a forged manifest whose hashes hold is caught by what it says', async () => {
  const mine = await closeSession('21', 2);
  const theirs = await closeSession('22', 2);
  const manifest = await getDocument(store, mine.root, asSession);
  const other = await getDocument(store, theirs.root, asSession);
  const [list] = manifest.tasks;
  assert.ok(list);
  const forgeries = [
    { ...manifest, tasks: other.tasks },
    { ...manifest, tasks: [list, list], taskCount: 4 },
    { ...manifest, taskCount: 3 },
    { ...manifest, policy: { ...manifest.policy, bytes: 1 } },
    { ...manifest, tasks: [{ ...list, bytes: 1 }] },
  ];
  for (const forgery of forgeries) {
    const cid = await putDocument(store, forgery);
    await assert.rejects(checkManifest(store, cid), { code: 'CONTENT_MISMATCH' });
  }
  for (const value of [
    {},
    [],
    'text',
    null,
    { ...manifest, version: 2 },
    { ...manifest, policy: 1 },
  ]) {
    const cid = await store.put(encode(value), { codec: 'dag-cbor' });
    await assert.rejects(checkManifest(store, cid), { code: 'REQUEST_INVALID' });
  }
  const noCbor = memoryStore();
  const cid = await noCbor.put(Uint8Array.of(0xff, 0xff), { codec: 'dag-cbor' });
  await assert.rejects(checkManifest(noCbor, cid), { code: 'CONTENT_MISMATCH' });
});

const asSession = (value: unknown) => parseManifest('session', value);

async function firstTask(root: Cid) {
  const { tasks } = await getDocument(store, root, asSession);
  const list = await getDocument(store, tasks[0]?.cid ?? '', (v) => parseManifest('tasks', v));
  return await getDocument(store, list.tasks[0]?.cid ?? '', (v) => parseManifest('task', v));
}

async function carCids(file: Uint8Array): Promise<Cid[]> {
  const car = await CarBlockIterator.fromBytes(file);
  const cids: Cid[] = [];
  for await (const { cid } of car) cids.push(cid.toString());
  return cids;
}

/** The engine's own store over what is here, but for one block that was altered on the way. */
async function lyingStore(cid: Cid, altered: Uint8Array) {
  const liar = memoryStore();
  return {
    get: async (asked: Cid) => {
      if (asked !== cid) return await store.get(asked);
      liar.blocks.set(cid, altered);
      return await liar.get(asked);
    },
  };
}
