/** The Vercel AI SDK with its provider for OpenAI-compatible servers. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import {
  APICallError,
  generateObject,
  generateText,
  NoObjectGeneratedError,
  stepCountIs,
  streamObject,
  streamText,
  tool,
} from 'ai';
import { z } from 'zod';
import type { CalledTool, ChatRequest } from '../../domain/task.js';
import type { Script } from '../nodes/router/scripted-miner.js';
import { API_KEY, startWorld } from '../nodes/router/support.js';

async function start(t: TestContext, script: Script = {}) {
  const world = await startWorld([script]);
  t.after(() => world.close());
  const baseURL = `${world.router.url}/v1`;
  return createOpenAICompatible({
    name: 'cortensor',
    baseURL,
    apiKey: API_KEY,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
}

test('generateText gets text, usage and the reason of the end', async (t) => {
  const provider = await start(t);
  const answer = await generateText({ model: provider('tiny'), prompt: 'one two three' });
  assert.equal(answer.text, 'You said: one two three');
  assert.equal(answer.finishReason, 'stop');
  assert.equal(answer.usage.totalTokens, 12);
});

test('streamText gets the words one by one, and the usage at the end', async (t) => {
  const provider = await start(t);
  const answer = streamText({ model: provider.chatModel('tiny'), prompt: 'one two three' });
  const parts: string[] = [];
  for await (const part of answer.textStream) parts.push(part);
  assert.deepEqual(parts, ['You ', 'said: ', 'one ', 'two ', 'three']);
  assert.equal((await answer.usage).outputTokens, 7);
});

test('the completion model, which always sends stop words, is answered', async (t) => {
  const provider = await start(t);
  const model = provider.completionModel('tiny');
  const answer = await generateText({ model, prompt: 'hi', maxRetries: 0 });
  assert.match(answer.text, /^You said: /);
});

test('an error has the router’s code and message', async (t) => {
  const provider = await start(t);
  const call = generateText({ model: provider('huge'), prompt: 'hi', maxRetries: 0 });
  await assert.rejects(call, (error: unknown) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, 404);
    assert.match(error.responseBody ?? '', /MODEL_UNKNOWN/);
    return true;
  });
});

const recipe = z.object({
  name: z.string(),
  steps: z.array(z.string()),
  minutes: z.number().int(),
});
const soup = { name: 'soup', steps: ['boil', 'eat'], minutes: 20 };

test('generateObject and streamObject get an object of their schema, which the miner was told', async (t) => {
  const seen: ChatRequest[] = [];
  const answer = (request: ChatRequest) => (seen.push(request), JSON.stringify(soup, null, 1));
  const provider = await start(t, { answer });
  const ask = { model: provider('tiny'), schema: recipe, schemaName: 'recipe', prompt: 'a soup' };
  const { object, finishReason } = await generateObject(ask);
  assert.deepEqual([object, finishReason], [soup, 'stop']);
  const format = seen[0]?.responseFormat;
  assert.equal(format?.type === 'json-schema' && format.name, 'recipe');
  const wanted =
    format?.type === 'json-schema' ? Object.keys(format.schema['properties'] ?? {}) : [];
  assert.deepEqual(wanted, ['name', 'steps', 'minutes']);

  const stream = streamObject(ask);
  const partial: unknown[] = [];
  for await (const part of stream.partialObjectStream) partial.push(part);
  assert.deepEqual(await stream.object, soup);
  assert.ok(partial.length > 1);
});

test('generateObject says so when the answer is of another schema', async (t) => {
  const provider = await start(t, { answer: () => '{"name":7}' });
  const ask = { model: provider('tiny'), schema: recipe, prompt: 'a soup', maxRetries: 0 };
  await assert.rejects(generateObject(ask), (error) => NoObjectGeneratedError.isInstance(error));
});

/** Calls two tools at once, and answers from what they gave back. */
const callsAndTells: Script = {
  answer: ({ messages }) => {
    const results = messages.filter(({ role }) => role === 'tool').map((m) => m.content);
    return results.length === 0 ? '' : `It is ${results.join(' and ')}.`;
  },
  toolCalls: ({ messages }): CalledTool[] =>
    messages.some(({ role }) => role === 'tool')
      ? []
      : ['Oslo', 'Rome'].map((city) => ({ name: 'weather', arguments: JSON.stringify({ city }) })),
};

function weatherTool(asked: string[]) {
  return tool({
    description: 'Tells the weather of a city.',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      asked.push(city);
      return `rain in ${city}`;
    },
  });
}

test('generateText calls its tools and goes on with what they gave back', async (t) => {
  const provider = await start(t, callsAndTells);
  const asked: string[] = [];
  const answer = await generateText({
    model: provider('tiny'),
    tools: { weather: weatherTool(asked) },
    stopWhen: stepCountIs(3),
    prompt: 'weather?',
  });
  assert.deepEqual(asked, ['Oslo', 'Rome']);
  assert.deepEqual(
    answer.steps.map(({ finishReason }) => finishReason),
    ['tool-calls', 'stop'],
  );
  assert.match(answer.text, /rain in Oslo.* and .*rain in Rome/);
});

test('streamText calls its tools as their arguments have come, and goes on', async (t) => {
  const provider = await start(t, callsAndTells);
  const asked: string[] = [];
  const answer = streamText({
    model: provider('tiny'),
    tools: { weather: weatherTool(asked) },
    toolChoice: 'required',
    stopWhen: stepCountIs(2),
    prompt: 'weather?',
  });
  const types: string[] = [];
  for await (const part of answer.fullStream) types.push(part.type);
  assert.deepEqual(asked, ['Oslo', 'Rome']);
  const count = (type: string) => types.filter((each) => each === type).length;
  assert.deepEqual([count('tool-call'), count('tool-result'), count('error')], [2, 2, 0]);
  assert.match(await answer.text, /rain in Oslo.* and .*rain in Rome/);
});
