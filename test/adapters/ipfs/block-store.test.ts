import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import {
  getJson,
  MAX_BLOCK_BYTES,
  openBlockStore,
  putJson,
} from '../../../adapters/ipfs/block-store.js';
import { cidOf } from '../../../adapters/ipfs/cid.js';
import { startKubo } from '../../../servers/start/index.js';

const data = await mkdtemp(join(tmpdir(), 'cortensor-ipfs-'));
const kubo = await startKubo({ data });
const fakes: Server[] = [];
after(async () => {
  for (const fake of fakes) fake.closeAllConnections();
  for (const fake of fakes) fake.close();
  await kubo.stop();
  await rm(data, { recursive: true });
});
const store = openBlockStore({ apiUrl: kubo.apiUrl, timeoutMs: 20_000 });
const block = new TextEncoder().encode('a block');

/** Something that answers like a Kubo that is wrong, slow or broken. */
async function fakeKubo(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  fakes.push(server);
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function kuboApi(path: string): Promise<string> {
  return (await fetch(`${kubo.apiUrl}/api/v0/${path}`, { method: 'POST' })).text();
}

test('a block reads back under the CID of its bytes, and survives garbage collection', async () => {
  const cid = await store.put(block);
  assert.equal(cid, cidOf(block));
  await kuboApi('repo/gc');
  assert.deepEqual(await store.get(cid), block);
});

test('a block of every size up to 1 MiB reads back, and a larger one is refused', async () => {
  for (const size of [0, 1, 262_145, MAX_BLOCK_BYTES]) {
    const bytes = new Uint8Array(size).fill(size % 256);
    assert.deepEqual(await store.get(await store.put(bytes)), bytes);
  }
  const tooLarge = store.put(new Uint8Array(MAX_BLOCK_BYTES + 1));
  await assert.rejects(tooLarge, { code: 'CONTENT_TOO_LARGE' });
});

test('a block larger than the reader allows is refused', async () => {
  const cid = await store.put(new Uint8Array(100));
  await assert.rejects(store.get(cid, { maxBytes: 99 }), { code: 'CONTENT_TOO_LARGE' });
  assert.equal((await store.get(cid, { maxBytes: 100 })).length, 100);
});

test('an unpinned block is collected, and giving it up again is no error', async () => {
  const cid = await store.put(new TextEncoder().encode('forget me'));
  await store.unpin(cid);
  await store.unpin(cid);
  await kuboApi('repo/gc');
  await assert.rejects(store.get(cid), { code: 'CONTENT_MISSING' });
});

test('a document reads back through its parser, and a block that is no JSON is refused', async () => {
  const cid = await putJson(store, { b: 1, a: [true, null, 'text'] });
  const parse = (value: unknown): string => JSON.stringify(value);
  assert.equal(await getJson(store, cid, parse), '{"a":[true,null,"text"],"b":1}');
  const text = await store.put(block);
  await assert.rejects(getJson(store, text, parse), { code: 'REQUEST_INVALID' });
});

test('hundreds of calls at once all succeed', async () => {
  const blocks = Array.from({ length: 200 }, (_, i) => new TextEncoder().encode(`block ${i}`));
  const cids = await Promise.all(blocks.map((bytes) => store.put(bytes)));
  const read = await Promise.all(cids.map((cid) => store.get(cid)));
  assert.deepEqual(read, blocks);
});

test('bytes that are not those of the CID are an error and never data', async () => {
  const apiUrl = await fakeKubo((_, response) => response.end('other bytes'));
  const liar = openBlockStore({ apiUrl, timeoutMs: 2_000 });
  await assert.rejects(liar.get(cidOf(block)), { code: 'CONTENT_MISMATCH' });
});

test('a Kubo that stores bytes under another CID is caught', async () => {
  const apiUrl = await fakeKubo((request, response) => {
    request.resume().on('end', () => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ Key: cidOf(new Uint8Array(1)), Size: 1 }));
    });
  });
  const liar = openBlockStore({ apiUrl, timeoutMs: 2_000 });
  await assert.rejects(liar.put(block), { code: 'CONTENT_MISMATCH' });
});

test('a block that a Kubo which is there does not find in time is missing', async () => {
  const apiUrl = await fakeKubo((request, response) => {
    response.setHeader('content-type', 'application/json');
    if (request.url?.includes('/version')) response.end('{"Version":"0.42.0"}');
  });
  const slow = openBlockStore({ apiUrl, timeoutMs: 1_000 });
  const started = performance.now();
  await assert.rejects(slow.get(cidOf(block)), { code: 'CONTENT_MISSING' });
  assert.ok(performance.now() - started < 20_000);
});

test('a Kubo that is down, hangs or fails is unreachable, never a missing block', async () => {
  const down = openBlockStore({ apiUrl: 'http://127.0.0.1:1', timeoutMs: 500 });
  const hanging = openBlockStore({ apiUrl: await fakeKubo(() => {}), timeoutMs: 200 });
  const failing = openBlockStore({
    apiUrl: await fakeKubo((request, response) => {
      request.resume();
      response.writeHead(404).end('404 page not found');
    }),
    timeoutMs: 500,
  });
  for (const broken of [down, hanging, failing]) {
    await assert.rejects(broken.get(cidOf(block)), { code: 'IPFS_UNREACHABLE' });
    await assert.rejects(broken.put(block), { code: 'IPFS_UNREACHABLE' });
    await assert.rejects(broken.unpin(cidOf(block)), { code: 'IPFS_UNREACHABLE' });
  }
});

test('a caller that gives up gets its own reason back', async () => {
  const hanging = openBlockStore({ apiUrl: await fakeKubo(() => {}), timeoutMs: 10_000 });
  const reason = new Error('no longer needed');
  const early = AbortSignal.abort(reason);
  await assert.rejects(hanging.get(cidOf(block), { signal: early }), reason);
  const controller = new AbortController();
  const reading = hanging.get(cidOf(block), { signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(reading, reason);
});
