/** Clients that are slow, silent, huge or no HTTP at all, on raw sockets. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { API_KEY, startWorld, until, type World } from './support.js';

const HEADERS_MS = 1_000;
const REQUEST_MS = 2_000;
/** The server looks at its limits every so often. */
const CLOSED_MS = 30_000;

async function start(t: TestContext): Promise<World> {
  const limits = { headersMs: HEADERS_MS, requestMs: REQUEST_MS };
  const world = await startWorld([{}], { limits });
  t.after(() => world.close());
  return world;
}

interface Raw {
  readonly socket: Socket;
  /** What came back so far. */
  readonly heard: () => string;
  readonly isClosed: () => boolean;
}

function dial(t: TestContext, world: World): Raw {
  const { hostname, port } = new URL(world.router.url);
  const socket = connect({ host: hostname, port: Number(port) });
  t.after(() => socket.destroy());
  let text = '';
  let isClosed = false;
  socket.on('data', (data) => (text += data.toString()));
  // A server that has had enough may reset the connection: it is closed all the same.
  socket.on('error', () => undefined);
  socket.on('close', () => (isClosed = true));
  return { socket, heard: () => text, isClosed: () => isClosed };
}

/** Sends a byte at a time for as long as anybody listens. */
function drip(t: TestContext, raw: Raw, text: string): void {
  let at = 0;
  const timer = setInterval(() => {
    if (raw.isClosed()) clearInterval(timer);
    else raw.socket.write(text[at++ % text.length] ?? 'x');
  }, 20);
  t.after(() => clearInterval(timer));
}

const HEAD =
  'POST /v1/chat/completions HTTP/1.1\r\nhost: router\r\ncontent-type: application/json\r\n' +
  `authorization: Bearer ${API_KEY}\r\n`;

async function isServing(world: World): Promise<void> {
  assert.equal((await world.chat('hi')).status, 200);
  await until(() => world.router.guard.gate.inside === 0, 'every place is free again');
}

test('a head that never ends is cut off, with a word why', async (t) => {
  const world = await start(t);
  const raws = Array.from({ length: 20 }, () => dial(t, world));
  for (const raw of raws) {
    raw.socket.write('GET /v1/models HTTP/1.1\r\nx-slow: ');
    drip(t, raw, 'abc');
  }
  await isServing(world);
  await until(() => raws.every((raw) => raw.isClosed()), 'the end of all of them', CLOSED_MS);
  for (const raw of raws) {
    assert.match(raw.heard(), /^HTTP\/1\.1 408 /);
    assert.match(raw.heard(), /REQUEST_INVALID/);
  }
});

test('a body that never ends is cut off, and gives its place back', async (t) => {
  const world = await start(t);
  const raw = dial(t, world);
  raw.socket.write(`${HEAD}content-length: 1000\r\n\r\n{"model":"`);
  drip(t, raw, 'abc');
  await until(() => world.router.guard.gate.inside === 1, 'the request');
  await until(() => raw.isClosed(), 'its end', CLOSED_MS);
  assert.doesNotMatch(raw.heard(), /^HTTP\/1\.1 200/);
  await isServing(world);
});

test('a connection that says nothing is closed', async (t) => {
  const world = await start(t);
  const raw = dial(t, world);
  await until(() => raw.isClosed(), 'its end', CLOSED_MS);
  await isServing(world);
});

test('a client that closes its half, or vanishes, gives its place back', async (t) => {
  const world = await start(t);
  const body = '{"model":"tiny","messages":[{"role":"user","content":"hi"}],"stream":true}';
  const ask = `${HEAD}content-length: ${body.length}\r\n\r\n${body}`;
  const half = dial(t, world);
  half.socket.end(ask);
  const gone = dial(t, world);
  gone.socket.write(ask, () => gone.socket.resetAndDestroy());
  await until(() => half.isClosed() && gone.isClosed(), 'the end of both', CLOSED_MS);
  await isServing(world);
});

test('a head beyond its limit is 431', async (t) => {
  const world = await start(t);
  const raw = dial(t, world);
  raw.socket.write(
    `GET /v1/models HTTP/1.1\r\nhost: router\r\nx-huge: ${'x'.repeat(40_000)}\r\n\r\n`,
  );
  await until(() => raw.isClosed(), 'its end', CLOSED_MS);
  assert.match(raw.heard(), /^HTTP\/1\.1 431 /);
  await isServing(world);
});

test('what is no HTTP, or two requests in one, is 400', async (t) => {
  const world = await start(t);
  for (const bytes of [
    'let me in\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    'GET /v1/models HTTP/1.1\r\n\r\n',
    'GET /v1/models HTTP/1.1\r\nhost: a b\r\n\r\n',
    `${HEAD}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n`,
    `${HEAD}content-length: 5\r\ncontent-length: 6\r\n\r\nhello!`,
  ]) {
    const raw = dial(t, world);
    raw.socket.end(bytes);
    await until(() => raw.isClosed(), JSON.stringify(bytes), CLOSED_MS);
    assert.match(raw.heard(), /^HTTP\/1\.1 400 /, JSON.stringify(bytes));
    assert.doesNotMatch(raw.heard(), /node:|at .*\.js/);
  }
  await isServing(world);
});

test('deep bodies are refused before anything walks them, brackets in strings are text', async (t) => {
  const world = await start(t);
  for (const open of ['[', '{"a":']) {
    const body = `{"model":"tiny","messages":${open.repeat(9_000)}`;
    const answer = await world.ask('/v1/chat/completions', { method: 'POST', body });
    assert.equal(answer.status, 400);
    assert.match(await answer.text(), /at most 32 levels/);
  }
  assert.equal((await world.chat(`\\"${'[{'.repeat(100)}`)).status, 200);
});

test('bytes that are no UTF-8 are refused in bodies, and harmless in heads and paths', async (t) => {
  const world = await start(t);
  const raw = dial(t, world);
  const body = Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x7d]);
  raw.socket.write(`${HEAD}connection: close\r\ncontent-length: ${body.length}\r\n\r\n`);
  raw.socket.write(body);
  await until(() => raw.isClosed(), 'the answer', CLOSED_MS);
  assert.match(raw.heard(), /^HTTP\/1\.1 400 [^]*PROMPT_INVALID/);
  const strange = dial(t, world);
  const head = 'GET /v1/\xff%ff%c3%28 HTTP/1.1\r\nhost: router\r\nx-request-id: \xff\xfe\r\n';
  strange.socket.write(Buffer.from(`${head}connection: close\r\n\r\n`, 'latin1'));
  await until(() => strange.isClosed(), 'the answer', CLOSED_MS);
  assert.match(strange.heard(), /^HTTP\/1\.1 4\d\d /);
  await isServing(world);
});
