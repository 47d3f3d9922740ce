/** A PostgreSQL server for one test file, with as many empty databases as its tests want. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPool } from '../../../adapters/database/pool.js';
import { startPostgres } from '../../../servers/start/index.js';

export interface TestPostgres {
  /** URL of the role that may create databases. */
  readonly url: string;
  /** Creates an empty database. @returns its URL. */
  createDatabase(): Promise<string>;
  stop(): Promise<void>;
}

export async function startTestPostgres(): Promise<TestPostgres> {
  const data = await mkdtemp(join(tmpdir(), 'cortensor-test-postgres-'));
  const server = await startPostgres({ data });
  const admin = openPool(server.engineUrl);
  let count = 0;
  return {
    url: server.engineUrl,
    async createDatabase() {
      const name = `test_${count++}`;
      await admin.query(`create database ${name}`);
      const url = new URL(server.engineUrl);
      url.pathname = `/${name}`;
      return url.href;
    },
    async stop() {
      await admin.end();
      await server.stop();
      // A server that was killed may have children that write for a moment more.
      await rm(data, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}
