/** The built-in model behind a miner and a router, asked by the stock client. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI, { APIError } from 'openai';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { openEmbeddedModel } from '../../../adapters/model/embedded.js';
import { startMiner } from '../../../nodes/miner/miner.js';
import { chatModel, obtain } from '../../../servers/obtain/index.js';
import { API_KEY, DOMAIN, startWorld, until, type World } from '../router/support.js';

const WAIT_MS = 60_000;

let world: World;
let client: OpenAI;
let close: () => Promise<void>;

before(async () => {
  const { path } = await obtain(chatModel);
  const backend = await openEmbeddedModel({ path, name: 'tiny', contextTokens: 1_024 });
  world = await startWorld([{}], {
    absent: 1,
    firstTokenMs: WAIT_MS,
    policy: { taskSeconds: 120 },
  });
  // In the place of the scripted miner that is reserved.
  const { wallet, identity } = world.miner(0);
  const lines: string[] = [];
  const miner = startMiner({
    routerUrls: [world.router.url],
    wallet,
    identity,
    backend,
    domain: DOMAIN,
    concurrency: 1,
    log: (_level, event) => lines.push(event),
  });
  close = async () => {
    await miner.close();
    await backend.close();
    await world.close();
  };
  client = new OpenAI({ baseURL: `${world.router.url}/v1`, apiKey: API_KEY, maxRetries: 0 });
  await until(() => lines.includes('miner connected'), 'the miner', WAIT_MS);
});
after(() => close());

const messages = [{ role: 'user' as const, content: 'What is the weather in Paris?' }];
const city = z.object({ city: z.string() });
const weather = zodFunction({
  name: 'weather',
  description: 'Tells the weather of a city.',
  parameters: city,
});
const ask = {
  model: 'tiny',
  messages,
  max_tokens: 64,
  tools: [weather],
  tool_choice: { type: 'function' as const, function: { name: 'weather' } },
};

test('a demanded call has arguments of its schema, the same ones whole and streamed', async () => {
  const whole = await client.chat.completions.parse(ask);
  const [call] = whole.choices[0]?.message.tool_calls ?? [];
  assert.equal(whole.choices[0]?.finish_reason, 'tool_calls');
  assert.equal(call?.function.name, 'weather');
  assert.match(city.parse(call.function.parsed_arguments).city, /Paris/);
  const streamed = await client.chat.completions.stream(ask).finalChatCompletion();
  const [again] = streamed.choices[0]?.message.tool_calls ?? [];
  assert.equal(again?.function.arguments, call.function.arguments);
});

test('what its tools gave back is answered in the form that is asked for', async () => {
  const report = z.object({ city: z.string(), isWet: z.boolean() });
  const call = { name: 'weather', arguments: '{"city":"Paris"}' };
  const { choices } = await client.chat.completions.parse({
    model: 'tiny',
    max_tokens: 64,
    messages: [
      ...messages,
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'call_1', type: 'function', function: call }],
      },
      { role: 'tool', tool_call_id: 'call_1', content: 'rain in Paris' },
    ],
    response_format: zodResponseFormat(report, 'report'),
  });
  assert.ok(report.safeParse(choices[0]?.message.parsed).success);
});

test('what it cannot promise is refused, before it is recorded or when it is looked at', async () => {
  const known = world.gateway.submitted.flat().length;
  const isRefused = (error: unknown) =>
    error instanceof APIError && error.status === 400 && error.code === 'FEATURE_UNSUPPORTED';
  const free = client.chat.completions.create({ ...ask, tool_choice: 'auto' });
  await assert.rejects(free, isRefused);
  assert.equal(world.gateway.submitted.flat().length, known);
  const parameters = { type: 'object', properties: { city: { type: 'string', pattern: '^P' } } };
  const odd = { type: 'function' as const, function: { name: 'weather', parameters } };
  const bound = client.chat.completions.create({ ...ask, tools: [odd] });
  await assert.rejects(bound, isRefused);
  await until(() => world.gateway.ends.at(-1)?.outcome === 'refused', 'the end', WAIT_MS);
  assert.equal(world.gateway.ends.at(-1)?.failure, 'FEATURE_UNSUPPORTED');
});
