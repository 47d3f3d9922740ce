/** The Vercel AI SDK with its provider for OpenAI-compatible servers. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, generateText, streamText } from 'ai';
import { API_KEY, startWorld } from '../nodes/router/support.js';

async function start(t: TestContext) {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const baseURL = `${world.router.url}/v1`;
  return createOpenAICompatible({
    name: 'cortensor',
    baseURL,
    apiKey: API_KEY,
    includeUsage: true,
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
