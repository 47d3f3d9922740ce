/** The SDK over one WebSocket, against a router. */
import assert from 'node:assert/strict';
import { connect as dialTcp, createServer, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { createIdentity } from '../../adapters/seal/identity.js';
import type { SealingLevel } from '../../domain/sealing.js';
import type { SessionView } from '../../domain/session.js';
import { CortensorClient, EngineError, type SessionHandle } from '../../sdk/index.js';
import { exportKeyring } from '../../sdk/session.js';
import type { Script } from '../nodes/router/scripted-miner.js';
import { API_KEY, gate, SESSION, startWorld, until, type World } from '../nodes/router/support.js';

interface Started {
  readonly world: World;
  readonly client: CortensorClient;
  readonly session: SessionHandle;
}

async function start(
  t: TestContext,
  level: SealingLevel = 'link',
  script: Script = {},
): Promise<Started> {
  const world = await startWorld([script], { policy: { level } });
  t.after(() => world.close());
  const { policy, owner } = world.lease;
  const view = { sessionId: SESSION, owner, policy, state: 'Open' } as SessionView;
  world.gateway.views.set(SESSION, view);
  const { identity, recipient } = await createIdentity();
  const client = new CortensorClient({ baseUrl: world.router.url, apiKey: API_KEY, identity });
  const isSealed = level.startsWith('sealed');
  const session = isSealed
    ? await client.importSession(await exportKeyring(world.keyring, recipient))
    : await client.session(SESSION);
  return { world, client, session };
}

/** A way to a router that can be cut, and closed. */
async function proxy(t: TestContext, target: string) {
  const { port, hostname } = new URL(target);
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer((near) => {
    count++;
    const far = dialTcp(Number(port), hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => sockets.forEach((socket) => socket.destroy());
  t.after(() => {
    cut();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => count,
    cut,
    close: () => {
      server.close();
      cut();
    },
  };
}

async function textOf(stream: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const delta of stream) text += delta;
  return text;
}

for (const level of ['open', 'link', 'sealed', 'sealed-pq'] as const) {
  test(`at level ${level}, many asks share one socket and are answered as over HTTP`, async (t) => {
    const { world, client, session } = await start(t, level);
    const way = await proxy(t, world.router.url);
    const socket = client.socket({ urls: [way.url], WebSocket });
    t.after(() => socket.close());
    const prompts = Array.from({ length: 8 }, (_, i) => `prompt ${i}`);
    const streams = prompts.map((prompt, i) =>
      session.ask(prompt, { socket, idempotencyKey: `key ${i}`.replace(' ', '-') }),
    );
    assert.deepEqual(
      await Promise.all(streams.map(textOf)),
      prompts.map((prompt) => `You said: ${prompt}`),
    );
    const [over] = await Promise.all(streams.map(({ done }) => done));
    const { done } = session.ask('prompt 0', { idempotencyKey: 'key-0' });
    assert.deepEqual(over, await done);
    assert.equal(world.gateway.ends.length, prompts.length);
  });

  test(`at level ${level}, an answer goes on at another router when its connection is lost`, async (t) => {
    const words = gate();
    const { world, client, session } = await start(t, level, {
      beforeFrame: (seq) => (seq === 3 ? words.opened : undefined),
    });
    const first = await proxy(t, world.router.url);
    const second = await proxy(t, world.router.url);
    const socket = client.socket({ urls: [first.url, second.url], WebSocket });
    t.after(() => socket.close());
    const stream = session.ask('one two three four five', { socket });
    const deltas: string[] = [];
    const reading = (async () => {
      for await (const delta of stream) deltas.push(delta);
    })();
    await until(() => deltas.length >= 3, 'the first words');
    first.close();
    await until(() => second.connections() > 0, 'the other way');
    words.open();
    await reading;
    assert.deepEqual(deltas, ['You ', 'said: ', 'one ', 'two ', 'three ', 'four ', 'five']);
    assert.equal((await stream.done).text, 'You said: one two three four five');
    assert.equal(world.gateway.ends.length, 1);
  });
}

test('a connection that is lost again and again loses nothing and repeats nothing', async (t) => {
  const steps = Array.from({ length: 30 }, () => gate());
  const { world, client, session } = await start(t, 'sealed', {
    beforeFrame: (seq) => steps[seq]?.opened,
  });
  const way = await proxy(t, world.router.url);
  const socket = client.socket({ urls: [way.url], WebSocket });
  t.after(() => socket.close());
  const prompt = Array.from({ length: 28 }, (_, i) => `${i}`).join(' ');
  const stream = session.ask(prompt, { socket });
  let heard = 0;
  const reading = (async () => {
    let text = '';
    for await (const delta of stream) {
      heard++;
      text += delta;
    }
    return text;
  })();
  for (const [i, step] of steps.entries()) {
    step.open();
    await until(() => heard > i, `word ${i}`, 30_000);
    if (i % 4 === 3) way.cut();
  }
  assert.equal(await reading, `You said: ${prompt}`);
  assert.equal(world.gateway.ends.length, 1);
  assert.ok(way.connections() >= 7, `${way.connections()} connections`);
});

test('more asks than a router takes of one socket wait for each other', async (t) => {
  const { world, client, session } = await start(t);
  const socket = client.socket({ urls: [world.router.url], WebSocket });
  t.after(() => socket.close());
  const asks = Array.from({ length: 150 }, (_, i) => session.ask(`${i}`, { socket }).done);
  const texts = (await Promise.all(asks)).map(({ text }) => text);
  assert.deepEqual(
    texts,
    asks.map((_, i) => `You said: ${i}`),
  );
});

test('whoever stops listening ends neither the task nor the others', async (t) => {
  const held = gate();
  const { world, client, session } = await start(t, 'link', {
    beforePrecommit: () => held.opened,
  });
  const socket = client.socket({ urls: [world.router.url], WebSocket });
  t.after(() => socket.close());
  const abort = new AbortController();
  const left = session.ask('left', { socket, signal: abort.signal });
  const other = session.ask('other', { socket });
  for await (const _ of left) break;
  abort.abort(new Error('enough'));
  await assert.rejects(left.done, /enough/);
  held.open();
  assert.equal((await other.done).text, 'You said: other');
  await until(() => world.gateway.ends.length === 2, 'both ends');
  assert.deepEqual(
    world.gateway.ends.map(({ outcome }) => outcome),
    ['completed', 'completed'],
  );
});

test('a router that is being stopped is left, for the next one', async (t) => {
  const { world, client, session } = await start(t);
  const next = await start(t);
  const urls = [world.router.url, next.world.router.url];
  const socket = client.socket({ urls, WebSocket });
  t.after(() => socket.close());
  await session.ask('here', { socket }).done;
  const drained = world.router.drain();
  assert.equal((await session.ask('there', { socket }).done).text, 'You said: there');
  await drained;
  assert.equal(world.gateway.ends.length, 1);
  assert.equal(next.world.gateway.ends.length, 1);
});

test('what cannot work says so', async (t) => {
  const { world, client, session } = await start(t);
  const isCode = (code: string) => (error: unknown) =>
    error instanceof EngineError && error.code === code;
  const known = (globalThis as { WebSocket?: unknown }).WebSocket;
  if (known === undefined) assert.throws(() => client.socket(), isCode('USAGE'));
  const stranger = new CortensorClient({ baseUrl: world.router.url, apiKey: 'sk-nobody' });
  const refused = stranger.socket({ WebSocket });
  await assert.rejects(session.ask('hi', { socket: refused }).done, isCode('API_KEY_INVALID'));
  const closed = client.socket({ WebSocket });
  closed.close();
  await assert.rejects(session.ask('hi', { socket: closed }).done, isCode('USAGE'));
});
