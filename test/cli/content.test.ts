import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { existsSync } from 'node:fs';
import { dispatch } from '../../cli/command.js';
import { COMMANDS } from '../../cli/table.js';
import { openBlockStore, putJson } from '../../adapters/ipfs/block-store.js';
import { putDocument } from '../../adapters/ipfs/manifest.js';
import { createIdentityFile } from '../../adapters/seal/identity-file.js';
import { startKubo } from '../../servers/start/index.js';
import { written } from './written.js';

const data = await mkdtemp(join(tmpdir(), 'cortensor-content-'));
const kubo = await startKubo({ data: join(data, 'kubo') });
after(async () => {
  await kubo.stop();
  await rm(data, { recursive: true });
});
const store = openBlockStore({ apiUrl: kubo.apiUrl, timeoutMs: 10_000 });
const ipfs = ['--ipfs', kubo.apiUrl];
const config = join(data, 'temporal.yaml');
await writeFile(
  config,
  `ipfs: { apiUrl: '${kubo.apiUrl}' }\nhosts:\n  mine: { kind: kubo, url: '${kubo.apiUrl}', allowPrivate: true }\n` +
    "  away: { kind: gateway, url: 'http://127.0.0.1:1', allowPrivate: true }\n",
);

/** Runs `cortensor content …` and reads its one object. */
async function content(...argv: string[]): Promise<Record<string, unknown>> {
  const text = await written(async () => {
    assert.equal(await dispatch(COMMANDS, [], ['content', ...argv, '--json']), 0);
  });
  return JSON.parse(text) as Record<string, unknown>;
}

const inFolder = (name: string): string => join(data, name);

test('a file goes into IPFS or a host and comes back by its CID, byte for byte', async () => {
  const bytes = Buffer.alloc(2_500_000, 'some text, again and again ');
  await writeFile(inFolder('in'), bytes);
  const { cid } = await content('add', inFolder('in'), ...ipfs);
  assert.equal(
    (await content('add', inFolder('in'), '--config', config, '--host', 'mine'))['cid'],
    cid,
  );
  for (const from of [ipfs, ['--config', config], ['--config', config, '--host', 'mine']]) {
    await content('get', String(cid), '--to', inFolder('out'), ...from);
    assert.ok((await readFile(inFolder('out'))).equals(bytes));
  }
});

test('a file goes in sealed, is nothing but an age file there, and comes back open', async () => {
  const { recipient } = await createIdentityFile(inFolder('reader.age'), { postQuantum: true });
  const bytes = Buffer.alloc(2_500_000, 'what only the reader may see ');
  await writeFile(inFolder('secret'), bytes);
  const { cid } = await content('add', inFolder('secret'), '--recipient', recipient, ...ipfs);
  await content('get', String(cid), '--to', inFolder('sealed'), ...ipfs);
  const sealed = await readFile(inFolder('sealed'));
  assert.match(sealed.subarray(0, 22).toString(), /^age-encryption.org\/v1\n/);
  assert.ok(!sealed.includes('only the reader'));
  const open = ['--identity', `file:${inFolder('reader.age')}`];
  await content('get', String(cid), '--to', inFolder('opened'), ...open, ...ipfs);
  assert.ok((await readFile(inFolder('opened'))).equals(bytes));

  await createIdentityFile(inFolder('stranger.age'));
  const strange = ['--identity', `file:${inFolder('stranger.age')}`];
  const get = content('get', String(cid), '--to', inFolder('stolen'), ...strange, ...ipfs);
  await assert.rejects(get, { code: 'SEAL_NOT_RECIPIENT' });
  assert.ok(!existsSync(inFolder('stolen')));
});

test('a file that is too long, or cannot be had, leaves no file behind', async () => {
  await writeFile(inFolder('long'), Buffer.alloc(5_000));
  const add = content('add', inFolder('long'), '--max-bytes', '4999', ...ipfs);
  await assert.rejects(add, { code: 'CONTENT_TOO_LARGE' });
  const { cid } = await content('add', inFolder('long'), ...ipfs);
  const get = ['get', String(cid), '--to', inFolder('none')];
  await assert.rejects(content(...get, '--max-bytes', '4999', ...ipfs), {
    code: 'CONTENT_TOO_LARGE',
  });
  const away = content(...get, '--config', config, '--host', 'away');
  await assert.rejects(away, { code: 'HOST_UNREACHABLE' });
  assert.equal(existsSync(inFolder('none')) || existsSync(inFolder('none.part')), false);
  const unknown = content(...get, '--config', config, '--host', 'nobody');
  await assert.rejects(unknown, { code: 'USAGE' });
});

test("a session's manifest is checked, taken away as a CAR and read back", async () => {
  const policy = await putJson(store, { a: 'policy' });
  const root = await putDocument(store, {
    ...{ version: 1, kind: 'session', chainId: 1, sessionId: '7', owner: '0x01' },
    policy: { cid: policy, bytes: (await store.get(policy)).length },
    ...{ keyrings: [], archive: [], tasks: [], taskCount: 0 },
  });
  const checked = await content('check', root, ...ipfs);
  assert.deepEqual(checked, { ...checked, sessionId: '7', blocks: 2, missing: [] });
  const { blocks } = await content('export', root, '--to', inFolder('session.car'), ...ipfs);
  assert.equal(blocks, 2);
  assert.equal(
    (await content('import', inFolder('session.car'), '--root', root, ...ipfs))['root'],
    root,
  );
  const other = content('import', inFolder('session.car'), '--root', policy, ...ipfs);
  await assert.rejects(other, { code: 'REQUEST_INVALID' });
});
