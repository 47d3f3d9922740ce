/** A plain EventSource on a task's stream, as a browser has it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventSource } from 'eventsource';
import type { TaskStreamEvent } from '../../domain/wire.js';
import { API_KEY, gate, SESSION, startWorld, until } from '../nodes/router/support.js';

/** Opens the stream, as the test's key. */
function open(url: string, lastEventId?: string): EventSource {
  return new EventSource(url, {
    fetch: (input, init) =>
      fetch(input, {
        ...init,
        headers: {
          authorization: `Bearer ${API_KEY}`,
          ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
          ...init.headers,
        },
      }),
  });
}

test('it sees every event in order, and one that comes later sees the rest', async (t) => {
  const held = gate();
  const world = await startWorld([{ beforePrecommit: () => held.opened }]);
  t.after(() => world.close());
  const asked = await world.chat('one two three', { stream: true });
  const taskId = asked.headers.get('x-cortensor-task');
  const url = `${world.router.url}/api/v1/sessions/${SESSION}/tasks/${taskId}/events`;
  await until(() => world.gateway.records.size === 1, 'the record');

  const seen: { id: string; event: TaskStreamEvent }[] = [];
  const source = open(url);
  t.after(() => source.close());
  source.onmessage = ({ data, lastEventId }) => {
    const event = JSON.parse(data as string) as TaskStreamEvent;
    seen.push({ id: lastEventId, event });
    // Left open, it would ask again and again: that is what an EventSource does.
    if (event.type === 'ended') source.close();
  };
  await until(() => seen.length >= 4, 'the first words');
  held.open();
  await until(() => seen.at(-1)?.event.type === 'ended', 'the end');
  assert.deepEqual(
    seen.map(({ id }) => id),
    seen.map((_, i) => String(i)),
  );

  const rest: string[] = [];
  const later = open(url, seen[2]?.id);
  t.after(() => later.close());
  later.onmessage = ({ lastEventId }) => rest.push(lastEventId);
  await until(() => rest.length === seen.length - 3, 'the rest');
  later.close();
  assert.deepEqual(
    rest,
    seen.slice(3).map(({ id }) => id),
  );
  await asked.text();
});

test('a task that nobody knows is an error of the connection', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const source = open(
    `${world.router.url}/api/v1/sessions/${SESSION}/tasks/0x${'0'.repeat(64)}/events`,
  );
  t.after(() => source.close());
  const code = await new Promise<number | undefined>((resolve) => {
    source.onerror = (event) => resolve(event.code);
  });
  assert.equal(code, 404);
});
