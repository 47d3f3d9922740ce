import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import test from 'node:test';
import { openEmbedder } from '../../../adapters/embedding/embedder.js';
import { openLocalEmbedding } from '../../../adapters/embedding/local.js';
import { unitVector, vectorsDistance } from '../../../domain/embedding.js';
import { EngineError } from '../../../domain/errors.js';
import { embeddingModel, obtain } from '../../../servers/obtain/index.js';

const folder = dirname((await obtain(embeddingModel)).path);
const signal = new AbortController().signal;

test('gives the vectors that oracles compare texts by, and counts what it reads', async (t) => {
  const backend = openLocalEmbedding({ model: 'm', folder });
  t.after(() => backend.close());
  const embedder = await openEmbedder(folder);
  t.after(() => embedder.close());
  const input = ['hello world', 'word '.repeat(1_000)];
  const { vectors, promptTokens } = await backend.embed({ input }, { signal });
  assert.deepEqual(vectors, await embedder.embed(input));
  // Two words with two markers, and of the long text as much as the model reads.
  assert.equal(promptTokens, 4 + 256);
  const scaled = vectors.map((vector) => unitVector(vector) ?? vector);
  assert.ok(vectorsDistance(vectors, scaled) < 1e-6, 'they are of unit length');
});

test('stops between two texts when nobody waits for them', async (t) => {
  const backend = openLocalEmbedding({ model: 'm', folder });
  t.after(() => backend.close());
  const stop = new AbortController();
  stop.abort(new EngineError('MINER_TIMEOUT'));
  const embedding = backend.embed({ input: ['one'] }, { signal: stop.signal });
  await assert.rejects(embedding, { code: 'MINER_TIMEOUT' });
});

test('a folder without the model fails the request, and not the miner’s start', async () => {
  const backend = openLocalEmbedding({ model: 'm', folder: '/nonexistent' });
  await assert.rejects(backend.embed({ input: ['one'] }, { signal }), { code: 'BACKEND_FAILED' });
  await backend.close();
});
