import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { readSecret } from '../../adapters/seal/secret.js';

const folder = mkdtempSync(join(tmpdir(), 'secret-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'key');

describe('readSecret', () => {
  it('reads a variable', async () => {
    assert.equal(await readSecret('env:KEY', { KEY: 'hush' }), 'hush');
  });

  it('reads a private file without its line end', async () => {
    writeFileSync(file, 'hush\n', { mode: 0o600 });
    assert.equal(await readSecret(`file:${file}`), 'hush');
  });

  for (const mode of [0o640, 0o604, 0o620]) {
    it(`refuses a file of mode ${mode.toString(8)} and does not say what is in it`, async () => {
      writeFileSync(file, 'hush\n');
      chmodSync(file, mode);
      await assert.rejects(readSecret(`file:${file}`), (error: Error & { code?: string }) => {
        assert.doesNotMatch(error.message, /hush/);
        return error.code === 'KEY_FILE_UNSAFE';
      });
    });
  }

  for (const [what, ref] of [
    ['a variable that is not set', 'env:NO'],
    ['an empty variable', 'env:EMPTY'],
    ['a file that is not there', 'file:/no/such/file'],
  ] as const) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(readSecret(ref, { EMPTY: '' }), { code: 'SECRET_MISSING' });
    });
  }
});
