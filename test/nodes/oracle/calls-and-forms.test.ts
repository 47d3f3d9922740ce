/** A router, three miners and an oracle over HTTP with the real embedding model: who alters one
 * argument of a call, or one number of a form, is told apart however near the texts are. */
import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { Wallet } from 'ethers';
import { merkleRoot, taskLeaf } from '../../../adapters/chain/merkle.js';
import { openEmbedder } from '../../../adapters/embedding/embedder.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { digestOf } from '../../../adapters/ipfs/cid.js';
import { createIdentity } from '../../../adapters/seal/identity.js';
import type { AttestationAnswer } from '../../../domain/api.js';
import { chargeOf } from '../../../domain/charge.js';
import { sameAddress, type Address } from '../../../domain/ids.js';
import { sumBatch } from '../../../domain/settlement.js';
import type { SettledTask, TaskCompletion } from '../../../domain/task.js';
import { cosineDistance, OUTLIER_DISTANCE } from '../../../domain/verdict.js';
import { startOracle } from '../../../nodes/oracle/oracle.js';
import { createJudge } from '../../../nodes/router/judge.js';
import { embeddingModel, obtain } from '../../../servers/obtain/index.js';
import type { Script } from '../router/scripted-miner.js';
import {
  DOMAIN,
  MemoryBlocks,
  NETWORK,
  SESSION,
  startWorld,
  type World,
} from '../router/support.js';

const { path } = await obtain(embeddingModel);
const embedder = await openEmbedder(dirname(path));
after(() => embedder.close());

/** What a stage has in common: a world whose router asks a real oracle, and that oracle. */
async function start(t: TestContext): Promise<{
  readonly world: World;
  attest(tasks: readonly SettledTask[]): Promise<AttestationAnswer>;
}> {
  const blocks = new MemoryBlocks();
  const miners = new Map<string, string>();
  const { identity } = await createIdentity();
  const policyHash = { value: '0x' as `0x${string}` };
  const oracle = await startOracle({
    host: '127.0.0.1',
    port: 0,
    wallet: new Wallet(`0x${'31'.repeat(32)}`),
    identity,
    store: blocks,
    chain: {
      async readNode(address) {
        const recipient = miners.get(address.toLowerCase());
        if (recipient === undefined) return null;
        const facts = { role: 'miner', status: 'Active', stakeWei: 1n, metadataCid: '' } as const;
        return { address, recipient, ...facts };
      },
      async readSession() {
        const money = { heldWei: 1_000_000n, chargedWei: 0n };
        return { owner: DOMAIN.verifyingContract, policyHash: policyHash.value, ...money };
      },
    },
    embedder,
    domains: {
      nodeRegistry: DOMAIN,
      healthLedger: DOMAIN,
      nodePool: DOMAIN,
      sessionPayment: DOMAIN,
    },
    models: [{ name: 'tiny', pricePerTokenWei: '1' }],
    feeBps: NETWORK.feeBps,
    log: () => undefined,
  });
  t.after(() => oracle.close());
  const world = await startWorld([{}, {}, {}], {
    policy: { level: 'open', redundancy: 3, minMiners: 3, maxMiners: 3 },
    blocks,
    judge: createJudge(
      [{ address: DOMAIN.verifyingContract, url: oracle.url, recipient: '' }],
      30_000,
    ),
  });
  t.after(() => world.close());
  for (const miner of world.miners) miners.set(miner.address.toLowerCase(), miner.recipient);
  policyHash.value = digestOf(await blocks.put(encodeJson(world.lease.policy)));
  return {
    world,
    async attest(tasks) {
      const root = merkleRoot(tasks.map(taskLeaf));
      const batch = { version: 1, batchId: root, root, tasks, ...sumBatch(tasks) };
      const batchCid = await blocks.put(encodeJson(batch));
      const response = await fetch(new URL('/v1/attest', oracle.url), {
        method: 'POST',
        body: JSON.stringify({ kind: 'settle', batchCid }),
        signal: AbortSignal.timeout(30_000),
      });
      return (await response.json()) as AttestationAnswer;
    },
  };
}

/** What is settled of a task that ended, paid as it says or to others. */
function settledTask(
  world: World,
  { taskId, outcome, evidenceCid, resultCid, usage, paidMiners }: TaskCompletion,
  paid: readonly Address[] = paidMiners,
): SettledTask {
  const record = world.gateway.records.get(taskId);
  assert.ok(record && evidenceCid !== undefined && resultCid !== undefined);
  const { ordinal, requestCid } = record;
  const { feeBps } = NETWORK;
  return {
    sessionId: SESSION,
    taskId,
    ordinal,
    outcome,
    requestCid,
    evidenceCid,
    resultCid,
    ...chargeOf({ usage, pricePerTokenWei: 1n, miners: paid, feeBps }),
  };
}

/** Each miner in turn lies, so that it is the primary now and then.
 * @param ask - puts the request, and gives back what the client got of it. */
async function tellApart(
  t: TestContext,
  scripts: { readonly honest: readonly [Script, Script]; readonly liar: Script },
  ask: (world: World) => Promise<unknown>,
  expected: unknown,
): Promise<void> {
  const { world, attest } = await start(t);
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
