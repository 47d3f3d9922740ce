/** What a source reads of every kind of database, on a real PostgreSQL and a real MariaDB. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import mysql from 'mysql2/promise';
import { openPool, query } from '../../../../adapters/database/pool.js';
import {
  openUserDatabase,
  type UserDatabase,
} from '../../../../adapters/database/user/database.js';
import { readTable, readVectors } from '../../../../adapters/database/user/table.js';
import { startMariadb, startPostgres } from '../../../../servers/start/index.js';

const LIMITS = { rows: 100, bytes: 10_000, statementMs: 5_000 };
const ACCESS = { tls: false, ca: null, allowPrivate: true } as const;
const OPTIONS = { maxConnections: 2, statementTimeoutMs: 30_000 };

const folders: string[] = [];
async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'cortensor-test-table-'));
  folders.push(made);
  return made;
}
interface Server {
  /** Of an account that owns its tables: it may write. */
  readonly url: string;
  /** Of an account that reaches the server's files. */
  readonly powerfulUrl: string;
  run(sql: string): Promise<unknown>;
  stop(): Promise<void>;
}

interface Kind {
  readonly name: string;
  start(): Promise<Server>;
  /** Statements that make a function which writes, and one that does not. */
  readonly functions: readonly string[];
  /** Queries that are refused, beside those that every kind refuses. */
  readonly refused: readonly string[];
  readonly sleep: string;
  /** A thousand rows, from 1. */
  readonly thousand: string;
}

const kinds: readonly Kind[] = [
  {
    name: 'postgresql',
    async start() {
      const data = await folder();
      const server = await startPostgres({ data });
      const pool = openPool(server.userUrl);
      const password = (await readFile(join(data, 'keys', 'postgres-admin'), 'utf8')).trim();
      const powerful = Object.assign(new URL(server.userUrl), { username: 'postgres', password });
      return {
        url: server.userUrl,
        powerfulUrl: powerful.href,
        run: (sql) => query(pool, sql),
        async stop() {
          await pool.end();
          await server.stop();
        },
      };
    },
    functions: [
      `create function spoil() returns int language sql volatile as
         $$ delete from product; select 1 $$`,
      `create function twice(n int) returns int language sql as $$ select 2 * n $$`,
    ],
    refused: [
      'with gone as (delete from product returning *) select * from gone',
      `select set_config('transaction_read_only', 'off', true), nextval('counter')`,
      `select lo_create(0)`,
      `select pg_read_file('/etc/passwd')`,
      "copy product to program 'id'",
      'select * from product for update',
    ],
    sleep: 'select pg_sleep(30)',
    thousand: 'select generate_series(1, 1000)',
  },
  {
    name: 'mysql',
    async start() {
      const server = await startMariadb({ data: await folder() });
      const { hostname, port } = new URL(server.url);
      const root = await mysql.createConnection({
        host: hostname,
        port: Number(port),
        user: 'root',
      });
      await root.query('create database shop character set utf8mb4');
      await root.query(`create user reader@'%' identified by 'secret'`);
      await root.query(`grant all on shop.* to reader@'%'`);
      await root.query('use shop');
      return {
        url: `mysql://reader:secret@${hostname}:${port}/shop`,
        powerfulUrl: `${server.url}/shop`,
        run: (sql) => root.query(sql),
        async stop() {
          await root.end();
          await server.stop();
        },
      };
    },
    functions: [
      `create function spoil() returns int modifies sql data begin delete from product; return 1; end`,
      `create function twice(n int) returns int deterministic return 2 * n`,
    ],
    refused: [
      'with gone as (select 1) delete from product',
      'select nextval(counter)',
      'call wipe()',
      'commit',
      'set session transaction read write',
      'set @@session.max_statement_time = 0',
      `select 1 into outfile '/tmp/cortensor-test-outfile'`,
      `select 1 into outfile '/tmp/cortensor-test-outfile' -- `,
      `load data infile '/etc/passwd' into table product`,
      'lock tables product write',
      'handler product open',
      'select 1 /*',
      'select 1; delete from product -- ',
    ],
    sleep: 'select sleep(30)',
    thousand: 'select seq from seq_1_to_1000',
  },
];

const servers: Server[] = [];
before(async () => {
  servers.push(...(await Promise.all(kinds.map((kind) => kind.start()))));
});
after(async () => {
  for (const server of servers) await server.stop();
  for (const made of folders) await rm(made, { recursive: true, force: true, maxRetries: 10 });
});

const tableOf = (text: string, title?: string) =>
  ({ kind: 'table', database: 'x', query: text, ...(title ? { title } : {}) }) as const;
const REFUSED = { code: 'SOURCE_INVALID' };

for (const [i, kind] of kinds.entries()) {
  describe(kind.name, () => {
    let server: Server;
    let database: UserDatabase;
    before(async () => {
      server = servers[i] as Server;
      database = openUserDatabase({ ...ACCESS, url: server.url }, OPTIONS);
      await server.run(
        'create table product (name varchar(100), price decimal(6, 1), made date, note text)',
      );
      await server.run(
        `insert into product values ('Chair', 49.5, null, null), ('Desk', 120, '2026-02-28', 'oak, 橡木 🙂')`,
      );
      await server.run('create sequence counter');
      for (const sql of kind.functions) await server.run(sql);
      if (kind.name === 'mysql') {
        await server.run('create procedure wipe() begin delete from product; commit; end');
      }
    });
    after(() => database.close());

    const read = (text: string, title?: string, limits = LIMITS) =>
      readTable(database, tableOf(text, title), limits);

    test(`${kind.name}: a query reads as its owner wrote it, a row as text, in the query's order`, async () => {
      const [desk, chair] = await read('select * from product order by name desc', 'name');
      assert.deepEqual(chair, { title: 'Chair', text: 'price: 49.5' });
      assert.equal(desk?.title, 'Desk');
      assert.match(desk?.text ?? '', /^price: 120\.0\nmade: 2026-02-2\S*\nnote: oak, 橡木 🙂$/);
      // A comment at its end is the query's own matter.
      assert.deepEqual(await read('select twice(21) as n from product where price < 50 -- ok'), [
        { title: 'row 1', text: 'n: 42' },
      ]);
      assert.deepEqual(await read('select * from product where 1 = 0'), []);
    });

    test(`${kind.name}: more readers than connections wait for each other`, async () => {
      const all = await Promise.all(Array.from({ length: 7 }, () => read('select 1 as a')));
      assert.equal(all.flat().length, 7);
    });

    test(`${kind.name}: nothing but one select that reads gets through, and nothing is changed by the rest`, async () => {
      for (const text of [
        'delete from product',
        'insert into product (name) values (1)',
        `update product set name = 'x'`,
        'drop table product',
        'truncate product',
        'create table x (a int)',
        'select 1; drop table product',
        'select 1) as a; drop table product; -- ',
        'select 1) to stdout; --',
        'select * from nowhere',
        '',
        ...kind.refused,
      ]) {
        await assert.rejects(read(text), REFUSED, text);
      }
      assert.equal((await read('select * from product')).length, 2);
    });

    test(`${kind.name}: a function that writes is stopped by the server itself`, async () => {
      // The account may: it owns the table.
      await assert.rejects(read('select spoil()'), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'SOURCE_INVALID');
        // Of a read-only transaction.
        assert.match(error.message, /25006|1792/);
        return true;
      });
      assert.equal((await read('select * from product')).length, 2);
    });

    test(`${kind.name}: time, rows and bytes have limits`, async () => {
      const short = { ...LIMITS, statementMs: 300 };
      await assert.rejects(read(kind.sleep, undefined, short), { ...REFUSED, message: /within/ });
      await assert.rejects(read(kind.thousand), { ...REFUSED, message: /at most 100 rows/ });
      assert.equal(
        (await read(kind.thousand, undefined, { ...LIMITS, rows: 1_000 })).length,
        1_000,
      );
      await assert.rejects(read(`select repeat('é', 5001)`), { message: /at most 10000 bytes/ });
      assert.equal((await read(`select repeat('é', 5000) as e`)).length, 1);
    });

    test(`${kind.name}: a title is a column of the query`, async () => {
      await assert.rejects(read('select 1 as a', 'b'), { ...REFUSED, message: /title/ });
    });

    test(`${kind.name}: an account that reaches the server's files is not used`, async () => {
      const powerful = openUserDatabase({ ...ACCESS, url: server.powerfulUrl }, OPTIONS);
      try {
        const reading = readTable(powerful, tableOf('select 1 as a'), LIMITS);
        await assert.rejects(reading, { ...REFUSED, message: /superuser/ });
      } finally {
        await powerful.close();
      }
    });

    test(`${kind.name}: wrong credentials, a closed port and a closed address are told apart`, async () => {
      const at = (change: Partial<URL>) => Object.assign(new URL(server.url), change).href;
      for (const [url, allowPrivate, code] of [
        [at({ password: 'hunter2-canary' }), true, 'SOURCE_INVALID'],
        [at({ username: 'nobody' }), true, 'SOURCE_INVALID'],
        [at({ port: '9' }), true, 'DATABASE_UNREACHABLE'],
        [server.url, false, 'ADDRESS_REFUSED'],
        [at({ hostname: 'localhost' }), false, 'ADDRESS_REFUSED'],
        [at({ hostname: '[::ffff:7f00:1]' }), false, 'ADDRESS_REFUSED'],
      ] as const) {
        const other = openUserDatabase({ ...ACCESS, url, allowPrivate }, OPTIONS);
        try {
          const reading = readTable(other, tableOf('select 1 as a'), LIMITS);
          await assert.rejects(reading, (error: Error & { code?: string }) => {
            assert.equal(error.code, code, url);
            assert.doesNotMatch(error.message, /hunter2|nobody|secret/);
            return true;
          });
        } finally {
          await other.close();
        }
      }
    });

    test(`${kind.name}: a server that falls silent in the middle is away`, async () => {
      const target = new URL(server.url);
      const sockets: Socket[] = [];
      let isSilent = false;
      const proxy = createServer((socket) => {
        const upstream = connect(Number(target.port), target.hostname);
        sockets.push(socket, upstream);
        socket.on('data', (data) => {
          isSilent ||= data.includes('fall silent');
          if (!isSilent) upstream.write(data);
        });
        upstream.on('data', (data) => void socket.write(data));
        for (const end of [socket, upstream]) end.on('error', () => undefined);
      });
      await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
      const { port } = proxy.address() as AddressInfo;
      const url = Object.assign(new URL(server.url), { port: String(port) }).href;
      const hung = openUserDatabase({ ...ACCESS, url }, { ...OPTIONS, statementTimeoutMs: 100 });
      try {
        const reading = readTable(hung, tableOf(`select 'fall silent' as a`), {
          ...LIMITS,
          statementMs: 100,
        });
        await assert.rejects(reading, { code: 'DATABASE_UNREACHABLE' });
        assert.ok(isSilent);
      } finally {
        for (const socket of sockets) socket.destroy();
        proxy.close();
        await hung.close();
      }
    });

    test(`${kind.name}: a server that does not encrypt gets no password where that is wanted`, async () => {
      const url = Object.assign(new URL(server.url), { hostname: 'localhost' }).href;
      const strict = openUserDatabase({ ...ACCESS, url, tls: true }, OPTIONS);
      try {
        const reading = readTable(strict, tableOf('select 1 as a'), LIMITS);
        const untrusted = { code: 'DATABASE_UNTRUSTED', details: { reason: 'not-encrypted' } };
        await assert.rejects(reading, untrusted);
      } finally {
        await strict.close();
      }
    });

    test(`${kind.name}: whatever a query says, the table stays as it was`, async () => {
      const piece = fc.constantFrom(
        ...['select', 'delete from', 'product', '*', 'from', '(', ')', ';', '--', '/*', '*/', '#'],
        ...['union', 'into', 'with', 'as', 'x', '1', ',', "'", '"', '`', '\n', 'commit', 'drop'],
        ...['table', 'spoil()', 'where', 'values', 'for update', 'end', 'begin', 'set', '\\'],
      );
      const text = fc.array(piece, { minLength: 1, maxLength: 12 }).map((parts) => parts.join(' '));
      await fc.assert(
        fc.asyncProperty(text, async (sql) => {
          await read(sql).catch((error: Error & { code?: string }) => {
            assert.equal(error.code, 'SOURCE_INVALID', `${sql}: ${error.message}`);
          });
        }),
        { numRuns: 150 },
      );
      assert.equal((await read('select * from product')).length, 2);
    });

    if (kind.name === 'mysql') {
      test('mysql: numbers, bytes and times are as the server writes them', async () => {
        const sql = `select 9223372036854775807 as big, cast('1.10' as decimal(5, 2)) as exact,
          x'00ff' as bytes, timestamp('2026-02-28 23:59:59') as at, json_object('a', 1) as doc`;
        assert.deepEqual(await read(sql), [
          {
            title: 'row 1',
            text: 'big: 9223372036854775807\nexact: 1.10\nbytes: (2 bytes)\nat: 2026-02-28 23:59:59\ndoc: {"a": 1}',
          },
        ]);
      });

      test('mysql: vectors are read of PostgreSQL only', async () => {
        const columns = { id: 'id', text: 'body', vector: 'v' };
        const spec = { kind: 'vectors', database: 'x', table: 't', columns, metric: 'l2' } as const;
        await assert.rejects(readVectors(database, spec, 3, LIMITS), {
          ...REFUSED,
          message: /PostgreSQL/,
        });
      });
    }
  });
}
