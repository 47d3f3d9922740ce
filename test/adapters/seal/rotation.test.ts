import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, afterEach } from 'node:test';
import { armor, Encrypter } from 'age-encryption';
import { openAtRest, sealAtRest } from '../../../adapters/seal/at-rest.js';
import {
  createIdentityFile,
  readIdentity,
  readIdentityFile,
  rotateIdentityFile,
} from '../../../adapters/seal/identity-file.js';
import { createIdentity, recipientsOf } from '../../../adapters/seal/identity.js';
import { createKeyring, openKeyring, wrapKeyring } from '../../../adapters/seal/keyring.js';
import { replacePrivateFile } from '../../../adapters/seal/private-file.js';
import { obtain } from '../../../servers/obtain/index.js';
import { run } from '../../../servers/run.js';
import { age } from '../../support/age.js';

const folder = await mkdtemp(join(tmpdir(), 'cortensor-rotation-'));
after(() => rm(folder, { recursive: true }));
afterEach(() => {
  delete process.env['CORTENSOR_PASSPHRASE'];
  delete process.env['CORTENSOR_TEST_TEXT'];
});
const text = Buffer.from('{"a":1}');
const asText = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

/** A file behind a passphrase, of little work for who opens it. */
async function locked(content: string, passphrase: string): Promise<Uint8Array> {
  const encrypter = new Encrypter();
  encrypter.setPassphrase(passphrase);
  encrypter.setScryptWorkFactor(10);
  return await encrypter.encrypt(content);
}

test('what was sealed to any identity that a file has had opens, here and with the stock age', async () => {
  const path = join(folder, 'node.age');
  const sealedTo = [(await createIdentityFile(path)).recipient];
  for (const postQuantum of [true, false]) {
    sealedTo.unshift((await rotateIdentityFile(path, { postQuantum })).recipient);
  }
  const { identity, recipient } = await readIdentityFile(path);
  assert.equal(recipient, sealedTo[0], 'the newest is sealed to');
  assert.deepEqual(await recipientsOf(identity), sealedTo);
  const { path: program } = await obtain(age);
  for (const [i, one] of sealedTo.entries()) {
    const sealed = await sealAtRest(text, [one]);
    assert.equal(asText(await openAtRest(sealed, identity)), asText(text));
    const file = join(folder, `${i}.age`);
    await writeFile(file, sealed);
    const limits = { timeoutMs: 20_000 };
    assert.equal(await run(program, ['-d', '-i', path, file], limits), asText(text));
  }
  const stranger = await createIdentity();
  await assert.rejects(openAtRest(await sealAtRest(text, [stranger.recipient]), identity), {
    code: 'SEAL_NOT_RECIPIENT',
  });
});

test('a keyring that was wrapped before its reader rotated opens for the reader', async () => {
  const path = join(folder, 'reader.age');
  const { recipient } = await createIdentityFile(path, { postQuantum: true });
  const { keyring } = await createKeyring('7', { postQuantum: true });
  const file = await wrapKeyring(keyring, [recipient]);
  const { identity } = await rotateIdentityFile(path, { postQuantum: true });
  assert.deepEqual(await openKeyring(file, identity), keyring);
});

test('a text that holds one line which is no identity holds none', async () => {
  const path = join(folder, 'spoilt.age');
  const { identity } = await createIdentityFile(path);
  await writeFile(path, `${identity}\nnot an identity\n`);
  await assert.rejects(readIdentityFile(path), { code: 'KEY_FILE_UNSAFE' });
  await assert.rejects(rotateIdentityFile(path), { code: 'KEY_FILE_UNSAFE' });
  assert.equal(await readFile(path, 'utf8'), `${identity}\nnot an identity\n`, 'it is as it was');
  await assert.rejects(
    openAtRest(await sealAtRest(text, [(await createIdentity()).recipient]), ''),
    {
      code: 'REQUEST_INVALID',
    },
  );
});

test('a file is replaced whole, for its owner alone, and never by two at once', async () => {
  const place = join(folder, 'one');
  const path = join(place, 'file');
  await createIdentityFile(path);
  const results = await Promise.allSettled(
    Array.from({ length: 6 }, () => rotateIdentityFile(path)),
  );
  const drawn = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const kept = await recipientsOf((await readIdentityFile(path)).identity);
  assert.ok(drawn.length > 0);
  assert.equal(kept.length, drawn.length + 1);
  for (const { recipient } of drawn) assert.ok(kept.includes(recipient), 'none is lost');
  assert.deepEqual(await readdir(place), ['file']);
  assert.equal((await stat(path)).mode & 0o777, 0o600);

  const before = await readFile(path);
  const failing = replacePrivateFile(path, () => Promise.reject(new Error('no')));
  await assert.rejects(failing, { code: 'KEY_FILE_UNSAFE' });
  await writeFile(`${path}.new`, 'of one that was killed');
  await assert.rejects(rotateIdentityFile(path), { code: 'KEY_FILE_UNSAFE' });
  await rm(`${path}.new`);
  await chmod(path, 0o640);
  await assert.rejects(rotateIdentityFile(path), { code: 'KEY_FILE_UNSAFE' });
  assert.deepEqual(await readFile(path), before);
  assert.deepEqual(await readdir(place), ['file']);
});

test('a locked file opens with the passphrase that the variable refers to, and stays locked', async () => {
  const path = join(folder, 'locked.age');
  const { identity, recipient } = await createIdentity();
  await writeFile(path, await locked(`${identity}\n`, 'correct horse'), { mode: 0o600 });
  const secret = join(folder, 'passphrase');
  await writeFile(secret, 'correct horse\n', { mode: 0o600 });

  await assert.rejects(readIdentityFile(path), { code: 'SECRET_MISSING' });
  process.env['CORTENSOR_PASSPHRASE'] = `file:${secret}`;
  assert.deepEqual(await readIdentityFile(path), { identity, recipient });
  const rotated = await rotateIdentityFile(path);
  assert.ok(!(await readFile(path)).includes('AGE-SECRET-KEY'));
  assert.deepEqual(await readIdentityFile(path), rotated);
  assert.ok(rotated.identity.endsWith(identity));

  process.env['CORTENSOR_TEST_TEXT'] = 'battery staple';
  process.env['CORTENSOR_PASSPHRASE'] = 'env:CORTENSOR_TEST_TEXT';
  await assert.rejects(readIdentityFile(path), { code: 'KEY_FILE_UNSAFE' });
  process.env['CORTENSOR_PASSPHRASE'] = 'battery staple';
  await assert.rejects(readIdentityFile(path), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'KEY_FILE_UNSAFE');
    return !error.message.includes('staple');
  });
});

test('a locked identity in a variable is an armored one', async () => {
  const { identity, recipient } = await createIdentity();
  const file = await locked(identity, 'horse');
  process.env['CORTENSOR_TEST_TEXT'] = armor.encode(file);
  process.env['CORTENSOR_PASSPHRASE'] = 'env:CORTENSOR_TEST_PASSPHRASE';
  process.env['CORTENSOR_TEST_PASSPHRASE'] = 'horse';
  assert.equal((await readIdentity('env:CORTENSOR_TEST_TEXT')).recipient, recipient);
  delete process.env['CORTENSOR_TEST_PASSPHRASE'];
});
