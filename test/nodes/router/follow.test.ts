import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gate, readSse, SESSION, startWorld, textOf, until } from './support.js';

test('an answer is followed as text by its task alone, from any event on', async (t) => {
  const held = gate();
  const world = await startWorld([{ beforePrecommit: () => held.opened }]);
  t.after(() => world.close());
  const asked = await world.chat('one two three', { stream: true });
  const path = `/api/v1/sessions/${SESSION}/tasks/${asked.headers.get('x-cortensor-task')}/answer`;
  await until(() => world.gateway.records.size === 1, 'the record');
  const followed = await world.ask(path);
  held.open();
  const first = await readSse(asked);
  const whole = await readSse(followed);
  assert.equal(textOf(whole), 'You said: one two three');
  const indexed = whole.filter(({ id }) => id !== null);
  assert.deepEqual(
    [...new Set(indexed.map(({ id }) => id))],
    first.slice(0, -1).map(({ id }) => id),
  );
  assert.match(whole.at(-2)?.data ?? '', /"total_tokens":12/);
  const { id } = whole.find(({ data }) => data.includes('"one "')) ?? assert.fail('no such word');
  const rest = await readSse(await world.ask(path, { headers: { 'last-event-id': String(id) } }));
  assert.equal(textOf(rest), 'two three');
});

test('a stream that breaks between its last text and its usage goes on with both', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const body = { stream: true, stream_options: { include_usage: true } };
  const headers = { 'idempotency-key': 'broken' };
  const whole = await readSse(await world.chat('a b c', body, headers));
  const end = whole.findIndex(({ data }) => data.includes('"finish_reason":"stop"'));
  // What a client has that got the end, but not the usage, which has the same number.
  const seen = whole.slice(0, end + 1).findLast(({ id }) => id !== null)?.id;
  const rest = await readSse(
    await world.chat('a b c', body, { ...headers, 'last-event-id': String(seen) }),
  );
  assert.deepEqual(rest, whole.slice(end));
  assert.match(rest[1]?.data ?? '', /"total_tokens":\d+/);
  assert.notEqual(rest[1]?.id, null);
});
