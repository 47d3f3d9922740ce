import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApplicationFailure } from '@temporalio/common';
import { createDatabaseActivities, type ExportPage } from '../../activities/database.js';
import { getJson } from '../../adapters/ipfs/block-store.js';
import { digestOf, marksOf } from '../../adapters/database/sink/columns.js';
import type { Sink } from '../../adapters/database/sink/sink.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { EngineError } from '../../domain/errors.js';
import { ARCHIVE_PAGE_TASKS, type ArchivePage } from '../../domain/archive.js';
import {
  EXPORT_START,
  type ExportCursor,
  type ExportReceipt,
  type ExportRows,
  type ExportVerification,
  type RemovalReceipt,
  type RowMark,
} from '../../domain/export.js';
import type { Cid } from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import type { SessionView } from '../../domain/session.js';
import { activityEnvironment } from './environment.js';
import { memoryStore } from './memory-store.js';

const MINER = `0x${'01'.repeat(20)}` as const;
const INPUT = { sessionId: '7', workflowId: 'session:1:7', sink: 'mine' } as const;

const START = EXPORT_START;

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
    tasks: { accepted: count + 1, open: 1, ended: count, settled: count },
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
  /** A store that keeps marks by table and key, as they come. */
  const marks = new Map<string, RowMark>();
  const stopped: string[] = [];
  const sink: Partial<Sink> = {
    prepare: async () => {},
    write: async (_, batch) => {
      rows.push(batch);
      for (const mark of marksOf(batch)) marks.set(`${mark.table} ${mark.key}`, mark);
    },
    async *readMarks() {
      const order = ['session', 'task', 'task_result', 'payload'];
      yield* [...marks.values()].sort(
        (a, b) => order.indexOf(a.table) - order.indexOf(b.table) || (a.key < b.key ? -1 : 1),
      );
    },
    remove: async () => {
      const before = await digestOf(sink.readMarks?.('7') ?? (async function* () {})());
      marks.clear();
      return { before, rows: before.rows };
    },
  };
  const activities = createDatabaseActivities({
    store,
    readJson: (cid, parse) => getJson(store, cid, parse),
    openSink: async (name) => {
      opened.push(name);
      if (name !== 'mine') throw new EngineError('CONFIG_INVALID', { sink: name });
      return sink as Sink;
    },
    openerOf: async () => async (kind) => (kind === 'result' ? 'opened' : null),
    session: {
      view: async () => view,
      tasks: async () => tasks.filter((t) => !moved.has(t)),
      archive: async () => [...archive],
    },
    saveReceipt: async (receipt) => {
      receipts.push(receipt);
    },
    forgetReceipt: async () => {
      receipts.length = 0;
    },
    exportId: (session, name) => `export:${session}:${name}`,
    stopExport: async (session, name) => {
      stopped.push(`${session} ${name}`);
    },
    marksOf,
    digestOf,
  });
  return { activities, archive, archiveNext, store, tasks, rows, receipts, marks, stopped, view };
}

type World = Awaited<ReturnType<typeof world>>;

/** Writes page after page until nothing is due; `before` runs before each. */
async function exportAll(
  { activities }: World,
  before: (call: number) => Promise<void> = async () => {},
  from: ExportCursor = START,
): Promise<ExportCursor> {
  const environment = activityEnvironment();
  for (let call = 0; call < 60; call++) {
    await before(call);
    const page = await environment.run(activities.exportPage, { ...INPUT, from });
    const { next, isMore } = page as ExportPage;
    if (!isMore) return next;
    from = next;
  }
  throw new Error('the export does not come to an end');
}

test('exportPage: writes every ended task once, a hundred a page, and leaves the open one', async () => {
  const it = await world(250);
  await exportAll(it);
  assert.deepEqual(
    it.rows.map((page) => page.task.length),
    [100, 100, 50],
  );
  const written = it.rows.flatMap((page) => page.task.map((task) => task.ordinal));
  assert.deepEqual(
    written,
    Array.from({ length: 250 }, (_, i) => i),
  );
});

test('exportPage: writes all tasks of a session of 2,500 once, while they move into its archive', async () => {
  const it = await world(2_500);
  for (let page = 0; page < 3; page++) await it.archiveNext();
  await exportAll(it, async (call) => {
    // In the middle of a page of the archive, and in the middle of what is outside it.
    if (call === 3 || call === 24) await it.archiveNext();
  });
  assert.ok(it.rows.every((page) => page.task.length <= 100));
  const written = it.rows.flatMap((page) => page.task.map((task) => task.ordinal));
  assert.equal(written.length, 2_500);
  assert.equal(new Set(written).size, 2_500);
});

test('exportPage: a last page of the archive may be short', async () => {
  const it = await world(620);
  await it.archiveNext();
  await it.archiveNext();
  await exportAll(it);
  assert.equal(it.rows.flatMap((page) => page.task).length, 620);
});

test('exportPage: a session without tasks is written as it is', async () => {
  const it = await world(0);
  await exportAll(it);
  assert.deepEqual(it.rows.map((page) => [page.session.length, page.task.length])[0], [1, 0]);
});

test('exportPage: what was written before it was settled is written once more, and then no more', async () => {
  const it = await world(3);
  const [first, second] = it.tasks as [TaskRecord, TaskRecord];
  it.tasks[0] = { ...first, state: 'Ended', settlementTx: null };
  const cursor = await exportAll(it);
  assert.deepEqual([cursor.final, cursor.provisional], [[[1, 2]], [[0, 0]]]);
  it.rows.length = 0;
  await exportAll(it, undefined, cursor);
  assert.deepEqual(
    it.rows.flatMap((page) => page.task),
    [],
  );
  it.tasks[0] = first;
  const later = await exportAll(it, undefined, cursor);
  await exportAll(it, undefined, later);
  assert.deepEqual(
    it.rows.flatMap((page) => page.task.map(({ ordinal, state }) => [ordinal, state])),
    [[0, 'Settled']],
  );
  assert.equal(second.ordinal, 1);
});

test('exportPage: says what is still to come, and when the session has ended', async () => {
  const it = await world(250);
  const run = (from: ExportCursor) =>
    activityEnvironment().run(it.activities.exportPage, { ...INPUT, from });
  const page = (await run(START)) as ExportPage;
  assert.deepEqual([page.tasks, page.lag, page.isMore, page.isEnded], [100, 150, true, true]);
});

test('exportPage: opens the payloads that the sink is to have open, and no others', async () => {
  const it = await world(1);
  await exportAll(it);
  const texts = it.rows[0]?.payload.map(({ kind, text }) => [kind, text]).sort();
  assert.deepEqual(texts, [
    ['evidence', null],
    ['keyring', null],
    ['policy', null],
    ['request', null],
    ['result', 'opened'],
  ]);
});

test('verifyExport: finds what is missing, extra and altered, by table and key', async () => {
  const it = await world(4);
  await exportAll(it);
  const verify = async () =>
    (await activityEnvironment().run(it.activities.verifyExport, INPUT)) as ExportVerification;
  const good = await verify();
  assert.deepEqual([good.faults, good.found], [{ missing: 0, extra: 0, altered: 0 }, []]);
  const taskId = it.tasks[2]?.taskId ?? '';
  const extra = { table: 'payload', key: 'bafkother', hash: 'ab'.repeat(32) } as const;
  it.marks.set('payload bafkother', extra);
  it.marks.set('session 7', { table: 'session', key: '7', hash: 'cd'.repeat(32) });
  it.marks.delete(`task ${taskId}`);
  const bad = await verify();
  assert.deepEqual(bad.faults, { missing: 1, extra: 1, altered: 1 });
  assert.deepEqual(bad.found, [
    { fault: 'altered', table: 'session', key: '7' },
    { fault: 'extra', table: 'payload', key: 'bafkother' },
    { fault: 'missing', table: 'task', key: taskId },
  ]);
});

test('verifyExport: rows that a tampered block would explain are no comparison at all', async () => {
  const it = await world(1);
  await exportAll(it);
  it.store.blocks.set(it.tasks[0]?.evidenceCid as Cid, Buffer.from('{}'));
  const running = activityEnvironment().run(it.activities.verifyExport, INPUT);
  await assert.rejects(running, (error) => {
    assert.equal((error as ApplicationFailure).type, 'CONTENT_MISMATCH');
    return true;
  });
});

test('removeExport: stops the export first, deletes, and forgets the receipt', async () => {
  const it = await world(2);
  await exportAll(it);
  await activityEnvironment().run(it.activities.sealExport, INPUT);
  const place = { sessionId: INPUT.sessionId, sink: INPUT.sink };
  const run = activityEnvironment().run(it.activities.removeExport, place);
  const removal = (await run) as RemovalReceipt;
  assert.deepEqual(it.stopped, ['7 mine']);
  assert.equal(removal.rows.task, 2);
  assert.deepEqual([it.marks.size, it.receipts.length], [0, 0]);
});

test('awaitTasks: answers at once when the session is another than it was', async () => {
  const it = await world(2);
  const ask = async (mark: string) => {
    const input = { workflowId: 'session:1:7', mark };
    return (await activityEnvironment().run(it.activities.awaitTasks, input)) as string;
  };
  const mark = await ask('');
  Object.assign(it.view, { state: 'Failed' });
  assert.notEqual(await ask(mark), mark);
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

test('sealExport: keeps a receipt of what stands in the sink', async () => {
  const it = await world(2);
  await exportAll(it);
  const run = activityEnvironment().run(it.activities.sealExport, INPUT);
  const receipt = (await run) as ExportReceipt;
  assert.deepEqual(it.receipts, [receipt]);
  assert.deepEqual(receipt.rows, { session: 1, task: 2, task_result: 2, payload: 8 });
  assert.match(receipt.digest, /^0x[0-9a-f]{64}$/);
  assert.ok(!Number.isNaN(Date.parse(receipt.writtenAt)));
});
