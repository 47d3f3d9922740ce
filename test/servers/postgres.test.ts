import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { after, describe, it } from 'node:test';
import pg from 'pg';
import { startPostgres } from '../../servers/start/index.js';
import { Supervisor } from '../../servers/supervise.js';
import { temporaryFolder, waitUntil } from './support.js';

describe('startPostgres', () => {
  const data = mkdtempSync(join(tmpdir(), 'cortensor-test-'));
  after(() => rmSync(data, { recursive: true, force: true }));

  it('keeps committed rows when it is killed, and comes back on the same port', async (t) => {
    const supervisor = await Supervisor.open(data);
    t.after(() => supervisor.stop());
    const { engineUrl } = await startPostgres({ data, supervisor });
    await query(engineUrl, 'create table t (n int); insert into t values (1)');

    const killed = supervisor.pid('postgres') as number;
    process.kill(killed, 'SIGKILL');
    const rows = await waitUntil(async () => {
      return supervisor.pid('postgres') !== killed && query(engineUrl, 'select n from t');
    }, 'PostgreSQL to be back');
    assert.deepEqual(rows, [{ n: 1 }]);
  });

  it('gives the engine and the user a database each, closed to the other', async (t) => {
    const { engineUrl, userUrl, stop } = await startPostgres({ data });
    t.after(stop);
    assert.deepEqual(await query(engineUrl, 'select current_user, current_database()'), [
      { current_user: 'cortensor', current_database: 'cortensor' },
    ]);
    await query(userUrl, 'create table mine (n int)');
    const intruder = engineUrl.replace(/\/cortensor$/, '/userdata');
    await assert.rejects(query(intruder, 'select 1'), /permission denied/);
    const wrong = engineUrl.replace(/:[0-9a-f]{32}@/, ':wrong@');
    await assert.rejects(query(wrong, 'select 1'), /password authentication failed/);

    // Passwords are in files of their owner, and in no log.
    const keys = readdirSync(join(data, 'keys')).map((name) => join(data, 'keys', name));
    assert.equal(keys.length, 3);
    for (const key of keys) assert.equal(statSync(key).mode & 0o777, 0o600);
    const { password } = new URL(engineUrl);
    assert.equal(readFileSync(join(data, 'logs/postgres.log'), 'utf8').includes(password), false);
  });

  it('starts although the id in a stale pid file belongs to another program', async (t) => {
    const { engineUrl, stop } = await startPostgres({ data });
    await stop();
    writeFileSync(join(data, 'postgres/postmaster.pid'), `${process.pid}\n${data}\n`);
    const again = await startPostgres({ data });
    t.after(again.stop);
    assert.equal(again.engineUrl, engineUrl);
    assert.deepEqual(await query(engineUrl, 'select n from t'), [{ n: 1 }]);
  });

  it('works below a folder that is closed to other users', async (t) => {
    const home = temporaryFolder(t);
    chmodSync(home, 0o700);
    mkdirSync(join(home, 'data'));
    const { engineUrl, stop } = await startPostgres({ data: join(home, 'data') });
    t.after(stop);
    assert.deepEqual(await query(engineUrl, 'select 1 as one'), [{ one: 1 }]);
  });
});

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(url);
  // A server that is killed drops its connections; the query's own rejection is what counts.
  client.on('error', () => {});
  await client.connect();
  try {
    const result = await client.query(sql);
    return Array.isArray(result) ? [] : (result.rows as unknown[]);
  } finally {
    await client.end();
  }
}
