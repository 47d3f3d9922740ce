import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { after } from 'node:test';
import { cidOf } from '../../../adapters/ipfs/cid.js';
import { openRawWriter } from '../../../adapters/ipfs/raw-writer.js';

const PART = /filename="\d+"\r\ncontent-type: application\/octet-stream\r\n\r\n(block \d+)\r\n/g;
const servers: Server[] = [];
after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

/** Something that reads what it is sent as Kubo does, and leaves the answer to the test. */
async function fakeKubo(answer: (keys: string[], response: ServerResponse) => void) {
  const requests: string[][] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (part: string) => (body += part));
    request.on('end', () => {
      const keys = [...body.matchAll(PART)].map(([, text]) => cidOf(Buffer.from(text ?? '')));
      requests.push(keys);
      answer(keys, response);
    });
  }).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const apiUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { apiUrl, requests };
}

const lines = (keys: readonly string[]): string =>
  keys.map((Key) => `${JSON.stringify({ Key, Size: 1 })}\n`).join('');
const blocks = (count: number) =>
  Array.from({ length: count }, (_, i) => {
    const bytes = Buffer.from(`block ${i}`);
    return { bytes, cid: cidOf(bytes) };
  });

test('what is written together travels together, and each block is answered for itself', async () => {
  const { apiUrl, requests } = await fakeKubo((keys, response) => response.end(lines(keys)));
  const write = openRawWriter({ apiUrl, timeoutMs: 5_000 });
  await Promise.all(blocks(100).map(({ cid, bytes }) => write(cid, bytes, {})));
  assert.deepEqual(
    requests.map((keys) => keys.length).toSorted((a, b) => b - a),
    [64, 36],
  );
});

test('blocks that Kubo did not answer for are not written, and the others are', async () => {
  const { apiUrl } = await fakeKubo((keys, response) => {
    response.end(`${lines(keys.slice(0, 2))}{"Message":"disk full","Code":0,"Type":"error"}\n`);
  });
  const write = openRawWriter({ apiUrl, timeoutMs: 5_000 });
  const written = await Promise.allSettled(
    blocks(4).map(({ cid, bytes }) => write(cid, bytes, {})),
  );
  assert.deepEqual(
    written.map((w) => (w.status === 'rejected' ? (w.reason as { code: string }).code : null)),
    [null, null, 'IPFS_UNREACHABLE', 'IPFS_UNREACHABLE'],
  );
});

test('answers in another order are no answers', async () => {
  const { apiUrl } = await fakeKubo((keys, response) => response.end(lines(keys.toReversed())));
  const write = openRawWriter({ apiUrl, timeoutMs: 5_000 });
  const written = await Promise.allSettled(
    blocks(2).map(({ cid, bytes }) => write(cid, bytes, {})),
  );
  for (const outcome of written) {
    assert.equal(outcome.status, 'rejected');
    assert.equal((outcome.reason as { code: string }).code, 'CONTENT_MISMATCH');
  }
});

test('one that gives up while it waits is not sent, and the others are', async () => {
  const held: (() => void)[] = [];
  const { apiUrl, requests } = await fakeKubo((keys, response) => {
    if (controller.signal.aborted) response.end(lines(keys));
    else held.push(() => response.end(lines(keys)));
    // Two requests are under way, and the rest waits behind them.
    if (held.length === 2) controller.abort(reason);
  });
  const controller = new AbortController();
  const reason = new Error('no longer needed');
  const write = openRawWriter({ apiUrl, timeoutMs: 5_000 });
  const [first, second, third, fourth] = blocks(4);
  assert.ok(first && second && third && fourth);
  const begun = [write(first.cid, first.bytes, {})];
  await new Promise((resolve) => setImmediate(resolve));
  begun.push(write(second.cid, second.bytes, {}));
  await new Promise((resolve) => setImmediate(resolve));
  const dropped = write(third.cid, third.bytes, { signal: controller.signal });
  begun.push(write(fourth.cid, fourth.bytes, {}));
  await assert.rejects(dropped, reason);
  for (const answer of held) answer();
  await Promise.all(begun);
  assert.deepEqual(requests.flat().toSorted(), [first.cid, second.cid, fourth.cid].toSorted());
});
