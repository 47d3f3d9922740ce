/** Stock clients that ask for vectors: `openai`, which asks for base64 by itself, and the AI SDK. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, cosineSimilarity, embed, embedMany } from 'ai';
import OpenAI, { APIError } from 'openai';
import { namedVector } from '../../adapters/embedding/scripted.js';
import { EMBEDDING_LIMITS } from '../../domain/embedding.js';
import { API_KEY, startWorld, type World } from '../nodes/router/support.js';

const TEXTS = ['sunny day at the beach', 'rainy afternoon in the city', 'snowy night'];
const EXPECTED = TEXTS.map((text) => [...namedVector(text)]);

let world: World;
let openai: OpenAI;
before(async () => {
  world = await startWorld([{ models: ['vectors'] }], { policy: { model: 'vectors' } });
  const baseURL = `${world.router.url}/v1`;
  openai = new OpenAI({ baseURL, apiKey: API_KEY, maxRetries: 0 });
});
after(() => world.close());

function aiModel() {
  const baseURL = `${world.router.url}/v1`;
  const provider = createOpenAICompatible({ name: 'cortensor', baseURL, apiKey: API_KEY });
  return provider.embeddingModel('vectors');
}

test('openai: what it asks for by itself, and each format that it can be told to', async () => {
  const formats = [{}, { encoding_format: 'float' }, { encoding_format: 'base64' }] as const;
  for (const format of formats) {
    const answer = await openai.embeddings.create({ model: 'vectors', input: TEXTS, ...format });
    const vectors = answer.data.map(({ embedding }: { embedding: number[] | string }) =>
      typeof embedding === 'string' ? floatsOf(embedding) : embedding,
    );
    assert.deepEqual(vectors, EXPECTED, JSON.stringify(format));
    assert.equal(answer.model, 'vectors');
    assert.deepEqual(answer.usage, { prompt_tokens: 5, total_tokens: 5 });
  }
});

test('openai: one text, a length, and a model’s kind', async () => {
  const [text = ''] = TEXTS;
  const answer = await openai.embeddings.create({ model: 'vectors', input: text, dimensions: 8 });
  assert.deepEqual(answer.data[0]?.embedding, [...namedVector(text, 8)]);
  const { data } = await openai.models.list();
  assert.ok(data.some((model) => model.id === 'vectors'));
});

test('openai: an error has the code, and names the field', async () => {
  const call = openai.embeddings.create({ model: 'vectors', input: [1, 2, 3] });
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof APIError);
    assert.deepEqual([error.status, error.code], [400, 'FEATURE_UNSUPPORTED']);
    return true;
  });
});

test('the AI SDK: embed and embedMany, in order, with their usage', async () => {
  const model = aiModel();
  const { embeddings, usage } = await embedMany({ model, values: TEXTS, maxRetries: 0 });
  assert.deepEqual(embeddings, EXPECTED);
  assert.equal(usage.tokens, 5);
  const one = await embed({ model, value: TEXTS[0] ?? '', maxRetries: 0 });
  assert.ok(cosineSimilarity(one.embedding, embeddings[0] ?? []) > 0.9999);
});

test('the AI SDK: more texts than a request may have are refused with the limit', async () => {
  const values = Array.from({ length: EMBEDDING_LIMITS.inputs + 1 }, (_, i) => `text ${i}`);
  const call = embedMany({ model: aiModel(), values, maxRetries: 0 });
  await assert.rejects(call, (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, 400);
    assert.match(error.responseBody ?? '', /input/);
    return true;
  });
});

function floatsOf(base64: string): number[] {
  const bytes = Buffer.from(base64, 'base64');
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4));
}
