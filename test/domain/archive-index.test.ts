import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { ArchiveIndex } from '../../domain/archive-index.js';
import { ARCHIVE_PAGE_TASKS } from '../../domain/archive.js';
import type { TaskId } from '../../domain/ids.js';

const idOf = (n: number): TaskId => `0x${createHash('sha256').update(`task ${n}`).digest('hex')}`;
const idsFrom = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) => idOf(from + i));

test('archive index: names the page of every task that was archived, however it is carried on', () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 12 });
  fc.assert(
    fc.property(sizes, fc.nat({ max: 12 }), (pages, carriedAfter) => {
      let index = new ArchiveIndex();
      const names: string[] = [];
      const where = new Map<TaskId, string>();
      pages.forEach((size, i) => {
        const page = `page-${i}`;
        const ids = idsFrom(where.size, size);
        for (const id of ids) where.set(id, page);
        names.push(page);
        index.add(page, ids);
        if (i === carriedAfter) index = new ArchiveIndex(names, index.state());
      });
      for (const [id, page] of where) {
        assert.ok(index.pagesWith(id).includes(page));
        assert.ok(!index.pagesWith(id, [page]).includes(page), 'a page that was read is not named');
      }
    }),
  );
});

test('archive index: finds a mark only where it begins, and the latest page comes first', () => {
  const index = new ArchiveIndex();
  // Marks of AAAB, CDEF: BCDE lies across the two.
  index.add('old', ['0x000001', '0x083105']);
  index.add('new', ['0x000001']);
  assert.deepEqual(index.pagesWith('0x000001'), ['new', 'old']);
  assert.deepEqual(index.pagesWith('0x083105'), ['old']);
  assert.deepEqual(index.pagesWith('0x0420c4'), []);
});

test('archive index: of the longest session it takes little, and hardly ever names a page in vain', () => {
  const PAGES = 200;
  const index = new ArchiveIndex();
  for (let page = 0; page < PAGES; page++) {
    index.add(`page-${page}`, idsFrom(page * ARCHIVE_PAGE_TASKS, ARCHIVE_PAGE_TASKS));
  }
  assert.ok(JSON.stringify(index.state()).length < 410_000);
  // 0.6 % of new tasks on average; ids are drawn from a hash, hence the same in every run.
  const foreign = idsFrom(1_000_000, 2_000);
  const named = foreign.filter((id) => index.pagesWith(id).length > 0).length;
  assert.ok(named < foreign.length / 50, `${named} of ${foreign.length}`);
});
