import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';
import {
  readExportReceipt,
  writeExportReceipt,
} from '../../../adapters/database/export-receipt.js';
import { migrate } from '../../../adapters/database/migrate.js';
import { openPool } from '../../../adapters/database/pool.js';
import { openSink, type Sink } from '../../../adapters/database/sink.js';
import type { ExportRows, TaskRow } from '../../../domain/export.js';
import { startTestPostgres, type TestPostgres } from './postgres.js';

const SESSION = '9223372036854775807';
const MAX_AMOUNT = (2n ** 256n - 1n).toString();

let postgres: TestPostgres;
let sink: Sink;
let url: string;
before(async () => {
  postgres = await startTestPostgres();
});
after(async () => {
  await sink.close();
  await postgres.stop();
});
beforeEach(async () => {
  await sink?.close();
  url = await postgres.createDatabase();
  sink = openSink(url);
  await sink.migrate();
});

function task(ordinal: number, change: Partial<TaskRow> = {}): TaskRow {
  return {
    sessionId: SESSION,
    taskId: `0x${ordinal.toString(16).padStart(64, '0')}`,
    ordinal,
    state: 'Ended',
    outcome: 'completed',
    requestCid: `request-${ordinal}`,
    evidenceCid: `evidence-${ordinal}`,
    promptTokens: 7,
    completionTokens: 9,
    chargeWei: '1000000000000000001',
    settlementTx: null,
    ...change,
  };
}

function batch(tasks: readonly TaskRow[], payloadBytes = 10): ExportRows {
  return {
    session: [
      {
        sessionId: SESSION,
        owner: '0x00000000000000000000000000000000000000AA',
        state: 'Open',
        model: 'smollm2-135m',
        level: 'sealed',
        redundancy: 2,
        policyCid: 'policy',
        keyringCid: null,
        pricePerTokenWei: '1',
        depositedWei: MAX_AMOUNT,
        chargedWei: '0',
        refundedWei: '0',
      },
    ],
    task: tasks,
    task_result: tasks.flatMap(({ taskId, ordinal }) =>
      ['0x01', '0x02'].map((miner, i) => ({
        sessionId: SESSION,
        taskId,
        miner: miner as `0x${string}`,
        resultCid: `result-${ordinal}-${i}`,
        resultHash: '0xab' as const,
        scoreBps: i === 0 ? 10_000 : null,
        isAgreed: i === 0,
        paidWei: MAX_AMOUNT,
      })),
    ),
    payload: tasks.flatMap(({ ordinal }) => [
      { cid: `request-${ordinal}`, kind: 'request' as const, bytes: bytes(ordinal, payloadBytes) },
      { cid: `result-${ordinal}-0`, kind: 'result' as const, bytes: bytes(ordinal, payloadBytes) },
    ]),
  };
}

/** Every byte value occurs, as in ciphertext. */
function bytes(seed: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7) % 256);
}

test('a batch that is written again changes nothing', async () => {
  const rows = batch([task(0), task(1)]);
  await sink.write(rows);
  const first = await sink.readDigest(SESSION);
  assert.deepEqual(first.rows, { session: 1, task: 2, task_result: 4, payload: 4 });
  await sink.write(rows);
  assert.deepEqual(await sink.readDigest(SESSION), first);
});

test('rows come back as they were written, amounts to the last wei and bytes to the last bit', async () => {
  await sink.write(batch([task(3)], 300));
  const pool = openPool(url);
  try {
    const { rows } = await pool.query(
      `select s.session_id, s.deposited_wei, t.charge_wei, t.settlement_tx, r.paid_wei, p.bytes
       from cortensor.session s join cortensor.task t using (session_id)
       join cortensor.task_result r using (task_id) join cortensor.payload p on p.cid = t.request_cid
       where r.miner = '0x01'`,
    );
    assert.deepEqual(rows, [
      {
        session_id: SESSION,
        deposited_wei: MAX_AMOUNT,
        charge_wei: '1000000000000000001',
        settlement_tx: null,
        paid_wei: MAX_AMOUNT,
        bytes: Buffer.from(bytes(3, 300)),
      },
    ]);
  } finally {
    await pool.end();
  }
});

test('a digest depends on rows and not on the order or the batches in which they were written', async () => {
  await sink.write(batch([task(0), task(1), task(2)]));
  const together = await sink.readDigest(SESSION);
  const other = openSink(await postgres.createDatabase());
  try {
    await other.migrate();
    for (const n of [2, 0, 1]) await other.write(batch([task(n)]));
    assert.deepEqual(await other.readDigest(SESSION), together);
  } finally {
    await other.close();
  }
});

test('a digest changes with any row, the bytes of a payload included', async () => {
  await sink.write(batch([task(0)]));
  const seen = new Set([(await sink.readDigest(SESSION)).digest]);
  const pool = openPool(url);
  try {
    for (const change of [
      `update cortensor.session set refunded_wei = 1`,
      `update cortensor.task set outcome = 'disputed'`,
      `update cortensor.task_result set paid_wei = paid_wei - 1 where miner = '0x02'`,
      `update cortensor.payload set bytes = bytes || '\\x00' where cid = 'request-0'`,
      `delete from cortensor.payload where cid = 'result-0-0'`,
    ]) {
      await pool.query(change);
      seen.add((await sink.readDigest(SESSION)).digest);
    }
  } finally {
    await pool.end();
  }
  assert.equal(seen.size, 6);
});

test('a later batch brings rows up to date, and the last of equal keys counts', async () => {
  await sink.write(batch([task(0)]));
  const settled = task(0, { state: 'Settled', settlementTx: '0xfeed' });
  await sink.write(batch([task(0), settled]));
  const pool = openPool(url);
  try {
    const { rows } = await pool.query(`select state, settlement_tx from cortensor.task`);
    assert.deepEqual(rows, [{ state: 'Settled', settlement_tx: '0xfeed' }]);
  } finally {
    await pool.end();
  }
});

test('a batch that breaks a constraint leaves nothing behind', async () => {
  const rows = { ...batch([task(0)]), task: [task(0), task(1, { ordinal: 0 })] };
  await assert.rejects(sink.write(rows), { code: 'DATABASE_REFUSED', message: /23505/ });
  assert.deepEqual((await sink.readDigest(SESSION)).rows, {
    session: 0,
    task: 0,
    task_result: 0,
    payload: 0,
  });
});

test('batches larger than a statement are written whole', async () => {
  const tasks = Array.from({ length: 1_100 }, (_, i) => task(i));
  await sink.write({ ...batch(tasks), payload: [] });
  const megabyte = 1024 * 1024;
  const payload = Array.from({ length: 10 }, (_, i) => {
    return { cid: `request-${i}`, kind: 'request' as const, bytes: Buffer.alloc(megabyte, i) };
  });
  await sink.write({ session: [], task: [], task_result: [], payload });
  assert.deepEqual((await sink.readDigest(SESSION)).rows, {
    session: 1,
    task: 1_100,
    task_result: 2_200,
    payload: 10,
  });
});

test('a session that was never exported has the digest of four empty tables', async () => {
  const empty = createHash('sha256').update('session\ntask\ntask_result\npayload\n').digest('hex');
  assert.equal((await sink.readDigest('1')).digest, `0x${empty}`);
});

test('a receipt is read back as it was written, and the latest one counts', async () => {
  const pool = openPool(await postgres.createDatabase());
  try {
    await migrate(pool);
    assert.equal(await readExportReceipt(pool, SESSION, 'mine'), null);
    const receipt = {
      ...(await sink.readDigest(SESSION)),
      sessionId: SESSION,
      sink: 'mine',
      writtenAt: '2026-01-02T03:04:05.678Z',
    };
    await writeExportReceipt(pool, receipt);
    const later = { ...receipt, writtenAt: '2026-01-03T00:00:00.000Z' };
    await writeExportReceipt(pool, later);
    assert.deepEqual(await readExportReceipt(pool, SESSION, 'mine'), later);
  } finally {
    await pool.end();
  }
});
