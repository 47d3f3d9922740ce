/** Clients that ask for much and read nothing: what waits for them stays where it is kept anyway. */
import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { connect as dialTcp, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { TaskId } from '../../../domain/ids.js';
import { STREAM_PATH } from '../../../domain/stream.js';
import type { ChatRequest } from '../../../domain/task.js';
import { ClientSockets } from '../../../nodes/router/client-socket/sockets.js';
import { createHttpServer, listen } from '../../../nodes/router/http-server.js';
import { attachUpgrades } from '../../../nodes/router/upgrades.js';
import { collect } from '../../support/collect.js';
import { connect, type StreamClient } from './stream-client.js';
import { API_KEY, gate, SESSION, startWorld, until, type World } from './support.js';

const READERS = Number(process.env['SLOW_READERS'] ?? 24);
/** As much as a miner may stream for the tokens that were asked for. */
const WORDS = 4_096;
const ANSWER = Array.from({ length: WORDS }, (_, i) => `${i}-${'x'.repeat(680)} `).join('');
/** Of the events, from the first: who answers, the words, the end of the stream, and that of the task. */
const INDEXES = Array.from({ length: WORDS + 3 }, (_, i) => i);
/** What the kernel takes of one connection before it says no is none of the router's memory. */
const UNSENT_BYTES = 512 * 1024;
/** What a reader may cost, its connection and all: a tenth of what it has asked for. */
const READER_BYTES = 450 * 1024;

interface Door {
  readonly world: World;
  readonly url: string;
  /** The server's ends of all connections. */
  readonly connections: Set<Socket>;
  readonly taskId: TaskId;
  /** Lets the task end. */
  readonly finish: () => void;
}

/** A router with one long answer, all of which is streamed, behind a door that can be looked at. */
async function start(t: TestContext, stalledMs?: number): Promise<Door> {
  const held = gate();
  const script = {
    answer: ({ messages }: Pick<ChatRequest, 'messages'>) => messages[0]?.content ?? '',
    // More than fits a commitment, which is not what this is about.
    streams: (answer: string) => (answer === 'much' ? ANSWER : answer),
    beforePrecommit: () => held.opened,
  };
  // Patience for as long as a test takes.
  const options = { firstTokenMs: 120_000, policy: { taskSeconds: 120 } };
  const world = await startWorld([script], options);
  const limits = { headersMs: 10_000, requestMs: 30_000, maxHeaderBytes: 16_384 };
  const { app, guard } = world.router;
  const server: Server = createHttpServer(app, limits, stalledMs);
  const sockets = new ClientSockets({
    routerId: 'watched',
    app,
    guard,
    limits: { cors: [], maxBodyBytes: 64 * 1024 },
    log: () => undefined,
  });
  attachUpgrades(server, new Map([[STREAM_PATH, (...args) => sockets.upgrade(...args)]]));
  const connections = new Set<Socket>();
  server.on('connection', (socket) => {
    connections.add(socket);
    socket.on('close', () => connections.delete(socket));
  });
  const url = `http://127.0.0.1:${await listen(server, '127.0.0.1', 0)}`;
  t.after(async () => {
    held.open();
    sockets.close();
    server.closeAllConnections();
    server.close();
    await world.close();
  });
  const reader = await connect(world.router.url);
  t.after(() => reader.ws.terminate());
  reader.ask('much', '', {
    body: { model: 'tiny', messages: [{ role: 'user', content: 'much' }], max_tokens: WORDS },
  });
  const { taskId } = await reader.first('accepted');
  await until(() => reader.of('much').length >= WORDS, 'all of it', 30_000);
  reader.ws.terminate();
  return { world, url, connections, taskId, finish: held.open };
}

function fromFirst(numbers: readonly number[]): readonly number[] {
  const [first = 0] = numbers;
  return numbers.map((number) => number - first);
}

/** Bytes that are alive, once all that is not has gone. */
function alive(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const unsent = ({ connections }: Door) => [...connections].map((socket) => socket.writableLength);

/** Waits until nothing has moved for many looks: what the kernel takes, it has taken. Looks count, not
 * time, which passes as well while this process is not scheduled. */
async function settled(door: Door): Promise<void> {
  const written = () =>
    [...door.connections].reduce((sum, { bytesWritten }) => sum + bytesWritten, 0);
  let last = -1;
  let still = 0;
  await until(
    () => {
      still = written() === last ? still + 1 : 0;
      last = written();
      return still > 100;
    },
    'an end of the writing',
    60_000,
  );
}

/** Asks for the whole answer over server-sent events, and reads none of it. */
function sseReader(t: TestContext, { url, taskId }: Door): Socket {
  const { hostname, port } = new URL(url);
  const socket = dialTcp(Number(port), hostname);
  t.after(() => socket.destroy());
  socket.on('error', () => undefined);
  socket.write(
    `GET /api/v1/sessions/${SESSION}/tasks/${taskId}/events HTTP/1.1\r\nhost: r\r\n` +
      `authorization: Bearer ${API_KEY}\r\nconnection: close\r\n\r\n`,
  );
  return socket;
}

async function others(t: TestContext, door: Door): Promise<void> {
  const client: StreamClient = await connect(door.url);
  t.after(() => client.ws.terminate());
  client.ask('a', 'little');
  await until(() => client.text('a') === 'little', 'an answer to somebody else');
  client.ws.terminate();
}

test('readers of server-sent events that stop leave the answer where it is, and lose nothing', async (t) => {
  const door = await start(t);
  const before = alive();
  const readers = Array.from({ length: READERS }, () => sseReader(t, door));
  await until(() => door.world.router.guard.gate.inside >= READERS, 'all of them', 30_000);
  await settled(door);
  assert.equal(unsent(door).length, READERS);
  assert.ok(
    unsent(door).every((bytes) => bytes > 0),
    'every one of them is behind',
  );
  const most = Math.max(...unsent(door));
  const grown = alive() - before;
  t.diagnostic(`${READERS} readers: ${most} bytes unsent at most, ${grown} bytes more alive`);
  assert.ok(most < UNSENT_BYTES, `${most} bytes unsent`);
  assert.ok(grown < READERS * READER_BYTES, `${grown} bytes more`);
  await others(t, door);

  // One that reads after all gets everything.
  const [late] = readers;
  assert.ok(late);
  let text = '';
  late.on('data', (data: Buffer) => (text += data.toString('latin1')));
  door.finish();
  await until(() => text.includes('"type":"ended"'), 'the end', 30_000);
  const ids = [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
  assert.deepEqual(fromFirst(ids), INDEXES);
});

test('a WebSocket that is not read holds up its own streams, and loses nothing', async (t) => {
  const door = await start(t);
  const slow = await connect(door.url);
  t.after(() => slow.ws.terminate());
  const before = alive();
  slow.ws.pause();
  const flow = { session: SESSION, taskId: door.taskId } as const;
  for (let i = 0; i < READERS; i++) {
    slow.send({ type: 'resume', kind: 'sealed', id: `${i}`, ...flow });
  }
  // With nobody to read the answers, it is not listened to for long.
  for (let i = 0; i < 20_000; i++) slow.send({ type: 'ping' });
  await until(() => door.world.router.guard.gate.inside >= READERS, 'all of them', 30_000);
  await settled(door);
  const most = Math.max(...unsent(door));
  // What the client itself has not got rid of yet is in this process too.
  const grown = alive() - before - slow.ws.bufferedAmount;
  t.diagnostic(`${READERS} streams: ${most} bytes unsent, ${grown} bytes more alive`);
  assert.ok(most > 0, 'it is behind');
  assert.ok(most < UNSENT_BYTES, `${most} bytes unsent`);
  assert.ok(grown < READERS * READER_BYTES, `${grown} bytes more`);
  await others(t, door);

  door.finish();
  slow.ws.resume();
  for (let i = 0; i < READERS; i++) {
    assert.equal((await slow.end(`${i}`)).type, 'ended');
    const indexes = slow.of(`${i}`).flatMap((m) => ('index' in m ? [m.index] : []));
    assert.deepEqual(fromFirst(indexes), INDEXES);
  }
  const pongs = () => slow.heard.filter(({ type }) => type === 'pong').length;
  await until(() => pongs() === 20_000, 'every pong', 30_000);
});

test('a reader that takes nothing for too long is cut off, and gives its place back', async (t) => {
  const door = await start(t, 300);
  const socket = sseReader(t, door);
  await until(() => door.world.router.guard.gate.inside > 0, 'its place');
  await until(() => door.connections.size === 0, 'its end', 20_000);
  await until(() => door.world.router.guard.gate.inside === 0, 'the place');
  assert.ok(!socket.destroyed || socket.errored === null);
  // Nobody is cut off who waits for an answer that is not ready.
  const waiting = await connect(door.url);
  t.after(() => waiting.ws.terminate());
  const asked = fetch(`${door.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'hi' }] }),
  });
  const pause = setTimeout(door.finish, 1_500);
  t.after(() => clearTimeout(pause));
  const answer = await asked;
  assert.equal(answer.status, 200, await answer.text());
});
