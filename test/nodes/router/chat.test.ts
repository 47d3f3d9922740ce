import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { API_KEY, gate, readSse, startWorld, textOf, until } from './support.js';

test('the openai client gets a whole answer with its usage', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const client = new OpenAI({ baseURL: `${world.router.url}/v1`, apiKey: API_KEY, maxRetries: 0 });
  const answer = await client.chat.completions.create({
    model: 'tiny',
    messages: [{ role: 'user', content: 'hello there' }],
  });
  assert.equal(answer.object, 'chat.completion');
  assert.equal(answer.choices[0]?.message.content, 'You said: hello there');
  assert.equal(answer.choices[0]?.finish_reason, 'stop');
  assert.deepEqual(answer.usage, { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 });
  assert.equal((await client.models.list()).data[0]?.id, 'tiny');
});

test('the openai client streams, with usage in a chunk of its own when it asks', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const client = new OpenAI({ baseURL: `${world.router.url}/v1`, apiKey: API_KEY, maxRetries: 0 });
  const stream = await client.chat.completions.create({
    model: 'tiny',
    messages: [{ role: 'user', content: 'one two three' }],
    stream: true,
    stream_options: { include_usage: true },
  });
  const parts: string[] = [];
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of stream) {
    const content = chunk.choices[0]?.delta.content;
    if (content) parts.push(content);
    if (chunk.choices.length === 0) usage = chunk.usage;
    else assert.equal(chunk.usage, null);
  }
  assert.deepEqual(parts, ['You ', 'said: ', 'one ', 'two ', 'three']);
  assert.equal(usage?.total_tokens, 12);
});

test('the first token comes before the record, the last event after it', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const submitted = gate();
  const completed = gate();
  world.gateway.beforeSubmit = () => submitted.opened;
  world.gateway.beforeComplete = () => completed.opened;
  const response = await world.chat('hi', { stream: true });
  let text = '';
  const reading = (async () => {
    for await (const part of response.body ?? []) text += Buffer.from(part).toString();
  })();
  await until(() => text.includes('"content":"hi"'), 'the last token');
  assert.equal(world.gateway.completed.length, 0);
  submitted.open();
  await until(() => world.gateway.completed.length === 1, 'the completion');
  // Whatever was written before is here by the time that another answer is.
  await world.ask('/healthz');
  assert.ok(!text.includes('[DONE]') && !text.includes('"finish_reason":"stop"'));
  completed.open();
  await reading;
  assert.ok(text.endsWith('data: [DONE]\n\n'));
});

test('a client that leaves does not end the task', async (t) => {
  const held = gate();
  const world = await startWorld([{ beforePrecommit: () => held.opened }]);
  t.after(() => world.close());
  const abort = new AbortController();
  const response = await world.ask('/v1/chat/completions', {
    method: 'POST',
    body: JSON.stringify({
      model: 'tiny',
      messages: [{ role: 'user', content: 'hi' }],
      stream: true,
    }),
    signal: abort.signal,
  });
  await response.body?.getReader().read();
  abort.abort();
  held.open();
  await until(() => world.gateway.ends.length === 1, 'the completion');
  assert.equal(world.gateway.ends[0]?.outcome, 'completed');
});

test('an idempotency key attaches to the running task, and answers for the ended one', async (t) => {
  const held = gate();
  const world = await startWorld([{ beforePrecommit: () => held.opened }]);
  t.after(() => world.close());
  const headers = { 'idempotency-key': 'same' };
  const first = await world.chat('hello you', { stream: true }, headers);
  const second = await world.chat('hello you', { stream: true }, headers);
  const conflict = await world.chat('hello me', { stream: true }, headers);
  assert.equal(conflict.status, 409);
  assert.equal(
    ((await conflict.json()) as { error: { code: string } }).error.code,
    'IDEMPOTENCY_CONFLICT',
  );
  held.open();
  const [a, b] = await Promise.all([readSse(first), readSse(second)]);
  assert.equal(textOf(a), 'You said: hello you');
  assert.deepEqual(a, b);
  const third = await world.chat('hello you', {}, headers);
  const answer = (await third.json()) as {
    id: string;
    choices: { message: { content: string } }[];
  };
  assert.equal(answer.choices[0]?.message.content, 'You said: hello you');
  assert.equal(world.gateway.submitted.flat().length, 1);
  assert.equal(world.miner(0).heard.filter((m) => m.type === 'assign').length, 1);
});

test('another router answers for a task that has ended elsewhere, from its evidence', async (t) => {
  const first = await startWorld([{}]);
  const headers = { 'idempotency-key': 'moved' };
  const asked = await first.chat('hello you', {}, headers);
  assert.equal(asked.status, 200);
  const [host] = first.router.sessions.all();
  assert.ok(host);
  await first.router.sessions.release(host, 0);
  await first.router.sessions.open(first.lease);
  t.after(() => first.close());
  first.miner(0).script = { answer: () => 'something else by now' };
  const again = await first.chat('hello you', {}, headers);
  const answer = (await again.json()) as { choices: { message: { content: string } }[] };
  assert.equal(answer.choices[0]?.message.content, 'You said: hello you');
  assert.equal(first.gateway.ends.length, 1);
  const other = await first.chat('hello me', {}, headers);
  assert.equal(other.status, 409);
});

test('Last-Event-ID leaves out what the client has', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const headers = { 'idempotency-key': 'resume' };
  const whole = await readSse(await world.chat('a b c', { stream: true }, headers));
  const seen = whole[3]?.id;
  assert.ok(seen);
  const rest = await readSse(
    await world.chat('a b c', { stream: true }, { ...headers, 'last-event-id': String(seen) }),
  );
  assert.deepEqual(
    rest,
    whole.filter(({ id }) => id === null || id > seen),
  );
});

test('sixty-four concurrent requests travel in few updates, four at a time', async (t) => {
  const world = await startWorld([{}, {}, {}, {}], { policy: { level: 'open' } });
  t.after(() => world.close());
  const submits = gate();
  const completes = gate();
  let inFlight = 0;
  let most = 0;
  const hold = (opened: Promise<void>) => async () => {
    most = Math.max(most, ++inFlight);
    await opened;
    inFlight--;
  };
  world.gateway.beforeSubmit = hold(submits.opened);
  world.gateway.beforeComplete = hold(completes.opened);
  const asked = Promise.all(Array.from({ length: 64 }, (_, i) => world.chat(`request ${i}`)));
  const commits = () => world.miners.flatMap((m) => m.said).filter((s) => s === 'commit').length;
  await until(() => commits() === 64, 'all commitments');
  submits.open();
  await until(() => world.gateway.submitted.flat().length === 64, 'all submissions');
  completes.open();
  for (const [i, response] of (await asked).entries()) {
    const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
    assert.equal(choices[0]?.message.content, `You said: request ${i}`);
  }
  const { submitted, completed, ends } = world.gateway;
  assert.equal(ends.length, 64);
  assert.ok(submitted.length <= 6, `${submitted.length} updates to submit`);
  assert.ok(completed.length <= 12, `${completed.length} updates to complete`);
  assert.equal(most, 4);
});
