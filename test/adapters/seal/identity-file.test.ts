import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import {
  createIdentityFile,
  createKeyFile,
  readIdentityFile,
  readKeyFile,
} from '../../../adapters/seal/identity-file.js';
import { createPrivateFile } from '../../../adapters/seal/private-file.js';
import { readSecret } from '../../../adapters/seal/secret.js';

const folder = await mkdtemp(join(tmpdir(), 'cortensor-keys-'));
after(() => rm(folder, { recursive: true }));

test('an identity file reads back, alone for its owner, in a folder for its owner', async () => {
  const path = join(folder, 'a', 'b', 'identity');
  const created = await createIdentityFile(path, { postQuantum: true });
  assert.deepEqual(await readIdentityFile(path), created);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(join(folder, 'a', 'b'))).mode & 0o777, 0o700);
});

test('an EVM key file holds 0x and 64 hex digits', async () => {
  const path = join(folder, 'key');
  const key = await createKeyFile(path);
  assert.match(await readFile(path, 'utf8'), /^0x[0-9a-f]{64}\n$/);
  assert.equal(await readKeyFile(path), key);
});

test('a key file that is there is never replaced', async () => {
  const path = join(folder, 'kept');
  const key = await createKeyFile(path);
  await assert.rejects(createKeyFile(path), { code: 'KEY_FILE_UNSAFE' });
  await assert.rejects(createIdentityFile(path), { code: 'KEY_FILE_UNSAFE' });
  assert.equal(await readKeyFile(path), key);
});

test('of many that create one file at once, one wins, and nothing else is left behind', async () => {
  const place = join(folder, 'race');
  const wins = await Promise.all(
    Array.from({ length: 20 }, (_, i) => createPrivateFile(join(place, 'file'), Buffer.from([i]))),
  );
  assert.equal(wins.filter(Boolean).length, 1);
  assert.deepEqual(await readdir(place), ['file']);
  const [content] = await readFile(join(place, 'file'));
  assert.equal(wins[content ?? -1], true);
});

test('a key file that others may read is refused', async () => {
  const path = join(folder, 'shared');
  await createKeyFile(path);
  for (const mode of [0o640, 0o604, 0o660]) {
    await chmod(path, mode);
    await assert.rejects(readKeyFile(path), { code: 'KEY_FILE_UNSAFE' });
  }
});

test('a key file that is missing, or holds something else, is an error without its content', async () => {
  await assert.rejects(readKeyFile(join(folder, 'none')), { code: 'SECRET_MISSING' });
  const path = join(folder, 'wrong');
  await writeFile(path, 'do not repeat me', { mode: 0o600 });
  for (const read of [readKeyFile, readIdentityFile]) {
    await assert.rejects(read(path), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'KEY_FILE_UNSAFE');
      return !error.message.includes('do not repeat me');
    });
  }
});

test('a secret is read from the variable or the file of its reference', async () => {
  process.env['CORTENSOR_TEST_SECRET'] = ' from env\n';
  const path = join(folder, 'secret');
  await writeFile(path, 'from file\n', { mode: 0o600 });
  assert.equal(await readSecret('env:CORTENSOR_TEST_SECRET'), 'from env');
  assert.equal(await readSecret(`file:${path}`), 'from file');
  for (const ref of ['env:CORTENSOR_TEST_NONE', `file:${join(folder, 'none')}`] as const) {
    await assert.rejects(readSecret(ref), { code: 'SECRET_MISSING' });
  }
  await chmod(path, 0o644);
  await assert.rejects(readSecret(`file:${path}`), { code: 'KEY_FILE_UNSAFE' });
});
