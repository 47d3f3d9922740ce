import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openGuardStore } from '../../../adapters/database/api-guard.js';
import { migrate } from '../../../adapters/database/migrate.js';
import { openPool } from '../../../adapters/database/pool.js';
import type { TaskId } from '../../../domain/ids.js';
import { startTestPostgres, type TestPostgres } from './postgres.js';

let postgres: TestPostgres;
before(async () => {
  postgres = await startTestPostgres();
});
after(() => postgres.stop());

const taskId = (n: number): TaskId => `0x${n.toString(16).padStart(64, '0')}`;

test('a task counts once for a key, whichever routers tell of it and how often', async () => {
  const url = await postgres.createDatabase();
  const pools = [openPool(url), openPool(url)];
  const [first] = pools;
  assert.ok(first);
  await migrate(first);
  const stores = pools.map((pool) => openGuardStore(pool));
  await Promise.all(
    stores.flatMap((store) =>
      [1, 2, 3, 1, 2, 3].map((n) => store.addUsedTokens('key:a', taskId(n), n * 10)),
    ),
  );
  await stores[0]?.addUsedTokens('key:b', taskId(1), 7);
  assert.equal(await stores[1]?.readUsedTokens('key:a'), 60);
  assert.equal(await stores[1]?.readUsedTokens('key:b'), 7);
  assert.equal(await stores[1]?.readUsedTokens('key:c'), 0);
  await Promise.all(pools.map((pool) => pool.end()));
});

test('of routers that race for a nonce one gets it, and expired ones are forgotten', async () => {
  const pool = openPool(await postgres.createDatabase());
  await migrate(pool);
  const store = openGuardStore(pool);
  const later = Date.now() + 60_000;
  const won = await Promise.all(
    Array.from({ length: 8 }, () => store.useNonce('nonce-one', later)),
  );
  assert.equal(won.filter(Boolean).length, 1);
  await store.useNonce('nonce-old', Date.now() - 1_000);
  await store.useNonce('nonce-two', later);
  const { rows } = await pool.query(`select nonce from engine.sign_in_nonce order by nonce`);
  assert.deepEqual(rows, [{ nonce: 'nonce-one' }, { nonce: 'nonce-two' }]);
  await pool.end();
});
