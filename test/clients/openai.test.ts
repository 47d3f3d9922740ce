/** The `openai` package, as a newcomer types it: base URL and key, nothing else. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import OpenAI, { APIError } from 'openai';
import { API_KEY, startWorld, type World } from '../nodes/router/support.js';
import type { Script } from '../nodes/router/scripted-miner.js';

const messages = [{ role: 'user', content: 'one two three' }] as const;

async function start(
  t: TestContext,
  script: Script = {},
): Promise<{ world: World; client: OpenAI }> {
  const world = await startWorld([script]);
  t.after(() => world.close());
  const baseURL = `${world.router.url}/v1`;
  return { world, client: new OpenAI({ baseURL, apiKey: API_KEY, maxRetries: 0 }) };
}

test('chat, whole: the answer, its usage, and the id of the request', async (t) => {
  const { client } = await start(t);
  const call = client.chat.completions.create({ model: 'tiny', messages: [...messages] });
  const { data, response, request_id } = await call.withResponse();
  assert.equal(data.choices[0]?.message.content, 'You said: one two three');
  assert.equal(data.usage?.total_tokens, 12);
  assert.equal(request_id, response.headers.get('x-request-id'));
});

test('chat, streamed by the helper: the same answer, put together', async (t) => {
  const { client } = await start(t);
  const stream = client.chat.completions.stream({
    model: 'tiny',
    messages: [...messages],
    stream_options: { include_usage: true },
  });
  const final = await stream.finalChatCompletion();
  assert.equal(final.choices[0]?.message.content, 'You said: one two three');
  assert.equal(final.usage?.completion_tokens, 7);
});

test('completions, whole and streamed, with the network’s id of the task', async (t) => {
  const { client } = await start(t);
  const ask = { model: 'tiny', prompt: 'one two three' };
  const whole = await client.completions.create(ask);
  assert.equal(whole.object, 'text_completion');
  assert.equal(whole.choices[0]?.text, 'You said: one two three');
  assert.match((whole as unknown as { task_id: string }).task_id, /^0x[0-9a-f]{64}$/);
  const stream = await client.completions.create({
    ...ask,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = '';
  let tokens = 0;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.text ?? '';
    tokens = chunk.usage?.total_tokens ?? tokens;
  }
  assert.deepEqual([text, tokens], ['You said: one two three', 12]);
});

test('responses, whole: text, usage, and its state', async (t) => {
  const { client, world } = await start(t);
  const answer = await client.responses.create({
    model: 'tiny',
    instructions: 'Be short.',
    input: [{ role: 'user', content: [{ type: 'input_text', text: 'one two three' }] }],
  });
  assert.equal(answer.output_text, 'You said: one two three');
  assert.equal(answer.status, 'completed');
  assert.equal(answer.usage?.output_tokens, 7);
  assert.equal(world.gateway.submitted.flat().length, 1);
});

test('responses, streamed: every event in order, put together by the helper', async (t) => {
  const { client } = await start(t);
  const stream = client.responses.stream({ model: 'tiny', input: 'one two three' });
  const types: string[] = [];
  const numbers: number[] = [];
  stream.on('event', (event) => {
    types.push(event.type);
    numbers.push(event.sequence_number);
  });
  const final = await stream.finalResponse();
  assert.equal(final.output_text, 'You said: one two three');
  const deltas = types.filter((type) => type === 'response.output_text.delta');
  assert.deepEqual(
    types.filter((type) => type !== 'response.output_text.delta'),
    [
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ],
  );
  assert.equal(deltas.length, 5);
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => i),
  );
});

test('what no miner can do is one clear error with the field, before anything is billed', async (t) => {
  const { client, world } = await start(t);
  const tool = { type: 'function', function: { name: 'f', parameters: {} } } as const;
  const cases: readonly [string, Promise<unknown>][] = [
    [
      'tools',
      client.chat.completions.create({ model: 'tiny', messages: [...messages], tools: [tool] }),
    ],
    ['n', client.chat.completions.create({ model: 'tiny', messages: [...messages], n: 2 })],
    [
      'logprobs',
      client.chat.completions.create({ model: 'tiny', messages: [...messages], logprobs: true }),
    ],
    [
      'response_format.type',
      client.chat.completions.create({
        model: 'tiny',
        messages: [...messages],
        response_format: { type: 'json_object' },
      }),
    ],
    [
      'seed',
      client.chat.completions.create({
        model: 'tiny',
        messages: [...messages],
        seed: 1,
        temperature: 1,
      }),
    ],
    [
      'messages.0.content',
      client.chat.completions.create({
        model: 'tiny',
        messages: [
          { role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://x/y.png' } }] },
        ],
      }),
    ],
    [
      'previous_response_id',
      client.responses.create({ model: 'tiny', input: 'hi', previous_response_id: 'resp_1' }),
    ],
    ['logprobs', client.completions.create({ model: 'tiny', prompt: 'hi', logprobs: 1 })],
    ['suffix', client.completions.create({ model: 'tiny', prompt: 'hi', suffix: 'end' })],
  ];
  for (const [field, call] of cases) {
    await assert.rejects(call, (error: unknown) => {
      assert.ok(error instanceof APIError);
      assert.deepEqual(
        [error.status, error.code, error.param],
        [400, 'FEATURE_UNSUPPORTED', field],
      );
      return true;
    });
  }
  assert.equal(world.gateway.submitted.length, 0);
});

test('an error in the middle of a stream reaches the caller as an error', async (t) => {
  const { client } = await start(t, {
    beforeFrame(seq, miner) {
      if (seq === 2) miner.say('fail', { taskId: lastTask(miner.heard), code: 'BACKEND_FAILED' });
      if (seq >= 2) throw new Error('broken off');
    },
  });
  for (const stream of [
    await client.chat.completions.create({ model: 'tiny', messages: [...messages], stream: true }),
    await client.responses.create({ model: 'tiny', input: 'one two three', stream: true }),
  ]) {
    await assert.rejects(async () => {
      for await (const _ of stream as AsyncIterable<unknown>);
    }, APIError);
  }
});

function lastTask(heard: readonly object[]): string {
  const assigns = heard.filter((message) => 'task' in message) as { task: { taskId: string } }[];
  return assigns.at(-1)?.task.taskId ?? '';
}
