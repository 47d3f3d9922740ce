/** The `openai` package, as a newcomer types it: base URL and key, nothing else. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import OpenAI, { APIError } from 'openai';
import { zodFunction, zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { API_KEY, startWorld, type World } from '../nodes/router/support.js';
import type { ChatRequest } from '../../domain/task.js';
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
  const cases: readonly [string, Promise<unknown>][] = [
    ['n', client.chat.completions.create({ model: 'tiny', messages: [...messages], n: 2 })],
    [
      'logprobs',
      client.chat.completions.create({ model: 'tiny', messages: [...messages], logprobs: true }),
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

const weather = {
  type: 'function',
  function: {
    name: 'weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } } },
  },
} as const;
const calling: Script = {
  answer: () => '',
  toolCalls: () => [{ name: 'weather', arguments: '{"city":"Oslo 🌧"}' }],
};

test('tools, whole and streamed: the call reaches the caller, and its result goes back', async (t) => {
  const seen: ChatRequest[] = [];
  const { client } = await start(t, {
    answer: (request) => (seen.push(request), request.messages.length > 1 ? 'It rains.' : ''),
    toolCalls: (request) =>
      request.messages.length > 1 ? [] : (calling.toolCalls?.(request) ?? []),
  });
  const ask = { model: 'tiny', messages: [...messages], tools: [weather] };
  const whole = await client.chat.completions.create({ ...ask, stop: ['END'] });
  const [choice] = whole.choices;
  assert.equal(choice?.finish_reason, 'tool_calls');
  assert.equal(choice.message.content, null);
  const call = choice.message.tool_calls?.[0];
  assert.ok(call?.type === 'function');
  assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Oslo 🌧' });
  assert.deepEqual(seen[0]?.tools, [weather.function]);
  assert.deepEqual(seen[0]?.stop, ['END']);

  const stream = client.chat.completions.stream({ ...ask, parallel_tool_calls: false });
  const streamed = (await stream.finalChatCompletion()).choices[0];
  assert.equal(streamed?.finish_reason, 'tool_calls');
  assert.equal(streamed.message.tool_calls?.[0]?.function.arguments, call.function.arguments);

  const answered = await client.chat.completions.create({
    ...ask,
    messages: [
      ...messages,
      choice.message,
      { role: 'tool', tool_call_id: call.id, content: 'rain' },
    ],
  });
  assert.equal(answered.choices[0]?.message.content, 'It rains.');
  assert.deepEqual(seen.at(-1)?.messages.slice(1), [
    {
      role: 'assistant',
      content: '',
      toolCalls: [{ id: call.id, name: 'weather', arguments: call.function.arguments }],
    },
    { role: 'tool', content: 'rain', toolCallId: call.id },
  ]);
});

test('responses with tools, streamed by the helper and whole: the same call, and its result goes back', async (t) => {
  const seen: ChatRequest[] = [];
  const hasResult = ({ messages }: ChatRequest) => messages.some(({ role }) => role === 'tool');
  const { client } = await start(t, {
    answer: (request) => (seen.push(request), hasResult(request) ? 'It rains.' : ''),
    toolCalls: (request) => (hasResult(request) ? [] : (calling.toolCalls?.(request) ?? [])),
  });
  const tools = [{ type: 'function' as const, strict: true, ...weather.function }];
  const ask = { model: 'tiny', input: 'one two three', tools };
  const whole = await client.responses.create(ask);
  const stream = client.responses.stream(ask);
  let pieces = '';
  stream.on('response.function_call_arguments.delta', ({ delta }) => (pieces += delta));
  const final = await stream.finalResponse();
  for (const { output } of [whole, final]) {
    const call = output.find((item) => item.type === 'function_call');
    assert.ok(call?.type === 'function_call');
    assert.equal(call.name, 'weather');
    assert.equal(call.arguments, '{"city":"Oslo 🌧"}');
  }
  assert.equal(pieces, '{"city":"Oslo 🌧"}');

  const call = whole.output.find((item) => item.type === 'function_call');
  assert.ok(call?.type === 'function_call');
  const input: OpenAI.Responses.ResponseInput = [
    { role: 'user', content: 'one two three' },
    call,
    { type: 'function_call_output', call_id: call.call_id, output: 'rain' },
  ];
  for (const answered of [
    await client.responses.create({ ...ask, input }),
    await client.responses.stream({ ...ask, input }).finalResponse(),
  ]) {
    assert.equal(answered.output_text, 'It rains.');
    assert.deepEqual(
      seen.at(-1)?.messages.map(({ role, content }) => [role, content]),
      [
        ['user', 'one two three'],
        ['assistant', ''],
        ['tool', 'rain'],
      ],
    );
  }
});

test('a JSON schema reaches the miner, and the answer is parsed by the helpers, whole and streamed', async (t) => {
  const seen: ChatRequest[] = [];
  const answer = (request: ChatRequest) => (seen.push(request), '{ "why": null, "answer": 42 }');
  const { client } = await start(t, { answer });
  const reply = z.object({ why: z.string().nullable(), answer: z.number() });
  const ask = {
    model: 'tiny',
    messages: [...messages],
    response_format: zodResponseFormat(reply, 'reply'),
  };
  const parsed = await client.chat.completions.parse(ask);
  const streamed = await client.chat.completions.stream(ask).finalChatCompletion();
  for (const { choices } of [parsed, streamed]) {
    assert.deepEqual(choices[0]?.message.parsed, { why: null, answer: 42 });
  }
  const format = zodTextFormat(reply, 'reply');
  const asked = { model: 'tiny', input: 'one two three', text: { format } };
  const responded = await client.responses.parse(asked);
  const followed = await client.responses.stream(asked).finalResponse();
  for (const { output_parsed } of [responded, followed]) {
    assert.deepEqual(output_parsed, { why: null, answer: 42 });
  }
  assert.equal(seen.length, 4);
  const { schema } = ask.response_format.json_schema;
  const expected = { type: 'json-schema', name: 'reply', schema, strict: true };
  for (const { responseFormat } of seen) {
    // As text: models fill a schema in its author's order.
    assert.equal(JSON.stringify(responseFormat), JSON.stringify(expected));
  }
});

test('a schema of zod is sent and parsed back by the helpers, and so are the arguments of a tool', async (t) => {
  const { client } = await start(t, {
    answer: (request) => (request.tools === undefined ? '{"city":"Oslo","degrees":3}' : ''),
    toolCalls: (request) =>
      request.tools === undefined ? [] : (calling.toolCalls?.(request) ?? []),
  });
  const ask = { model: 'tiny', messages: [...messages] };
  const report = z.object({ city: z.string(), degrees: z.number().int() });
  const answered = await client.chat.completions.parse({
    ...ask,
    response_format: zodResponseFormat(report, 'report'),
  });
  const said = answered.choices[0]?.message.parsed;
  assert.deepEqual(said, { city: 'Oslo', degrees: 3 });
  const parameters = z.object({ city: z.string() });
  const called = await client.chat.completions.parse({
    ...ask,
    tools: [zodFunction({ name: 'weather', parameters })],
  });
  const [call] = called.choices[0]?.message.tool_calls ?? [];
  assert.deepEqual(call?.function.parsed_arguments, { city: 'Oslo 🌧' });
});

test('what no reserved miner supports is refused, and text goes on', async (t) => {
  const { client, world } = await start(t, { features: [] });
  const ask = { model: 'tiny', messages: [...messages] };
  for (const more of [
    { stop: 'END' },
    { tools: [weather] },
    { response_format: { type: 'json_object' as const } },
  ]) {
    await assert.rejects(client.chat.completions.create({ ...ask, ...more }), (error: unknown) => {
      assert.ok(error instanceof APIError);
      assert.deepEqual([error.status, error.code], [400, 'FEATURE_UNSUPPORTED']);
      return true;
    });
  }
  assert.equal(world.gateway.submitted.length, 0);
  const whole = await client.chat.completions.create(ask);
  assert.equal(whole.choices[0]?.message.content, 'You said: one two three');
});

test('schemas that are too deep are refused, and calls that make no sense are passed on', async (t) => {
  const toolCalls = () => [{ name: 'never-offered', arguments: '{"broken' }];
  const { client } = await start(t, { answer: () => '', toolCalls });
  let deep: Record<string, unknown> = { type: 'string' };
  for (let i = 0; i < 20; i++) deep = { a: deep };
  const bomb = { type: 'function', function: { name: 'f', parameters: deep } } as const;
  const ask = { model: 'tiny', messages: [...messages] };
  await assert.rejects(client.chat.completions.create({ ...ask, tools: [bomb] }), /levels/);
  const whole = await client.chat.completions.create({ ...ask, tools: [weather] });
  const call = whole.choices[0]?.message.tool_calls?.[0];
  assert.equal(call?.type === 'function' && call.function.arguments, '{"broken');
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
