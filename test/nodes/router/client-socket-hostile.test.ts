/** Clients of the WebSocket that are silent, huge, rude or somebody else. */
import assert from 'node:assert/strict';
import { connect as dialTcp, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import type { WebSocket } from 'ws';
import { z } from 'zod';
import { isErrorCode } from '../../../domain/errors.js';
import { STREAM_LIMITS, STREAM_PATH } from '../../../domain/stream.js';
import { chatSchema } from '../../../nodes/router/chat.js';
import { clientMessageSchema } from '../../../nodes/router/client-socket/messages.js';
import { ClientSockets, type SocketTimes } from '../../../nodes/router/client-socket/sockets.js';
import { createHttpServer, listen } from '../../../nodes/router/http-server.js';
import { attachUpgrades } from '../../../nodes/router/upgrades.js';
import { valueOf, wrongValueOf, type JsonSchema } from './schema-values.js';
import { connect, dial, refusalOf, sealedRequest, start, StreamClient } from './stream-client.js';
import { API_KEY, gate, SESSION, until, type World } from './support.js';

const AUTHORISED = { headers: { authorization: `Bearer ${API_KEY}` } };

/** The same router behind a door that is less patient. */
async function impatient(
  t: TestContext,
  { router }: World,
  times: Partial<SocketTimes>,
): Promise<{ readonly url: string; readonly sockets: ClientSockets }> {
  const limits = { headersMs: 10_000, requestMs: 30_000, maxHeaderBytes: 16_384 };
  const server = createHttpServer(router.app, limits);
  const sockets = new ClientSockets({
    routerId: 'impatient',
    app: router.app,
    guard: router.guard,
    limits: { cors: [], maxBodyBytes: 64 * 1024 },
    log: () => undefined,
    times,
  });
  attachUpgrades(server, new Map([[STREAM_PATH, (...args) => sockets.upgrade(...args)]]));
  const port = await listen(server, '127.0.0.1', 0);
  t.after(() => {
    sockets.close();
    server.close();
  });
  return { url: `http://127.0.0.1:${port}`, sockets };
}

async function isServing(t: TestContext, world: World): Promise<void> {
  const client = await dial(t, world.router);
  client.ask('alive', 'hi');
  assert.equal((await client.end('alive')).type, 'ended');
  await until(() => world.router.guard.gate.inside === 0, 'every place is free again');
}

async function isClosedWith(client: StreamClient, code: number): Promise<void> {
  await until(() => client.closed !== null, `the close with ${code}`);
  assert.equal(client.closed?.code, code, client.closed?.reason);
}

test('an upgrade is refused with an error of the API', async (t) => {
  const world = await start(t, [{}], { cors: ['https://app.example'] });
  const { url } = world.router;
  const headers = (more: object) => ({ headers: { ...AUTHORISED.headers, ...more } });
  assert.deepEqual(await refusalOf(url, headers({ authorization: 'Bearer sk-nobody' })), {
    status: 401,
    code: 'API_KEY_INVALID',
  });
  const invalid = { status: 400, code: 'REQUEST_INVALID' };
  assert.deepEqual(await refusalOf(url, AUTHORISED, ['cortensor.v2']), invalid);
  assert.deepEqual(await refusalOf(url, AUTHORISED, []), invalid);
  for (const origin of ['https://evil.example', 'null', 'https://app.example.evil.example']) {
    assert.deepEqual(await refusalOf(url, headers({ origin })), invalid, origin);
  }
  for (const origin of ['https://app.example', url]) {
    const client = new StreamClient(url, headers({ origin }));
    await client.first('ready');
    client.ws.terminate();
  }
  const plain = await world.ask(STREAM_PATH);
  assert.equal(plain.status, 426);
  assert.equal(plain.headers.get('upgrade'), 'websocket');
  assert.match(await plain.text(), /cortensor\.v1/);
});

test('a peer that resets a refused upgrade ends nothing but itself', async (t) => {
  const world = await start(t);
  const { hostname, port } = new URL(world.router.url);
  for (const path of ['/nowhere', STREAM_PATH]) {
    const sockets = Array.from({ length: 10 }, () => dialTcp(Number(port), hostname));
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      const head = `GET ${path} HTTP/1.1\r\nhost: r\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`;
      socket.write(head, () => socket.resetAndDestroy());
    }
    await until(() => sockets.every(({ destroyed }) => destroyed), 'their end');
  }
  await isServing(t, world);
});

test('who does not show a valid key in time, or first, is closed with 1008', async (t) => {
  const world = await start(t);
  const { url } = await impatient(t, world, { authMs: 200 });
  const opened = async (from: string) => {
    const client = new StreamClient(from);
    t.after(() => client.ws.terminate());
    await new Promise((resolve) => client.ws.once('open', resolve));
    return client;
  };
  await isClosedWith(await opened(url), 1008);
  const eager = await opened(world.router.url);
  eager.ask('a', 'hi');
  await isClosedWith(eager, 1008);
  assert.ok(eager.heard.every(({ type }) => type === 'error'));
  const stranger = await opened(world.router.url);
  stranger.send({ type: 'auth', token: 'sk-nobody' });
  await isClosedWith(stranger, 1008);
  assert.match(JSON.stringify(stranger.heard), /API_KEY_INVALID/);
  const long = await opened(world.router.url);
  long.ws.send(JSON.stringify({ type: 'auth', token: 'x'.repeat(20_000) }));
  await isClosedWith(long, 1008);
  assert.equal(world.gateway.submitted.length, 0);
});

test('a socket that gives no sign of life is cut, and its requests give their places back', async (t) => {
  const held = gate();
  const world = await start(t, [{ beforePrecommit: () => held.opened }]);
  t.after(() => held.open());
  const { url, sockets } = await impatient(t, world, { heartbeatMs: 50, silenceMs: 2_000 });
  const half = new StreamClient(url, { ...AUTHORISED, autoPong: false });
  const alive = await dial(t, { url });
  await half.first('ready');
  half.ask('a', 'hi');
  await until(() => half.text('a') !== '', 'its first word');
  await until(() => half.closed !== null, 'its end');
  assert.equal(half.closed?.code, 1006);
  await until(() => world.router.guard.gate.inside === 0, 'its place');
  assert.equal(sockets.count, 1);
  alive.send({ type: 'ping' });
  await alive.first('pong');
});

test('a stream that is left without credit for too long gives its place back', async (t) => {
  const world = await start(t);
  const { url } = await impatient(t, world, { stalledMs: 100 });
  const client = await dial(t, { url });
  client.ask('a', 'one two', { credit: 1, idempotencyKey: 'a' });
  const end = await client.end('a');
  assert.ok(end.type === 'error' && end.error.code === 'ROUTER_BUSY', JSON.stringify(end));
  await until(() => world.router.guard.gate.inside === 0, 'its place');
  const [, first] = client.of('a');
  assert.ok(first?.type === 'delta');
  client.ask('b', 'one two', { idempotencyKey: 'a', after: first.index });
  assert.equal((await client.end('b')).type, 'ended');
});

test('messages that are too long, no UTF-8, no text or no frames close the socket', async (t) => {
  const world = await start(t);
  const closing: readonly [number, (client: StreamClient) => void][] = [
    [1009, ({ ws }) => ws.send('x'.repeat(100_000))],
    [1009, (client) => client.ask('a', 'x'.repeat(2_000_000))],
    [1007, ({ ws }) => ws.send(Buffer.from([0x22, 0xc3, 0x28, 0x22]), { binary: false })],
    [1003, ({ ws }) => ws.send(Buffer.from('{"type":"ping"}'), { binary: true })],
    // Not masked, a reserved bit, and a fragment of nothing.
    [1002, ({ ws }) => tcpOf(ws).write(Buffer.from([0x81, 0x01, 0x61]))],
    [1002, ({ ws }) => tcpOf(ws).write(Buffer.from([0xf1, 0x80, 0, 0, 0, 0]))],
    [1002, ({ ws }) => tcpOf(ws).write(Buffer.from([0x80, 0x80, 0, 0, 0, 0]))],
  ];
  for (const [code, misbehave] of closing) {
    const client = await dial(t, world.router);
    misbehave(client);
    await isClosedWith(client, code);
  }
  await isServing(t, world);
});

/** The connection under a WebSocket of the `ws` package. */
function tcpOf(ws: WebSocket): Socket {
  return (ws as unknown as { readonly _socket: Socket })._socket;
}

test('what is not understood gets one error and changes nothing, until it is too often', async (t) => {
  const held = gate();
  const world = await start(t, [{ beforePrecommit: () => held.opened }]);
  const client = await dial(t, world.router);
  client.ask('a', 'one two');
  await until(() => client.text('a') === 'You said: one two', 'its text');
  const wrong: readonly (readonly [unknown, string | null, boolean])[] = [
    [{ type: 'ask', kind: 'chat', id: 'a', session: SESSION, body: {} }, 'a', false],
    [{ type: 'resume', kind: 'chat', id: 'a', session: SESSION, taskId: '0x1' }, 'a', false],
    [{ type: 'ask', kind: 'chat', id: 'n', session: 'x', body: {} }, 'n', true],
    [{ type: 'ask', kind: 'loud', id: 'n', session: SESSION, body: {} }, 'n', true],
    [{ type: 'credit', id: 'a', more: -1 }, 'a', false],
    [{ type: 'cancel', id: 'nobody' }, 'nobody', false],
    [{ type: 'credit', id: 'nobody', more: 1 }, 'nobody', false],
    [{ type: 'auth', token: 'again' }, null, false],
    [{ type: 'ping', extra: true }, null, false],
    [{ type: 'ready' }, null, false],
    [{ type: 'cancel', id: '\u0000' }, null, false],
    [[], null, false],
    [null, null, false],
    ['text', null, false],
  ];
  for (const [message, id, ends] of wrong) {
    const before = client.heard.length;
    client.ws.send(JSON.stringify(message));
    await until(() => client.heard.length > before, JSON.stringify(message));
    const error = client.heard[before];
    assert.ok(error?.type === 'error', JSON.stringify(error));
    assert.deepEqual([error.id, error.ends], [id, ends], JSON.stringify(message));
    assert.equal(error.error.code, 'REQUEST_INVALID');
  }
  for (const text of [
    '{',
    '',
    `{"type":"ping","deep":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
  ]) {
    const before = client.heard.length;
    client.ws.send(text);
    await until(() => client.heard.length > before, 'an error');
  }
  held.open();
  assert.equal((await client.end('a')).type, 'ended');
  for (let i = 0; i < STREAM_LIMITS.faults; i++) client.ws.send('no');
  await isClosedWith(client, 1008);
});

test('requests, sessions and tasks of another are out of reach', async (t) => {
  const held = gate();
  const world = await start(t, [{ beforePrecommit: () => held.opened }]);
  const owner = await dial(t, world.router);
  owner.ask('a', 'one two');
  const { taskId } = await owner.first('accepted');
  const other = await connect(world.router.url, 'sk-other');
  t.after(() => other.ws.terminate());
  other.send({ type: 'cancel', id: 'a' });
  await until(() => other.of('a').length === 1, 'its error');
  for (const kind of ['chat', 'sealed'] as const) {
    other.send({ type: 'resume', kind, id: kind, session: SESSION, taskId });
    const end = await other.end(kind);
    assert.ok(end.type === 'error' && end.error.code === 'API_KEY_INVALID', JSON.stringify(end));
  }
  const mine = { id: 'm', session: '4712', taskId } as const;
  other.send({ type: 'resume', kind: 'chat', ...mine });
  const end = await other.end('m');
  assert.ok(end.type === 'error' && end.error.code !== 'INTERNAL', JSON.stringify(end));
  assert.ok(!JSON.stringify(other.heard).includes('You'));
  held.open();
  assert.equal((await owner.end('a')).type, 'ended');
});

test('of ten thousand asks on one socket, each has one last message, and few are served at once', async (t) => {
  // While it reads them, one process is all of this: router, miner and client.
  const world = await start(t, [{}], { firstTokenMs: 60_000 });
  const client = await dial(t, world.router);
  const { gate: door } = world.router.guard;
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, door.inside)), 1);
  t.after(() => clearInterval(watch));
  for (let i = 0; i < 10_000; i++) client.ask(`${i}`, 'hi');
  const lasts = () =>
    client.heard.filter((m) => m.type === 'ended' || (m.type === 'error' && m.ends));
  await until(() => lasts().length >= 10_000, 'the end of all', 60_000);
  client.send({ type: 'ping' });
  await client.first('pong');
  const ids = lasts().map((m) => ('id' in m ? m.id : null));
  assert.equal(new Set(ids).size, 10_000);
  assert.equal(ids.length, 10_000);
  const refused = client.heard.flatMap((m) => (m.type === 'error' ? [m.error.code] : []));
  assert.deepEqual([...new Set(refused)], ['RATE_LIMITED']);
  assert.ok(most <= STREAM_LIMITS.requests, `${most} at once`);
  assert.ok(refused.length < 10_000);
  await isServing(t, world);
});

const RUNS = Number(process.env['STREAM_FUZZ_RUNS'] ?? 150);

test('no message makes a router fail in a way that is not its own, or leaves a request open', async (t) => {
  const world = await start(t);
  const messages = z.toJSONSchema(clientMessageSchema, { io: 'input', unrepresentable: 'any' });
  const bodies = valueOf(z.toJSONSchema(chatSchema, { io: 'input' }) as JsonSchema);
  const sealed = await sealedRequest(world, 'fuzz');
  const schema = messages as JsonSchema;
  const text = fc.oneof(
    { weight: 6, arbitrary: fc.oneof(valueOf(schema), wrongValueOf(schema)) },
    { weight: 2, arbitrary: fc.record({ ...ask('chat'), body: bodies }) },
    { weight: 1, arbitrary: fc.record({ ...ask('sealed'), body: fc.constant(sealed) }) },
  );
  const raw = fc.oneof(
    { weight: 8, arbitrary: text.map((value) => JSON.stringify(value)) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
  );
  let client = await dial(t, world.router);
  await fc.assert(
    fc.asyncProperty(raw, async (message) => {
      if (client.closed !== null) client = await dial(t, world.router);
      client.ws.send(message);
      client.send({ type: 'ping' });
      const pongs = () => client.heard.filter(({ type }) => type === 'pong').length;
      const before = pongs();
      await until(() => pongs() > before || client.closed !== null, message);
      const ids = client.heard.flatMap((m) => (m.type === 'accepted' ? [m.id] : []));
      for (const id of client.closed === null ? ids : [])
        client.send({ type: 'credit', id, more: 9 });
      await until(() => world.router.guard.gate.inside === 0, message);
      for (const heard of client.heard.splice(0)) {
        if (heard.type !== 'error') continue;
        assert.ok(isErrorCode(heard.error.code) && heard.error.code !== 'INTERNAL', message);
      }
      assert.ok(client.closed === null || client.closed.code === 1008, message);
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
});

function ask(kind: 'chat' | 'sealed') {
  return {
    type: fc.constant('ask'),
    kind: fc.constant(kind),
    id: fc.constantFrom('a', 'b', 'c'),
    session: fc.constantFrom(SESSION, '4712'),
  };
}
