import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  deleteExportReceipt,
  readExportReceipt,
  writeExportReceipt,
} from '../../../adapters/database/export-receipt.js';
import { migrate } from '../../../adapters/database/migrate.js';
import { openPool } from '../../../adapters/database/pool.js';
import type { ExportReceipt } from '../../../domain/export.js';
import { startTestPostgres, type TestPostgres } from './postgres.js';

const SESSION = '9223372036854775807';

let postgres: TestPostgres;
before(async () => {
  postgres = await startTestPostgres();
});
after(() => postgres.stop());

test('a receipt is read back as it was written, the latest one counts, and it can be forgotten', async () => {
  const pool = openPool(await postgres.createDatabase());
  try {
    await migrate(pool);
    assert.equal(await readExportReceipt(pool, SESSION, 'mine'), null);
    const receipt: ExportReceipt = {
      sessionId: SESSION,
      sink: 'mine',
      rows: { session: 1, task: 2, task_result: 3, payload: 4 },
      digest: `0x${'ab'.repeat(32)}`,
      writtenAt: '2026-01-02T03:04:05.678Z',
    };
    await writeExportReceipt(pool, receipt);
    const later = { ...receipt, writtenAt: '2026-01-03T00:00:00.000Z' };
    await writeExportReceipt(pool, later);
    assert.deepEqual(await readExportReceipt(pool, SESSION, 'mine'), later);
    await deleteExportReceipt(pool, SESSION, 'mine');
    assert.equal(await readExportReceipt(pool, SESSION, 'mine'), null);
  } finally {
    await pool.end();
  }
});
