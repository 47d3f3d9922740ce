/** A router, three miners and an oracle over HTTP with the real embedding model: who alters one
 * argument of a call, or one number of a form, is told apart however near the texts are. */
import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { openEmbedder } from '../../../adapters/embedding/embedder.js';
import { sameAddress } from '../../../domain/ids.js';
import { cosineDistance, OUTLIER_DISTANCE } from '../../../domain/verdict.js';
import { embeddingModel, obtain } from '../../../servers/obtain/index.js';
import type { Script } from '../router/scripted-miner.js';
import type { World } from '../router/support.js';
import { settledTask, startJudged } from './judged-world.js';

const { path } = await obtain(embeddingModel);
const embedder = await openEmbedder(dirname(path));
after(() => embedder.close());

/** Each miner in turn lies, so that it is the primary now and then.
 * @param ask - puts the request, and gives back what the client got of it. */
async function tellApart(
  t: TestContext,
  scripts: { readonly honest: readonly [Script, Script]; readonly liar: Script },
  ask: (world: World) => Promise<unknown>,
  expected: unknown,
): Promise<void> {
  const { world, attest } = await startJudged(t, { embedder });
  for (const liar of world.miners) {
    const [first, second] = world.miners.filter((miner) => miner !== liar);
    assert.ok(first && second);
    [first.script, second.script] = scripts.honest;
    liar.script = scripts.liar;
    assert.deepEqual(await ask(world), expected);
    const end = world.gateway.ends.at(-1);
    assert.equal(end?.outcome, 'completed');
    assert.deepEqual(end.paidMiners.length, 2);
    assert.ok(!end.paidMiners.some((paid) => sameAddress(paid, liar.address)));
  }
  const { ends } = world.gateway;
  const honest = await attest(ends.map((end) => settledTask(world, end)));
  assert.ok(honest.signed, JSON.stringify(honest));
  const [end] = ends;
  assert.ok(end);
  const all = world.miners
    .map(({ address }) => address)
    .sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
  const greedy = await attest([settledTask(world, end, all)]);
  assert.equal(greedy.signed, false);
  assert.deepEqual(!greedy.signed && greedy.disputed, [end.taskId]);
}

async function isNear(a: string, b: string): Promise<boolean> {
  const [x, y] = await embedder.embed([a, b]);
  assert.ok(x && y);
  return cosineDistance(x, y) < OUTLIER_DISTANCE;
}

test('a miner that alters one argument of a call is told apart by an oracle, and is not paid', async (t) => {
  const pays = (written: string): Script => ({
    answer: () => '',
    toolCalls: () => [{ name: 'pay', arguments: written }],
  });
  const honest = '{"to":"the water works","amount":100}';
  const altered = '{"to":"the water works","amount":900}';
  assert.ok(await isNear(`pay ${honest}`, `pay ${altered}`));
  await tellApart(
    t,
    {
      honest: [pays(honest), pays('{ "amount": 100, "to": "the water works" }')],
      liar: pays(altered),
    },
    async (world) => {
      const tools = [{ type: 'function', function: { name: 'pay' } }];
      const response = await world.chat('pay the bill', { tools });
      const { choices } = (await response.json()) as {
        choices: { message: { tool_calls: { function: { arguments: string } }[] } }[];
      };
      return JSON.parse(choices[0]?.message.tool_calls[0]?.function.arguments ?? '') as unknown;
    },
    JSON.parse(honest),
  );
});

test('a miner that alters one number of a form is told apart by an oracle, and is not paid', async (t) => {
  const says = (text: string): Script => ({ answer: () => text });
  const form = { customer: 'water works', total: 100, currency: 'EUR', isPaid: false };
  const honest = JSON.stringify(form);
  const altered = JSON.stringify({ ...form, total: 900 });
  assert.ok(await isNear(honest, altered));
  await tellApart(
    t,
    { honest: [says(honest), says(JSON.stringify(form, null, 2))], liar: says(altered) },
    async (world) => {
      const format = { response_format: { type: 'json_object' } };
      const response = await world.chat('fill in the invoice', format);
      const { choices } = (await response.json()) as {
        choices: { message: { content: string } }[];
      };
      return JSON.parse(choices[0]?.message.content ?? '') as unknown;
    },
    form,
  );
});
