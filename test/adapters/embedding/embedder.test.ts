import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import test, { after } from 'node:test';
import { EMBEDDING_DIMENSIONS, openEmbedder } from '../../../adapters/embedding/embedder.js';
import { cosineDistance } from '../../../domain/verdict.js';
import { embeddingModel, obtain } from '../../../servers/obtain/index.js';

const { path } = await obtain(embeddingModel);
const embedder = await openEmbedder(dirname(path));
after(() => embedder.close());

async function distance(a: string, b: string): Promise<number> {
  const [x, y] = await embedder.embed([a, b]);
  assert.ok(x && y);
  return cosineDistance(x, y);
}

test('sentences that mean the same are closer than those that do not', async () => {
  const paris = 'The capital of France is Paris.';
  assert.ok((await distance(paris, 'Paris is the capital city of France.')) < 0.15);
  assert.ok((await distance(paris, 'Berlin is where most Germans want to live.')) > 0.3);
  assert.ok((await distance(paris, 'I like to eat fish on Fridays.')) > 0.7);
});

test('vectors have unit length and their number of dimensions, also of odd texts', async () => {
  const texts = ['a sentence', '', ' ', '日本語のテキスト', '\u0000\ufffd', 'x'.repeat(20_000)];
  for (const vector of await embedder.embed(texts)) {
    assert.equal(vector.length, EMBEDDING_DIMENSIONS);
    assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-5);
  }
});

test('a text has one vector, alone or among others, now or later', async () => {
  const texts = ['short', 'a much longer text about something else', 'short'];
  const together = await embedder.embed(texts);
  const alone = await Promise.all(texts.map(async (text) => (await embedder.embed([text]))[0]));
  assert.deepEqual(together, alone);
  assert.deepEqual(together[0], together[2]);
  assert.deepEqual(await embedder.embed([]), []);
});

test('of a long text the first 256 tokens count', async () => {
  const start = 'word '.repeat(253);
  assert.ok((await distance(`${start}first`, `${start}second`)) > 1e-4);
  assert.equal(
    JSON.stringify(await embedder.embed([`${start}end first`])),
    JSON.stringify(await embedder.embed([`${start}end second`])),
  );
});

test('a folder without the model is an error that names it', async () => {
  await assert.rejects(openEmbedder('/nonexistent'), { code: 'SERVER_NOT_FOUND' });
});
