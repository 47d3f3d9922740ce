import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { migrate, sinkSchema } from '../../../adapters/database/migrate.js';
import { openPool } from '../../../adapters/database/pool.js';
import { startTestPostgres, type TestPostgres } from './postgres.js';

let postgres: TestPostgres;
before(async () => {
  postgres = await startTestPostgres();
});
after(async () => {
  await postgres.stop();
});

async function withPool(
  run: (pool: ReturnType<typeof openPool>, url: string) => Promise<void>,
): Promise<void> {
  const url = await postgres.createDatabase();
  const pool = openPool(url);
  try {
    await run(pool, url);
  } finally {
    await pool.end();
  }
}

test('a migration is applied once, in order', async () => {
  await withPool(async (pool) => {
    const applied = await migrate(pool);
    assert.ok(applied >= 2);
    assert.equal(await migrate(pool), 0);
    const { rows } = await pool.query<{ number: number }>(
      `select number from engine.migration order by number`,
    );
    assert.deepEqual(
      rows.map((row) => row.number),
      Array.from({ length: applied }, (_, i) => i + 1),
    );
  });
});

test('the schemas of engine and sink live side by side in one database', async () => {
  await withPool(async (pool) => {
    await migrate(pool);
    await migrate(pool, sinkSchema('cortensor'));
    const { rows } = await pool.query(
      `select table_schema || '.' || table_name as name from information_schema.tables
       where table_schema in ('engine', 'cortensor') order by 1`,
    );
    assert.deepEqual(
      rows.map((row: { name: string }) => row.name),
      [
        'cortensor.migration',
        'cortensor.payload',
        'cortensor.session',
        'cortensor.task',
        'cortensor.task_result',
        'engine.api_key_task',
        'engine.export_delivery',
        'engine.export_receipt',
        'engine.migration',
        'engine.pin',
        'engine.sign_in_nonce',
        'engine.tx_attempt',
        'engine.tx_outbox',
        'engine.tx_signer',
      ],
    );
  });
});

test('migrators that race apply every migration once between them', async () => {
  for (let round = 0; round < 5; round++) {
    await withPool(async (first, url) => {
      const pools = [first, openPool(url), openPool(url), openPool(url)];
      const applied = await Promise.all(pools.map((pool) => migrate(pool)));
      const { rows } = await first.query(`select count(*)::int as count from engine.migration`);
      assert.deepEqual(rows, [{ count: applied.reduce((sum, n) => sum + n, 0) }]);
      await Promise.all(pools.slice(1).map((pool) => pool.end()));
    });
  }
});

test('a schema that a newer version broke is refused, one that it only extended is not', async () => {
  await withPool(async (pool) => {
    await migrate(pool);
    await pool.query(`insert into engine.migration values (90, '000090-more.sql', false)`);
    assert.equal(await migrate(pool), 0);
    await pool.query(`insert into engine.migration values (91, '000091-break.sql', true)`);
    await assert.rejects(migrate(pool), { code: 'DATABASE_REFUSED', message: /newer version/ });
  });
});

test('a role that may not create the schema is told so', async () => {
  await withPool(async (_, url) => {
    const restricted = new URL(url);
    restricted.pathname = '/postgres';
    const other = openPool(restricted.href);
    try {
      await assert.rejects(migrate(other), {
        code: 'DATABASE_REFUSED',
        message: /42501.*permission denied/,
      });
    } finally {
      await other.end();
    }
  });
});
