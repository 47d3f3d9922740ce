import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openChannel } from '../../../adapters/seal/channel.js';
import { UNRESTRICTED } from '../../../domain/config.js';
import type { TaskId } from '../../../domain/ids.js';
import { STREAM_LIMITS, type ServerMessage } from '../../../domain/stream.js';
import type { StreamEvent } from '../../../domain/task.js';
import type { TaskStreamEvent } from '../../../domain/wire.js';
import { dial, sealedRequest, start, StreamClient } from './stream-client.js';
import { API_KEY, gate, readSse, SESSION, sha256, textOf, until } from './support.js';

const codeOf = (message: ServerMessage) => (message.type === 'error' ? message.error.code : null);

test('many requests on one socket are answered each under its own id, at level open and link', async (t) => {
  for (const level of ['open', 'link'] as const) {
    const world = await start(t, [{}, {}], { policy: { level, redundancy: 2 } });
    const client = await dial(t, world.router);
    const ids = Array.from({ length: 20 }, (_, i) => `request-${i}`);
    for (const id of ids) client.ask(id, `this is ${id}`);
    for (const id of ids) {
      const end = await client.end(id);
      assert.ok(end.type === 'ended' && end.kind === 'chat', JSON.stringify(end));
      assert.equal(end.outcome, 'completed');
      assert.equal(end.finishReason, 'stop');
      assert.deepEqual(end.usage, { promptTokens: 5, completionTokens: 7 });
      assert.equal(client.text(id), `You said: this is ${id}`);
      const [accepted] = client.of(id);
      assert.ok(accepted?.type === 'accepted');
      assert.equal(accepted.taskId, end.taskId);
      assert.equal(client.of(id).at(-1), end);
    }
    await until(() => world.router.guard.gate.inside === 0, 'every place is free again');
  }
});

test('the last event comes after the record', async (t) => {
  const world = await start(t);
  const completed = gate();
  world.gateway.beforeComplete = () => completed.opened;
  const client = await dial(t, world.router);
  client.ask('a', 'hi');
  await until(() => world.gateway.completed.length === 1, 'the completion');
  client.send({ type: 'ping' });
  await client.first('pong');
  assert.equal(client.text('a'), 'You said: hi');
  assert.ok(client.of('a').every(({ type }) => type !== 'ended'));
  completed.open();
  assert.equal((await client.end('a')).type, 'ended');
});

test('a sealed request goes through as ciphertext, and is opened by its client', async (t) => {
  const world = await start(t, [{}], { policy: { level: 'sealed' } });
  const client = await dial(t, world.router);
  const body = await sealedRequest(world, 'k1');
  client.send({ type: 'ask', kind: 'sealed', id: 's', session: SESSION, body });
  const end = await client.end('s');
  assert.ok(end.type === 'ended' && end.kind === 'sealed', JSON.stringify(end));
  assert.equal(end.event.outcome, 'completed');
  const events = client.of('s').flatMap((message) => (message.type === 'event' ? [message] : []));
  assert.deepEqual(
    [...events, end].map(({ index }) => index - (events[0]?.index ?? 0)),
    [...events, end].map((_, i) => i),
  );
  const first = events[0]?.event;
  assert.ok(first?.type === 'accepted');
  const channel = await openChannel(world.keyring);
  const opener = await channel.opener(first.taskId, first.primary);
  let text = '';
  for (const { event } of events) {
    if (event.type !== 'frame') continue;
    const opened = await opener.open(event.frame);
    const part = JSON.parse(Buffer.from(opened).toString()) as StreamEvent;
    if (part.type === 'delta') text += part.text;
  }
  assert.equal(text, 'You said: hush');
  assert.ok(!JSON.stringify(client.heard).includes('hush'));
  // What only its client can open is not followed as text.
  client.send({
    type: 'resume',
    kind: 'chat',
    id: 'r',
    session: SESSION,
    taskId: end.event.taskId,
  });
  assert.equal(codeOf(await client.end('r')), 'SESSION_SEALED');
});

test('a chat goes on over the other transport from the event after the last one', async (t) => {
  const held = gate();
  const world = await start(t, [{ beforePrecommit: () => held.opened }]);
  const socket = await dial(t, world.router);
  socket.ask('a', 'one two three', { idempotencyKey: 'key' });
  await until(() => socket.text('a').includes('one'), 'a word over the WebSocket');
  const deltas = () => socket.of('a').flatMap((m) => (m.type === 'delta' ? [m] : []));
  const last = deltas().find(({ delta }) => delta.content === 'one ')?.index ?? -1;
  socket.ws.terminate();

  // Over server-sent events, then over another WebSocket by the key, and by the task.
  const more = { stream: true };
  const headers = { 'idempotency-key': 'key', 'last-event-id': String(last) };
  const sse = await world.chat('one two three', more, headers);
  const again = await dial(t, world.router);
  again.ask('b', 'one two three', { idempotencyKey: 'key', after: last });
  const taskId = sse.headers.get('x-cortensor-task') as TaskId;
  const flow = { session: SESSION, taskId, after: last };
  again.send({ type: 'resume', kind: 'chat', id: 'c', ...flow });
  held.open();
  const events = await readSse(sse);
  assert.equal(textOf(events), 'two three');
  const ids = events.filter(({ data }) => data.includes('"delta":{"c')).map(({ id }) => id);
  for (const id of ['b', 'c']) {
    assert.equal((await again.end(id)).type, 'ended');
    assert.equal(again.text(id), 'two three');
    const indexes = again.of(id).flatMap((m) => (m.type === 'delta' ? [m.index] : []));
    assert.deepEqual(indexes, ids);
  }
  assert.equal(world.gateway.ends.length, 1);
});

test('a sealed stream that was begun over server-sent events goes on over a WebSocket', async (t) => {
  const world = await start(t, [{}], { policy: { level: 'sealed' } });
  const body = await sealedRequest(world, 'k2');
  const path = `/api/v1/sessions/${SESSION}/tasks`;
  const asked = await world.ask(path, { method: 'POST', body: JSON.stringify(body) });
  const all = await readSse(asked);
  const taskId = asked.headers.get('x-cortensor-task') as TaskId;
  const client = await dial(t, world.router);
  client.send({
    type: 'resume',
    kind: 'sealed',
    id: 'r',
    session: SESSION,
    taskId,
    after: Number(all[1]?.id),
  });
  await client.end('r');
  const rest = client.of('r').flatMap((m) => ('event' in m ? [m] : []));
  assert.deepEqual(
    rest.map(({ index, event }) => ({ id: index, event })),
    all.slice(2).map(({ id, data }) => ({ id, event: JSON.parse(data) as TaskStreamEvent })),
  );
});

test('a request without credit waits, and holds up no other', async (t) => {
  const world = await start(t);
  const client = await dial(t, world.router);
  client.ask('slow', 'one two three', { credit: 2 });
  await until(() => world.gateway.ends.length === 1, 'the end of its task');
  client.ask('fast', 'one two three');
  await client.end('fast');
  const deltas = () => client.of('slow').filter(({ type }) => type === 'delta').length;
  assert.equal(deltas(), 2);
  client.send({ type: 'credit', id: 'slow', more: 1 });
  client.send({ type: 'ping' });
  await until(() => deltas() === 3, 'one more');
  client.send({ type: 'credit', id: 'slow', more: 100 });
  assert.equal((await client.end('slow')).type, 'ended');
  assert.equal(client.text('slow'), 'You said: one two three');
});

test('a task whose answer has not begun is cancelled free, one that has goes on without a reader', async (t) => {
  const held = gate();
  const words = gate();
  const world = await start(t, [
    {
      beforeFrame: (seq) => (seq === 0 ? held.opened : seq === 1 ? words.opened : undefined),
      beforePrecommit: () => words.opened,
    },
  ]);
  const client = await dial(t, world.router);
  client.ask('a', 'first', { idempotencyKey: 'a' });
  await until(() => world.gateway.records.size === 1, 'the record');
  client.send({ type: 'cancel', id: 'a' });
  assert.equal(codeOf(await client.end('a')), 'TASK_CANCELLED');
  assert.equal(world.gateway.ends.at(-1)?.outcome, 'cancelled');

  held.open();
  client.ask('b', 'second', { idempotencyKey: 'b' });
  await until(() => client.text('b') !== '', 'its first word');
  client.send({ type: 'cancel', id: 'b' });
  assert.equal(codeOf(await client.end('b')), 'TASK_UNDER_WAY');
  await until(() => world.router.guard.gate.inside === 0, 'its place is free again');
  words.open();
  client.ask('c', 'second', { idempotencyKey: 'b' });
  assert.equal((await client.end('c')).type, 'ended');
  assert.equal(client.text('c'), 'You said: second');
  assert.equal(client.of('b').filter(({ type }) => type === 'error').length, 1);
});

test('a browser, which sets no header, shows its key in a first message', async (t) => {
  const world = await start(t);
  const client = new StreamClient(world.router.url);
  t.after(() => client.ws.terminate());
  await new Promise((resolve) => client.ws.once('open', resolve));
  client.send({ type: 'auth', token: API_KEY });
  const ready = await client.first('ready');
  assert.equal(ready.maxRequests, STREAM_LIMITS.requests);
  assert.equal(ready.router, 'router-1');
  client.ask('a', 'hi');
  assert.equal((await client.end('a')).type, 'ended');
});

test('what HTTP refuses is refused here, with its code and when to come back', async (t) => {
  const key = (name: string, more: object) => ({
    ...UNRESTRICTED,
    name,
    sha256: sha256(`sk-${name}`),
    sessions: [SESSION],
    ...more,
  });
  const world = await start(t, [{}], {
    apiKeys: [
      key('reader', { scopes: ['sessions:read'] }),
      key('poor', { budgetTokens: 10 }),
      key('rare', { requestsPerMinute: 1 }),
    ],
  });
  const ask = async (name: string, more: object = {}) => {
    const client = await dial(t, world.router, name === 'test' ? API_KEY : `sk-${name}`);
    client.ask('a', 'hi', more);
    const end = await client.end('a');
    return end.type === 'error' ? end : assert.fail(JSON.stringify(end));
  };
  assert.equal(codeOf(await ask('reader')), 'KEY_SCOPE');
  assert.equal(codeOf(await ask('poor')), 'KEY_BUDGET_EXHAUSTED');
  assert.equal(codeOf(await ask('other')), 'API_KEY_INVALID');
  const model = await ask('test', { body: { model: 'huge', messages: [] } });
  assert.equal(model.error.code, 'REQUEST_INVALID');
  assert.equal(model.error.param, 'messages');
  assert.ok(model.error.requestId.length > 8);
  const rare = await dial(t, world.router, 'sk-rare');
  rare.ask('a', 'hi');
  assert.equal((await rare.end('a')).type, 'ended');
  rare.ask('b', 'hi');
  const limited = await rare.end('b');
  assert.equal(codeOf(limited), 'RATE_LIMITED');
  assert.ok(limited.type === 'error' && (limited.retryAfterMs ?? 0) > 1_000);
});

test('a router that is full says so, and gives the place of who has gone to the next', async (t) => {
  const held = gate();
  const limits = { maxConcurrent: 1, maxWaiting: 0, waitMs: 50 };
  const world = await start(t, [{ beforePrecommit: () => held.opened }], { limits });
  const first = await dial(t, world.router);
  first.ask('a', 'one', { idempotencyKey: 'one' });
  await until(() => first.text('a') !== '', 'its first word');
  const second = await dial(t, world.router);
  second.ask('b', 'two');
  const busy = await second.end('b');
  assert.equal(codeOf(busy), 'ROUTER_BUSY');
  assert.ok(busy.type === 'error' && busy.retryAfterMs === 1_000);
  first.ws.terminate();
  await until(() => world.router.guard.gate.inside === 0, 'the place');
  held.open();
  second.ask('c', 'one', { idempotencyKey: 'one' });
  assert.equal((await second.end('c')).type, 'ended');
});

test('a router that is stopped says so, ends what is under way, and closes', async (t) => {
  const held = gate();
  const world = await start(t, [{ beforePrecommit: () => held.opened }]);
  const busy = await dial(t, world.router);
  const idle = await dial(t, world.router);
  busy.ask('a', 'one two');
  await until(() => busy.text('a') !== '', 'its first word');
  const drained = world.router.drain();
  await busy.first('draining');
  await until(() => idle.closed !== null, 'the end of who asks for nothing');
  assert.equal(idle.closed?.code, 1001);
  busy.ask('b', 'three');
  assert.equal(codeOf(await busy.end('b')), 'ROUTER_DRAINING');
  await drained;
  const closed = world.router.close(10_000);
  held.open();
  assert.equal((await busy.end('a')).type, 'ended');
  await until(() => busy.closed !== null, 'the close');
  assert.equal(busy.closed?.code, 1001);
  await closed;
});
