import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { openAtRest, sealAtRest } from '../../../adapters/seal/at-rest.js';
import { createIdentityFile } from '../../../adapters/seal/identity-file.js';
import { createKeyring, openKeyring, wrapKeyring } from '../../../adapters/seal/keyring.js';
import { obtain } from '../../../servers/obtain/index.js';
import { run } from '../../../servers/run.js';
import { age } from '../../support/age.js';

const folder = await mkdtemp(join(tmpdir(), 'cortensor-age-'));
after(() => rm(folder, { recursive: true }));
const { path: program } = await obtain(age);
const [plainPath, sealedPath] = [join(folder, 'plain'), join(folder, 'sealed.age')];
// More than one of age's chunks of 64 KiB.
const content = Uint8Array.from({ length: 200_000 }, (_, i) => i % 251);

const runAge = (...args: string[]): Promise<string> => run(program, args, { timeoutMs: 20_000 });

const kinds = [
  ['X25519', false],
  ['hybrid X25519 and ML-KEM-768', true],
] as const;
for (const [kind, postQuantum] of kinds) {
  const identityPath = join(folder, `identity-${postQuantum ? 'pq' : 'x25519'}`);
  const { identity, recipient } = await createIdentityFile(identityPath, { postQuantum });
  const decrypt = (): Promise<string> =>
    runAge('--decrypt', '--identity', identityPath, '--output', plainPath, sealedPath);

  test(`${kind}: the stock age program decrypts what was sealed here`, async () => {
    await writeFile(sealedPath, await sealAtRest(content, [recipient]));
    await decrypt();
    assert.ok((await readFile(plainPath)).equals(content));
  });

  test(`${kind}: what the stock age program encrypted opens here`, async () => {
    await writeFile(plainPath, content);
    await runAge('--encrypt', '--recipient', recipient, '--output', sealedPath, plainPath);
    assert.ok(Buffer.from(await openAtRest(await readFile(sealedPath), identity)).equals(content));
  });

  test(`${kind}: the stock age program reads a keyring, and hands it on to another reader`, async () => {
    const { keyring } = await createKeyring('42', { postQuantum });
    await writeFile(sealedPath, await wrapKeyring(keyring, [recipient]));
    await decrypt();
    assert.deepEqual(JSON.parse(await readFile(plainPath, 'utf8')), keyring);
    const other = await createIdentityFile(join(folder, `other-${postQuantum}`), { postQuantum });
    await runAge('--encrypt', '--recipient', other.recipient, '--output', sealedPath, plainPath);
    assert.deepEqual(await openKeyring(await readFile(sealedPath), other.identity), keyring);
  });

  test(`${kind}: the stock age program refuses a file that was altered or cut short`, async () => {
    const sealed = await sealAtRest(content, [recipient]);
    for (const bad of [sealed.with(-1, (sealed.at(-1) ?? 0) ^ 1), sealed.slice(0, -70_000)]) {
      await writeFile(sealedPath, bad);
      await assert.rejects(decrypt);
      await assert.rejects(openAtRest(bad, identity), { code: 'SEAL_BROKEN' });
    }
  });
}
