import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import fc from 'fast-check';
import { openAtRest, sealAtRest } from '../../adapters/seal/at-rest.js';
import { readIdentityFile } from '../../adapters/seal/identity-file.js';
import { writeConfig } from '../../cli/config.js';
import { anyConfig } from './config-values.js';
import { cortensor, cortensorJson } from './cortensor.js';

interface Printed {
  readonly recipient: string;
  readonly recipients: readonly string[];
}

const data = await mkdtemp(join(tmpdir(), 'cortensor-keys-'));
after(() => rm(data, { recursive: true }));
const keys = <T = Printed>(...args: readonly string[]) => cortensorJson<T>(['keys', ...args]);
const bytes = Buffer.from('sealed before');

test('an identity is drawn, shown and rotated; only recipients are ever printed', async () => {
  const file = join(data, 'node.age');
  const { recipient: first } = await keys('new', '--file', file, '--x25519');
  assert.match(first, /^age1[a-z0-9]{58}$/);
  const sealed = await sealAtRest(bytes, [first]);
  const { recipient: second, recipients } = await keys('rotate', '--file', file);
  assert.match(second, /^age1pq1/, 'the new one is post-quantum where not asked otherwise');
  assert.deepEqual(recipients, [second, first]);
  assert.deepEqual((await keys('show', '--file', file)).recipients, [second, first]);
  const { identity } = await readIdentityFile(file);
  for (const one of [sealed, await sealAtRest(bytes, [second])]) {
    assert.deepEqual(Buffer.from(await openAtRest(one, identity)), bytes);
  }
  const { code, stdout } = await cortensor(['keys', 'show', '--file', file]);
  assert.deepEqual([code, stdout], [0, `${second}\n${first}\n`]);
});

test('a file that is there is not drawn anew, and one that is not is not rotated', async () => {
  const file = join(data, 'kept.age');
  const { recipient } = await keys('new', '--file', file);
  await assert.rejects(keys('new', '--file', file), { code: 'KEY_FILE_UNSAFE' });
  assert.equal((await keys('show', '--file', file)).recipient, recipient);
  await assert.rejects(keys('rotate', '--file', join(data, 'none')), { code: 'SECRET_MISSING' });
});

test('a locked file is drawn, and is rotated with the passphrase that the environment refers to', async () => {
  const file = join(data, 'locked.age');
  const secret = join(data, 'passphrase');
  await writeFile(secret, 'correct horse\n', { mode: 0o600 });
  const { recipient } = await keys('new', '--file', file, '--passphrase', `file:${secret}`);
  assert.match((await readFile(file)).toString('latin1'), /^age-encryption\.org\/v1\n-> scrypt /);
  assert.equal((await cortensor(['keys', 'show', '--file', file])).code, 2, 'without it');
  const env = { CORTENSOR_PASSPHRASE: `file:${secret}` };
  const rotated = await cortensor(['keys', 'rotate', '--file', file], env);
  assert.equal(rotated.code, 0, rotated.errors.join());
  assert.ok(rotated.stdout.endsWith(`\n${recipient}\n`));
});

test('a data key is added beside the others, wrapped for the newest identity', async () => {
  const file = join(data, 'engine.age');
  const folder = join(data, 'codec');
  const config = join(data, 'temporal.yaml');
  await keys('new', '--file', file);
  const [complete = assert.fail()] = fc.sample(anyConfig, 1);
  const codec = { identity: `file:${file}`, keys: folder } as const;
  writeConfig(config, { ...complete, temporal: { ...complete.temporal, codec } });
  const add = () => keys<{ key: string }>('rotate-codec', '--config', config);
  assert.deepEqual(await add(), { key: '000002' }, 'the first one is made where there is none');
  await keys('rotate', '--file', file);
  assert.deepEqual(await add(), { key: '000003' });
  assert.deepEqual(await readdir(folder), ['000001.age', '000002.age', '000003.age']);
  const [newest = ''] = (await readIdentityFile(file)).identity.split('\n');
  const open = async (id: string) =>
    await openAtRest(await readFile(join(folder, `${id}.age`)), newest);
  assert.equal((await open('000003')).length, 32);
  await assert.rejects(open('000002'), { code: 'SEAL_NOT_RECIPIENT' });
  assert.equal((await stat(join(folder, '000003.age'))).mode & 0o777, 0o600);
});
