import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApplicationFailure } from '@temporalio/common';
import { createDatabaseActivities } from '../../activities/database.js';
import { getJson } from '../../adapters/ipfs/block-store.js';
import type { Sink } from '../../adapters/database/sink.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { EngineError } from '../../domain/errors.js';
import { ARCHIVE_PAGE_TASKS, type ArchivePage } from '../../domain/archive.js';
import type { ExportCursor, ExportReceipt, ExportRows } from '../../domain/export.js';
import type { Cid } from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import type { SessionView } from '../../domain/session.js';
import { activityEnvironment } from './environment.js';
import { memoryStore } from './memory-store.js';

const MINER = `0x${'01'.repeat(20)}` as const;
const INPUT = { sessionId: '7', workflowId: 'session:1:7', sink: 'mine' } as const;

const START: ExportCursor = { archived: 0, ordinal: 0 };

/** A session with this many ended tasks, and one that is open. */
async function world(count: number) {
  const store = memoryStore();
  const text = (value: string) => store.put(Buffer.from(value));
  const policyCid = await text('policy');
  const keyringCid = await text('keyring');
  const tasks: TaskRecord[] = [];
  for (let ordinal = 0; ordinal <= count; ordinal++) {
    const taskId = `0x${ordinal.toString(16).padStart(64, '0')}` as const;
    const resultCid = await text(`result ${ordinal}`);
    const evidence = {
      sessionId: '7',
      commitments: [{ miner: MINER, resultCid, resultHash: '0x0a' }],
      verdict: { scores: [{ miner: MINER.toUpperCase(), scoreBps: 9_000, isAgreed: true }] },
    };
    tasks.push({
      taskId,
      ordinal,
      state: ordinal === count ? 'Queued' : 'Settled',
      outcome: ordinal === count ? null : 'completed',
      requestCid: await text(`request ${ordinal}`),
      evidenceCid: await store.put(encodeJson(evidence)),
      usage: { promptTokens: 10, completionTokens: 20 },
      chargeWei: '945',
      payments: [{ miner: MINER, amountWei: '900' }],
      settlementTx: '0x0c',
      resultCid,
      batchCid: null,
    });
  }
  const view = {
    sessionId: '7',
    owner: MINER,
    state: 'Closed',
    policy: { model: 'm', level: 'link', redundancy: 1 },
    policyCid,
    keyring: { recipient: 'age1session', cid: keyringCid },
    pricePerTokenWei: '10',
    budget: { depositedWei: '1000', reservedWei: '0', chargedWei: '945', refundedWei: '55' },
  } as unknown as SessionView;

  /** Moves the oldest tasks into the archive, as the session's workflow does. */
  const archive: Cid[] = [];
  const moved = new Set<TaskRecord>();
  const archiveNext = async (size = ARCHIVE_PAGE_TASKS): Promise<void> => {
    const records = tasks.filter((t) => !moved.has(t) && t.outcome !== null).slice(0, size);
    const page: ArchivePage = {
      version: 1,
      sessionId: '7',
      previous: archive.at(-1) ?? null,
      records,
    };
    archive.push(await store.put(encodeJson(page)));
    for (const record of records) moved.add(record);
  };

  const rows: ExportRows[] = [];
  const receipts: ExportReceipt[] = [];
  const opened: string[] = [];
  const sink: Partial<Sink> = {
    migrate: async () => {},
    write: async (batch) => {
      rows.push(batch);
    },
    readDigest: async () => ({
      rows: { session: 1, task: count, task_result: count, payload: 2 + 3 * count },
      digest: '0x0d',
    }),
  };
  const activities = createDatabaseActivities({
    store,
    readJson: (cid, parse) => getJson(store, cid, parse),
    openSink: async (name) => {
      opened.push(name);
      if (name !== 'mine') throw new EngineError('CONFIG_INVALID', { sink: name });
      return sink as Sink;
    },
    readSession: async () => ({ view, tasks: tasks.filter((t) => !moved.has(t)), archive }),
    saveReceipt: async (receipt) => {
      receipts.push(receipt);
    },
  });
  return { activities, archiveNext, store, tasks, rows, receipts };
}

test('exportPage: writes every ended task once, a hundred a page, and leaves the open one', async () => {
  const { activities, rows } = await world(250);
  const environment = activityEnvironment();
  const starts: number[] = [];
  let from: ExportCursor | null = START;
  while (from !== null) {
    starts.push(from.ordinal);
    from = await environment.run(activities.exportPage, { ...INPUT, from });
  }
  assert.deepEqual(starts, [0, 100, 200]);
  const written = rows.flatMap((page) => page.task.map((task) => task.ordinal));
  assert.deepEqual(
    written,
    Array.from({ length: 250 }, (_, i) => i),
  );
});

test('exportPage: writes all tasks of a session of 2,500, while they move into its archive', async () => {
  const { activities, archiveNext, rows } = await world(2_500);
  for (let page = 0; page < 3; page++) await archiveNext();
  const environment = activityEnvironment();
  let from: ExportCursor | null = START;
  for (let call = 0; from !== null; call++) {
    assert.ok(call < 60, 'the export comes to an end');
    // In the middle of a page of the archive, and in the middle of what is outside it.
    if (call === 3 || call === 24) await archiveNext();
    from = await environment.run(activities.exportPage, { ...INPUT, from });
    assert.ok((rows.at(-1)?.task.length ?? 0) <= 100);
  }
  const written = new Set(rows.flatMap((page) => page.task.map((task) => task.ordinal)));
  assert.equal(written.size, 2_500);
});

test('exportPage: a last page of the archive may be short', async () => {
  const { activities, archiveNext, rows } = await world(620);
  await archiveNext();
  await archiveNext();
  const environment = activityEnvironment();
  let from: ExportCursor | null = START;
  while (from !== null) from = await environment.run(activities.exportPage, { ...INPUT, from });
  assert.equal(rows.flatMap((page) => page.task).length, 620);
});

test('exportPage: a session without tasks is written as it is', async () => {
  const { activities, rows } = await world(0);
  const next = await activityEnvironment().run(activities.exportPage, {
    ...INPUT,
    from: START,
  });
  assert.equal(next, null);
  assert.deepEqual(rows.map((page) => [page.session.length, page.task.length])[0], [1, 0]);
});

test('exportPage: brings every block along, each under the CID of its bytes', async () => {
  const { activities, rows } = await world(1);
  await activityEnvironment().run(activities.exportPage, { ...INPUT, from: START });
  const [page] = rows;
  assert.deepEqual(page?.payload.map((payload) => payload.kind).sort(), [
    'evidence',
    'keyring',
    'policy',
    'request',
    'result',
  ]);
  const { scoreBps, isAgreed, paidWei } = page?.task_result[0] ?? {};
  assert.deepEqual([scoreBps, isAgreed, paidWei], [9_000, true, '900']);
});

test('exportPage: writes nothing of a page whose block was tampered with', async () => {
  const { activities, rows, store, tasks } = await world(1);
  const cid = tasks[0]?.requestCid as Cid;
  store.blocks.set(cid, Buffer.from('another request'));
  const running = activityEnvironment().run(activities.exportPage, { ...INPUT, from: START });
  await assert.rejects(running, (error) => {
    assert.ok(error instanceof ApplicationFailure);
    assert.deepEqual([error.type, error.nonRetryable], ['CONTENT_MISMATCH', true]);
    return true;
  });
  assert.deepEqual(rows, []);
});

test('exportPage: waits for a block that IPFS does not have yet', async () => {
  const { activities, store, tasks } = await world(1);
  store.blocks.delete(tasks[0]?.evidenceCid as Cid);
  const running = activityEnvironment().run(activities.exportPage, { ...INPUT, from: START });
  await assert.rejects(running, (error) => {
    assert.ok(error instanceof ApplicationFailure);
    assert.deepEqual([error.type, error.nonRetryable], ['CONTENT_MISSING', false]);
    return true;
  });
});

test('prepareSink: a sink that is not configured is a fault of the caller, for good', async () => {
  const { activities } = await world(0);
  await assert.rejects(activities.prepareSink({ sink: 'other' }), (error) => {
    assert.ok(error instanceof ApplicationFailure);
    assert.deepEqual([error.type, error.nonRetryable], ['CONFIG_INVALID', true]);
    return true;
  });
});

test('sealExport: keeps a receipt of what stands in the database', async () => {
  const { activities, receipts } = await world(2);
  const receipt = await activities.sealExport({ sessionId: '7', sink: 'mine' });
  assert.deepEqual(receipts, [receipt]);
  assert.equal(receipt.rows.payload, 8);
  assert.equal(receipt.digest, '0x0d');
  assert.ok(!Number.isNaN(Date.parse(receipt.writtenAt)));
});
