/** A router, three miners and an oracle over HTTP: which vectors are settled, and which are not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namedVector } from '../../../adapters/embedding/scripted.js';
import { sameAddress } from '../../../domain/ids.js';
import type { EmbeddingRequest } from '../../../domain/task.js';
import type { World } from '../router/support.js';
import { settledTask, startJudged } from './judged-world.js';

const TEXTS = ['the first text', 'another one'];
const VECTORS = {
  model: 'vectors',
  embedder: {
    embed: async (): Promise<never> => {
      throw new Error('vectors are compared as they are');
    },
  },
};

function ask(world: World): Promise<Response> {
  const body = JSON.stringify({ model: 'vectors', input: TEXTS });
  return world.ask('/v1/embeddings', { method: 'POST', body });
}

test('vectors are settled for the miners that agree on them, and the one of another text gets nothing', async (t) => {
  const { world, attest } = await startJudged(t, VECTORS);
  const liar = world.miner(2);
  liar.script = {
    ...liar.script,
    vectors: ({ input }: EmbeddingRequest) => input.map((text) => namedVector(`not ${text}`)),
  };
  assert.equal((await ask(world)).status, 200);
  const [end] = world.gateway.ends;
  assert.ok(end);
  assert.equal(end.paidMiners.length, 2);
  assert.ok(!end.paidMiners.some((paid) => sameAddress(paid, liar.address)));
  const honest = await attest([settledTask(world, end)]);
  assert.ok(honest.signed, JSON.stringify(honest));
  const others = [world.miner(0).address, liar.address];
  const paid = others.sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
  const forged = await attest([settledTask(world, end, paid)]);
  assert.deepEqual(!forged.signed && forged.disputed, [end.taskId]);
});

test('miners that all agree on vectors that nobody asked for are not settled', async (t) => {
  const { world, attest } = await startJudged(t, VECTORS);
  for (const miner of world.miners) {
    const vectors = ({ input }: EmbeddingRequest) =>
      input.slice(1).map((text) => namedVector(text));
    miner.script = { ...miner.script, vectors };
  }
  assert.equal((await ask(world)).status, 502);
  const [end] = world.gateway.ends;
  assert.ok(end);
  const answer = await attest([settledTask(world, end)]);
  assert.deepEqual(!answer.signed && answer.disputed, [end.taskId]);
});
