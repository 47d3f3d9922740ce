/** What every kind of database holds to as a sink, on a real PostgreSQL and a real MariaDB. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import mysql from 'mysql2/promise';
import { openPool } from '../../../../adapters/database/pool.js';
import { digestOf, marksOf } from '../../../../adapters/database/sink/columns.js';
import { openMysqlSink } from '../../../../adapters/database/sink/mysql.js';
import { openPostgresSink } from '../../../../adapters/database/sink/postgres.js';
import type { Sink, SinkAccess } from '../../../../adapters/database/sink/sink.js';
import type { ExportDigest, ExportRows } from '../../../../domain/export.js';
import { startMariadb, type Running } from '../../../../servers/start/index.js';
import { startTestPostgres, type TestPostgres } from '../postgres.js';
import { batch, bytes, MAX_AMOUNT, SESSION, task } from './rows.js';

const ACCESS = { schema: 'cortensor', tls: false, ca: null, allowPrivate: true } as const;
const OTHER = '12';
const NONE = { session: 0, task: 0, task_result: 0, payload: 0 };

let postgres: TestPostgres;
let mariadb: Running & { readonly url: string };
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cortensor-test-mariadb-'));
  [postgres, mariadb] = await Promise.all([startTestPostgres(), startMariadb({ data: folder })]);
});
after(async () => {
  await Promise.all([postgres.stop(), mariadb.stop()]);
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

/** Runs one statement as the database's user would. */
type Query = (sql: string) => Promise<readonly Record<string, unknown>[]>;

interface Kind {
  readonly name: string;
  open(access: SinkAccess): Sink;
  /** A database of its own for each test. */
  fresh(): Promise<SinkAccess>;
  query(access: SinkAccess): Query;
}

let databases = 0;
const kinds: readonly Kind[] = [
  {
    name: 'postgresql',
    open: openPostgresSink,
    fresh: async () => ({ ...ACCESS, url: await postgres.createDatabase() }),
    query: (access) => async (sql) => {
      const pool = openPool(access.url);
      try {
        return (await pool.query(sql)).rows as Record<string, unknown>[];
      } finally {
        await pool.end();
      }
    },
  },
  {
    name: 'mysql',
    open: openMysqlSink,
    fresh: async () => ({ ...ACCESS, url: mariadb.url, schema: `cortensor_${databases++}` }),
    query: (access) => async (sql) => {
      const { hostname, port } = new URL(access.url);
      const on = { host: hostname, port: Number(port), user: 'root', database: access.schema };
      const connection = await mysql.createConnection({ ...on, supportBigNumbers: true });
      try {
        const [rows] = await connection.query(sql);
        return rows as Record<string, unknown>[];
      } finally {
        await connection.end();
      }
    },
  },
];

const digest = (sink: Sink, session = SESSION): Promise<ExportDigest> =>
  digestOf(sink.readMarks(session));
const of = (session: string, ...ordinals: number[]): ExportRows =>
  batch(ordinals.map((n) => task(n, { sessionId: session, taskId: `0x${session}${n}` })));

for (const kind of kinds) {
  describe(kind.name, () => {
    let access: SinkAccess;
    let sink: Sink;
    let query: Query;
    beforeEach(async () => {
      await sink?.close();
      access = await kind.fresh();
      sink = kind.open(access);
      query = kind.query(access);
      await sink.prepare();
    });
    after(() => sink.close());
    const named = (table: string) => `${access.schema}.${table}`;

    test(`${kind.name}: a batch that is written again changes nothing`, async () => {
      const rows = batch([task(0), task(1)]);
      await sink.write(SESSION, rows);
      const first = await digest(sink);
      assert.deepEqual(first.rows, { session: 1, task: 2, task_result: 4, payload: 4 });
      await sink.write(SESSION, rows);
      assert.deepEqual(await digest(sink), first);
    });

    test(`${kind.name}: what stands there has the marks of the rows that were written`, async () => {
      const rows = batch([task(0), task(1, { outcome: null, promptTokens: null })], 300);
      await sink.write(SESSION, rows);
      const found = [];
      for await (const mark of sink.readMarks(SESSION)) found.push(mark);
      const key = (mark: { table: string; key: string }) => `${mark.table} ${mark.key}`;
      const sorted = <T extends { table: string; key: string }>(marks: readonly T[]) =>
        marks.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
      assert.deepEqual(sorted(found), sorted(marksOf(rows)));
    });

    test(`${kind.name}: rows are as they were, amounts to the last wei and bytes to the last bit`, async () => {
      await sink.write(SESSION, batch([task(3)], 300));
      const rows = await query(
        `select cast(s.session_id as char(19)) as session_id, s.model,
           cast(s.deposited_wei as char(78)) as deposited, t.settlement_tx, p.bytes, p.text
         from ${named('session')} s join ${named('task')} t on t.session_id = s.session_id
         join ${named('payload')} p on p.cid = 'result-3-0'`,
      );
      assert.deepEqual(
        rows.map((row) => ({ ...row })),
        [
          {
            session_id: SESSION,
            model: "o'reilly\\ 模型",
            deposited: MAX_AMOUNT,
            settlement_tx: null,
            bytes: Buffer.from(bytes(3, 300)),
            text: '{"text":"naïve 🙂 3"}',
          },
        ],
      );
    });

    test(`${kind.name}: a digest does not depend on the order or the batches of writing`, async () => {
      await sink.write(SESSION, batch([task(0), task(1), task(2)]));
      const together = await digest(sink);
      const other = kind.open(await kind.fresh());
      try {
        await other.prepare();
        for (const n of [2, 0, 1]) await other.write(SESSION, batch([task(n)]));
        assert.deepEqual(await digest(other), together);
      } finally {
        await other.close();
      }
    });

    test(`${kind.name}: a digest changes with any row, and with the bytes and text of payloads`, async () => {
      await sink.write(SESSION, batch([task(0)]));
      const seen = new Set([(await digest(sink)).digest]);
      for (const change of [
        `update ${named('session')} set refunded_wei = 1`,
        `update ${named('task')} set outcome = 'disputed'`,
        `update ${named('task_result')} set paid_wei = 1 where miner = '0x02'`,
        `update ${named('payload')} set bytes = '' where cid = 'request-0'`,
        `update ${named('payload')} set text = 'other' where cid = 'result-0-0'`,
        `delete from ${named('payload')} where cid = 'result-0-0'`,
      ]) {
        await query(change);
        seen.add((await digest(sink)).digest);
      }
      assert.equal(seen.size, 7);
    });

    test(`${kind.name}: a later batch brings rows up to date, and the last of equal keys counts`, async () => {
      await sink.write(SESSION, batch([task(0)]));
      const settled = task(0, { state: 'Settled', settlementTx: '0xfeed' });
      await sink.write(SESSION, batch([task(0), settled]));
      const rows = await query(`select state, settlement_tx from ${named('task')}`);
      assert.deepEqual({ ...rows[0] }, { state: 'Settled', settlement_tx: '0xfeed' });
    });

    test(`${kind.name}: a batch that breaks a constraint leaves nothing behind`, async () => {
      const orphan = { ...batch([task(0)]), task: [task(0, { sessionId: OTHER })] };
      await assert.rejects(sink.write(SESSION, orphan), { code: 'EXPORT_REFUSED' });
      assert.deepEqual((await digest(sink)).rows, NONE);
    });

    test(`${kind.name}: batches larger than a statement are written whole`, async () => {
      const tasks = Array.from({ length: 1_100 }, (_, i) => task(i));
      await sink.write(SESSION, { ...batch(tasks), payload: [] });
      const payload = Array.from({ length: 10 }, (_, i) => {
        const block = Buffer.alloc(1024 * 1024, i);
        return { cid: `request-${i}`, kind: 'request' as const, bytes: block, text: null };
      });
      await sink.write(SESSION, { session: [], task: [], task_result: [], payload });
      const { rows } = await digest(sink);
      assert.deepEqual(rows, { session: 1, task: 1_100, task_result: 2_200, payload: 10 });
    });

    test(`${kind.name}: a removal takes a session's rows and leaves what others refer to`, async () => {
      await sink.write(SESSION, of(SESSION, 0, 1));
      await sink.write(OTHER, of(OTHER, 1, 2));
      const before = await digest(sink);
      const removed = await sink.remove(SESSION);
      assert.deepEqual(removed, {
        before,
        rows: { session: 1, task: 2, task_result: 4, payload: 2 },
      });
      assert.deepEqual((await digest(sink)).rows, NONE);
      assert.deepEqual((await digest(sink, OTHER)).rows, {
        session: 1,
        task: 2,
        task_result: 4,
        payload: 4,
      });
      assert.deepEqual((await sink.remove(SESSION)).rows, NONE);
    });

    test(`${kind.name}: a removal and a batch that shares its payloads do not lose one`, async () => {
      await sink.write(SESSION, of(SESSION, ...Array.from({ length: 50 }, (_, i) => i)));
      const shared = Array.from({ length: 50 }, (_, i) => i);
      await Promise.all([sink.write(OTHER, of(OTHER, ...shared)), sink.remove(SESSION)]);
      const { rows } = await digest(sink, OTHER);
      assert.deepEqual(rows, { session: 1, task: 50, task_result: 100, payload: 100 });
    });

    test(`${kind.name}: two exporters may prepare the same database at once`, async () => {
      const fresh = await kind.fresh();
      const two = [kind.open(fresh), kind.open(fresh)];
      try {
        await Promise.all(two.map((one) => one.prepare()));
        await two[0]?.write(SESSION, batch([task(0)]));
      } finally {
        await Promise.all(two.map((one) => one.close()));
      }
    });

    test(`${kind.name}: wrong credentials are said as such, and nothing of them`, async () => {
      const url = new URL(access.url);
      url.username = 'nobody';
      url.password = 'hunter2-canary';
      const wrong = kind.open({ ...access, url: url.href });
      try {
        await assert.rejects(wrong.prepare(), (error: Error & { code?: string }) => {
          assert.equal(error.code, 'SINK_CREDENTIALS');
          assert.doesNotMatch(error.message, /hunter2|nobody/);
          return true;
        });
      } finally {
        await wrong.close();
      }
    });

    test(`${kind.name}: a closed port is a sink that is away, not one that refuses`, async () => {
      const url = new URL(access.url);
      url.port = '9';
      const away = kind.open({ ...access, url: url.href });
      try {
        await assert.rejects(away.prepare(), { code: 'SINK_UNREACHABLE' });
      } finally {
        await away.close();
      }
    });

    test(`${kind.name}: this machine is not connected to unless the sink allows it`, async () => {
      for (const hostname of ['127.0.0.1', 'localhost', '[::1]', '[::ffff:7f00:1]']) {
        const url = new URL(access.url);
        url.hostname = hostname;
        const closed = kind.open({ ...access, url: url.href, allowPrivate: false });
        try {
          await assert.rejects(closed.prepare(), { code: 'ADDRESS_REFUSED' }, hostname);
        } finally {
          await closed.close();
        }
      }
    });

    test(`${kind.name}: a server without a certificate that is trusted gets no password`, async () => {
      const url = new URL(access.url);
      url.hostname = 'localhost';
      const strict = kind.open({ ...access, url: url.href, tls: true });
      try {
        const untrusted = { code: 'SINK_UNTRUSTED', details: { reason: 'not-encrypted' } };
        await assert.rejects(strict.prepare(), untrusted);
      } finally {
        await strict.close();
      }
    });
  });
}

test('both kinds have one digest for the same rows, so that receipts compare', async () => {
  const rows = batch([task(0), task(1, { settlementTx: '0xfeed' })], 500);
  const digests = [];
  for (const kind of kinds) {
    const sink = kind.open(await kind.fresh());
    try {
      await sink.prepare();
      await sink.write(SESSION, rows);
      digests.push(await digest(sink));
    } finally {
      await sink.close();
    }
  }
  assert.deepEqual(digests[0], digests[1]);
});

test('a session that was never exported has the digest of four empty tables', async () => {
  const empty = createHash('sha256').update('session\ntask\ntask_result\npayload\n').digest('hex');
  for (const kind of kinds) {
    const sink = kind.open(await kind.fresh());
    try {
      await sink.prepare();
      assert.deepEqual(await digest(sink, '1'), { rows: NONE, digest: `0x${empty}` });
    } finally {
      await sink.close();
    }
  }
});

test('postgresql: two tasks under one ordinal are refused', async () => {
  const [kind] = kinds;
  const sink = openPostgresSink((await kind?.fresh()) as SinkAccess);
  try {
    await sink.prepare();
    const rows = batch([task(0), task(1, { ordinal: 0 })]);
    await assert.rejects(sink.write(SESSION, rows), { code: 'EXPORT_REFUSED', message: /23505/ });
  } finally {
    await sink.close();
  }
});

test('the schema has the name that the sink gives it', async () => {
  for (const kind of kinds) {
    const access = { ...(await kind.fresh()), schema: `mine_${databases++}` };
    const sink = kind.open(access);
    try {
      await sink.prepare();
      await sink.write(SESSION, batch([task(0)]));
      const [row] = await kind.query(access)(`select count(*) as n from ${access.schema}.task`);
      assert.equal(Number(row?.['n']), 1);
    } finally {
      await sink.close();
    }
  }
});
