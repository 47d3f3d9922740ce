import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before, describe } from 'node:test';
import type pg from 'pg';
import { migrate } from '../../../adapters/database/migrate.js';
import { openPool, query } from '../../../adapters/database/pool.js';
import { openSourceCatalogue, SOURCE_SCHEMA } from '../../../adapters/database/source-catalogue.js';
import { openSourceIndex, type IndexedChunk } from '../../../adapters/database/source-index.js';
import { openUserDatabase } from '../../../adapters/database/user/database.js';
import { readVectors } from '../../../adapters/database/user/table.js';
import { startPostgres } from '../../../servers/start/index.js';
import { startVectorPostgres } from '../../support/vector-postgres.js';

const id = { owner: 'key:a', source: 'handbook' };
const other = { owner: 'key:b', source: 'handbook' };
const limits = { rows: 100, bytes: 10_000, statementMs: 5_000 };

const unit = (...values: number[]) =>
  Float32Array.from(values.map((v) => v / Math.hypot(...values)));
const chunkOf = (
  name: string,
  vector: Float32Array,
  terms: Record<string, number>,
): IndexedChunk => ({
  digest: name.repeat(64).slice(0, 64),
  cid: `cid-${name}`,
  title: name,
  page: null,
  offset: 0,
  vector,
  terms: new Map(Object.entries(terms).map(([term, n]) => [term.repeat(24).slice(0, 24), n])),
});
const term = (name: string) => name.repeat(24).slice(0, 24);

for (const [name, hasVectors] of [
  ['PostgreSQL as it is embedded', false],
  ['PostgreSQL with pgvector', true],
] as const) {
  describe(name, () => {
    let pool: pg.Pool;
    let userUrl: string;
    const stops: (() => Promise<unknown>)[] = [];

    before(async () => {
      const data = await mkdtemp(join(tmpdir(), 'cortensor-test-source-'));
      const server = await (hasVectors ? startVectorPostgres(data) : startPostgres({ data }));
      pool = openPool(server.engineUrl);
      userUrl = server.userUrl;
      stops.push(
        () => pool.end(),
        () => server.stop(),
        () => rm(data, { recursive: true }),
      );
      await migrate(pool, SOURCE_SCHEMA);
    });
    after(async () => {
      for (const stop of stops) await stop();
    });

    test(`${name}: finds chunks by vector and by word, of one source only`, async () => {
      const index = openSourceIndex(pool, 3);
      await Promise.all([index.prepare(), openSourceIndex(pool, 3).prepare()]);
      await index.add(id, 1, [
        chunkOf('a', unit(1, 0, 0), { a: 3, c: 1 }),
        chunkOf('b', unit(0, 1, 0), { b: 1, c: 1 }),
        chunkOf('d', unit(0, 0, 1), { d: 1, c: 1 }),
      ]);
      await index.add(other, 1, [chunkOf('e', unit(1, 0, 0), { a: 1 })]);
      const hits = await index.search(id, { vector: unit(1, 0.1, 0), terms: [term('d')] }, 1);
      const byTitle = new Map(hits.map((hit) => [hit.title, hit]));
      assert.deepEqual([...byTitle.keys()].sort(), ['a', 'd']);
      assert.ok(Math.abs((byTitle.get('a')?.similarity ?? 0) - 1 / Math.hypot(1, 0.1)) < 1e-5);
      assert.equal(byTitle.get('a')?.relevance, 0);
      assert.ok((byTitle.get('d')?.relevance ?? 0) > 0.5);
      // A word that every chunk has weighs next to nothing.
      const [common] = await index.search(id, { vector: unit(1, 0, 0), terms: [term('c')] }, 1);
      assert.ok((common?.relevance ?? 1) < 0.3);
    });

    test(`${name}: knows what is there, keeps it, and names what is stale`, async () => {
      const index = openSourceIndex(pool, 3);
      const [a, b] = [chunkOf('a', unit(1, 0, 0), {}), chunkOf('b', unit(0, 1, 0), {})];
      assert.deepEqual(await index.known(id, [a.digest, 'f'.repeat(64)]), new Set([a.digest]));
      await index.add(id, 2, [a]);
      await index.keep(id, 2, [{ ...a, page: 7 }]);
      const stale = await index.stale(id, 2, 10);
      assert.deepEqual(
        stale.map(({ cid }) => cid),
        ['cid-b', 'cid-d'],
      );
      assert.deepEqual(
        stale.map(({ isShared }) => isShared),
        [false, false],
      );
      await index.add(other, 1, [b]);
      assert.equal((await index.stale(id, 2, 10))[0]?.isShared, true);
      await index.drop(
        id,
        stale.map(({ digest }) => digest),
      );
      assert.equal(await index.count(id), 1);
      const rows = await query(
        pool,
        'select 1 from cortensor_index.term where owner = $1 and source = $2',
        [id.owner, id.source],
      );
      assert.equal(rows.length, 2);
    });

    if (hasVectors) {
      test(`${name}: an HNSW index answers, also for a source that is a small part of it`, async () => {
        const index = openSourceIndex(pool, 3);
        const plan = await query<{ indexdef: string }>(
          pool,
          `select indexdef from pg_indexes where indexname = 'chunk_vector'`,
        );
        assert.match(plan[0]?.indexdef ?? '', /hnsw/);
        const many = Array.from({ length: 800 }, (_, i) =>
          chunkOf(`${(0x1000 + i).toString(16)}`, unit(1, i / 1e4, 0), {}),
        );
        await index.add({ owner: 'key:big', source: 'big' }, 1, many);
        const small = { owner: 'key:small', source: 'small' };
        await index.add(small, 1, [chunkOf('f', unit(0, 0, -1), {})]);
        const hits = await index.search(small, { vector: unit(1, 0, 0), terms: [] }, 5);
        assert.deepEqual(
          hits.map(({ title }) => title),
          ['f'],
        );
      });

      test(`${name}: reads vectors that exist, of the model's length`, async () => {
        const access = { url: userUrl, tls: false, ca: null, allowPrivate: true };
        const user = openUserDatabase(access, { maxConnections: 1, statementTimeoutMs: 30_000 });
        const writer = openPool(userUrl);
        stops.unshift(
          () => user.close(),
          () => writer.end(),
        );
        await query(writer, 'create table notes (id serial primary key, body text, v vector(3))');
        await query(
          writer,
          `insert into notes (body, v) values ('one', '[2,0,0]'), ('two', '[0,3,0]')`,
        );
        const columns = { id: 'id', text: 'body', vector: 'v' };
        const spec = {
          kind: 'vectors',
          database: 'x',
          table: 'notes',
          columns,
          metric: 'cosine',
        } as const;
        assert.deepEqual(await readVectors(user, spec, 3, limits), [
          { title: '1', text: 'one', vector: [1, 0, 0] },
          { title: '2', text: 'two', vector: [0, 1, 0] },
        ]);
        const refused = { code: 'SOURCE_INVALID' };
        await assert.rejects(readVectors(user, spec, 4, limits), refused);
        await assert.rejects(readVectors(user, { ...spec, metric: 'l2' }, 3, limits), refused);
        const injected = { ...spec, table: 'notes" where 1=1; drop table notes; --' };
        await assert.rejects(readVectors(user, injected, 3, limits), refused);
      });
    } else {
      test(`${name}: the catalogue knows what is wanted, by owner`, async () => {
        const catalogue = openSourceCatalogue(pool);
        const key = async () => Buffer.from('age file');
        const spec = { kind: 'documents', documents: [] } as const;
        const made = await catalogue.declare(id, { level: 'link', spec }, key);
        assert.deepEqual([made.revision, made.state, made.isRemoved], [1, 'waiting', false]);
        const document = { cid: 'bafy', type: 'text/plain', title: 'T' } as const;
        assert.equal((await catalogue.addDocument(id, document)).revision, 2);
        const replaced = await catalogue.addDocument(id, { ...document, cid: 'bafz' });
        assert.deepEqual(replaced.spec, {
          kind: 'documents',
          documents: [{ ...document, cid: 'bafz' }],
        });
        assert.equal(await catalogue.usesDocument('bafz'), true);
        assert.equal(await catalogue.usesDocument('bafy'), false);
        await assert.rejects(catalogue.addDocument(other, document), { code: 'SOURCE_NOT_FOUND' });
        await assert.rejects(catalogue.declare(id, { level: 'open', spec }, key), {
          code: 'SOURCE_INVALID',
        });
        await catalogue.note(id, 2, { state: 'ready' });
        assert.equal((await catalogue.read(id))?.state, 'waiting');
        await catalogue.note(id, 3, { state: 'ready' });
        assert.equal((await catalogue.read(id))?.state, 'ready');

        await catalogue.remove(id);
        assert.deepEqual(await catalogue.list(id.owner), []);
        await assert.rejects(catalogue.remove(id), { code: 'SOURCE_NOT_FOUND' });
        await assert.rejects(catalogue.declare(id, { level: 'link', spec }, key), {
          code: 'SOURCE_INVALID',
        });
        const receipt = {
          chunks: 1,
          vectors: 1,
          blocks: 2,
          digest: '0x1',
          removedAt: 'now',
        } as const;
        assert.deepEqual(await catalogue.receipt(id, receipt), receipt);
        assert.deepEqual(await catalogue.receipt(id, { ...receipt, chunks: 0 }), receipt);
        await catalogue.forget(id);
        await catalogue.clear(id);
        const gone = await catalogue.read(id);
        assert.deepEqual([gone?.state, gone?.keyFile, gone?.receipt], ['removed', null, receipt]);
        assert.equal((await catalogue.declare(id, { level: 'open', spec }, key)).state, 'waiting');
      });
    }
  });
}
