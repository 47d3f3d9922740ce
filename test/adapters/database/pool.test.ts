import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { inTransaction, openPool, query } from '../../../adapters/database/pool.js';
import { EngineError } from '../../../domain/errors.js';
import { startTestPostgres, type TestPostgres } from './postgres.js';

let postgres: TestPostgres;
let pool: ReturnType<typeof openPool>;
before(async () => {
  postgres = await startTestPostgres();
  pool = openPool(await postgres.createDatabase());
  await pool.query(
    `create table item (id integer primary key, amount numeric check (amount >= 0))`,
  );
});
after(async () => {
  await pool.end();
  await postgres.stop();
});

/** Runs against the server under a changed URL. */
async function failureAt(change: (url: URL) => void): Promise<EngineError> {
  const url = new URL(postgres.url);
  change(url);
  const other = openPool(url.href, { connectTimeoutMs: 20_000 });
  try {
    await query(other, 'select 1');
  } catch (error) {
    assert.ok(error instanceof EngineError);
    return error;
  } finally {
    await other.end();
  }
  throw new assert.AssertionError({ message: 'expected a failure' });
}

test('a server that is not there is unreachable, which a retry may mend', async () => {
  const refused = await failureAt((url) => (url.port = '1'));
  assert.equal(refused.code, 'DATABASE_UNREACHABLE');
  assert.equal(refused.details['reason'], 'ECONNREFUSED');
  assert.equal(refused.retryable, true);
  const unknown = await failureAt((url) => (url.hostname = 'nowhere.invalid'));
  assert.equal(unknown.code, 'DATABASE_UNREACHABLE');
});

test('wrong credentials are refused for good, and no error holds a password', async () => {
  const failure = await failureAt((url) => (url.password = 'wrong-password'));
  assert.equal(failure.code, 'DATABASE_REFUSED');
  assert.equal(failure.details['sqlstate'], '28P01');
  assert.equal(failure.retryable, false);
  assert.doesNotMatch(`${failure.message} ${String(failure.stack)}`, /wrong-password/);
});

test('a database that does not exist is refused by name', async () => {
  const failure = await failureAt((url) => (url.pathname = '/absent'));
  assert.equal(failure.code, 'DATABASE_REFUSED');
  assert.match(failure.message, /3D000.*absent/);
});

test('a broken constraint is refused with its name, without the values of the row', async () => {
  await assert.rejects(query(pool, 'insert into item values ($1, $2)', [1, -777]), {
    code: 'DATABASE_REFUSED',
    details: {
      sqlstate: '23514',
      constraint: 'item_amount_check',
      table: 'item',
      reason: 'new row for relation "item" violates check constraint "item_amount_check"',
    },
  });
  await assert.rejects(query(pool, 'insert into item values ($1, $2)', [1, 'secret']), (error) => {
    assert.ok(error instanceof EngineError);
    assert.equal(error.details['sqlstate'], '22P02');
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

test('a connection that is cut in the middle is unreachable, and the pool goes on', async () => {
  await assert.rejects(
    inTransaction(pool, (client) => query(client, 'select pg_terminate_backend(pg_backend_pid())')),
    { code: 'DATABASE_UNREACHABLE' },
  );
  assert.deepEqual(await query(pool, 'select 1 as one'), [{ one: 1 }]);
});

test('a statement that takes too long is cancelled, which a retry may mend', async () => {
  const hasty = openPool(postgres.url, { statementTimeoutMs: 50 });
  try {
    await assert.rejects(query(hasty, 'select pg_sleep(10)'), {
      code: 'DATABASE_UNREACHABLE',
      details: { sqlstate: '57014' },
    });
  } finally {
    await hasty.end();
  }
});

test('a transaction is all or nothing', async () => {
  const failure = new Error('stop here');
  await assert.rejects(
    inTransaction(pool, async (client) => {
      await query(client, 'insert into item values (10, 1)');
      throw failure;
    }),
    failure,
  );
  await inTransaction(pool, async (client) => {
    await query(client, 'insert into item values (11, 1)');
  });
  assert.deepEqual(await query(pool, 'select id from item order by id'), [{ id: 11 }]);
});

test('a URL that is not one of PostgreSQL is refused before anything is opened', () => {
  for (const url of ['', 'mysql://user:secret@host/db', 'postgres://user:secret@:port/db']) {
    assert.throws(
      () => openPool(url),
      (error) => {
        assert.ok(error instanceof EngineError);
        assert.equal(error.code, 'CONFIG_INVALID');
        assert.doesNotMatch(error.message, /secret/);
        return true;
      },
    );
  }
});
