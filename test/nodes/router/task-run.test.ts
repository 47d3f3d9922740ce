import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Wallet } from 'ethers';
import { getJson } from '../../../adapters/ipfs/block-store.js';
import type { JudgeRequest } from '../../../domain/api.js';
import { EngineError } from '../../../domain/errors.js';
import type { TaskEvidence } from '../../../domain/task.js';
import { gate, readSse, startWorld, textOf, until, type World } from './support.js';

const count = (world: World, type: string) =>
  world.miners.flatMap((miner) => miner.said).filter((said) => said === type).length;
const reveals = (world: World) =>
  world.miners.flatMap((miner) => miner.heard).filter(({ type }) => type === 'reveal').length;
const evidenceOf = (world: World) =>
  getJson(world.blocks, world.gateway.ends[0]?.evidenceCid ?? '', (v) => v as TaskEvidence);

test('nothing is revealed before every miner that was asked has precommitted', async (t) => {
  const held = gate();
  const world = await startWorld([{}, {}, { beforePrecommit: () => held.opened }], {
    policy: { redundancy: 3 },
  });
  t.after(() => world.close());
  const answer = world.chat('hi');
  await until(() => count(world, 'precommit') === 2, 'two precommitments');
  // A round trip of every socket: a reveal that had been sent would have been heard by now.
  let pongs = 0;
  for (const { ws } of world.miners) {
    ws?.once('pong', () => pongs++);
    ws?.ping();
  }
  await until(() => pongs === 3, 'the round trips');
  assert.equal(reveals(world), 0);
  held.open();
  assert.equal((await answer).status, 200);
  assert.equal(reveals(world), 3);
  const evidence = await evidenceOf(world);
  assert.equal(evidence.verdict.method, 'identical');
  assert.equal(evidence.precommitments.length, 3);
  const sorted = world.miners
    .map((m) => m.address)
    .sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
  assert.deepEqual(world.gateway.ends[0]?.paidMiners, sorted);
});

test('only the primary streams, and the result of every miner is pinned', async (t) => {
  const world = await startWorld([{}, {}, {}], { policy: { redundancy: 3 } });
  t.after(() => world.close());
  await world.chat('a b');
  const streaming = world.miners.filter((miner) => miner.said.includes('frame'));
  assert.equal(streaming.length, 1);
  const evidence = await evidenceOf(world);
  assert.equal(evidence.primary, streaming[0]?.address);
  for (const { resultCid } of evidence.commitments) assert.ok(world.blocks.blocks.has(resultCid));
  assert.ok(world.blocks.blocks.has(evidence.requestCid));
});

test('a commitment that is not what was precommitted is cut off and unpaid', async (t) => {
  const copycat = {
    tamper: (c: { salt: `0x${string}` }) => ({ ...c, salt: `0x${'11'.repeat(32)}` }),
  };
  const world = await startWorld([{}, copycat as never, {}], { policy: { redundancy: 3 } });
  t.after(() => world.close());
  const response = await world.chat('hi');
  assert.equal(response.status, 200);
  const cheat = world.miner(1);
  await until(() => cheat.isClosed, 'the cut');
  assert.equal(cheat.refusal, 'MINER_PROTOCOL');
  const end = world.gateway.ends[0];
  assert.equal(end?.outcome, 'completed');
  assert.equal(end?.paidMiners.length, 2);
  assert.ok(!end?.paidMiners.includes(cheat.address));
});

test('a commitment under another key is cut off and unpaid', async (t) => {
  const forger = { signer: new Wallet(`0x${'03'.repeat(32)}`) };
  const world = await startWorld([{}, forger, {}], { policy: { redundancy: 3 } });
  t.after(() => world.close());
  assert.equal((await world.chat('hi')).status, 200);
  await until(() => world.miner(1).isClosed, 'the cut');
  assert.equal(world.miner(1).refusal, 'MINER_PROTOCOL');
  assert.ok(!world.gateway.ends[0]?.paidMiners.includes(world.miner(1).address));
});

test('a primary that dies in mid-stream is replaced, and the client gets the whole answer', async (t) => {
  let deaths = 0;
  const mortal = {
    beforeFrame: (seq: number, miner: { close(): void }) => {
      if (seq !== 2 || deaths > 0) return;
      deaths++;
      miner.close();
      throw new Error('dead');
    },
  };
  const world = await startWorld([mortal, mortal]);
  t.after(() => world.close());
  const events = await readSse(await world.chat('one two three', { stream: true }));
  assert.equal(deaths, 1);
  assert.equal(textOf(events), 'You said: one two three');
  assert.equal(events.at(-1)?.data, '[DONE]');
  assert.equal(world.gateway.ends[0]?.outcome, 'completed');
});

test('a primary that does not begin in time is replaced', async (t) => {
  const world = await startWorld([{ isDeaf: true }, { isDeaf: true }, {}], { firstTokenMs: 1_500 });
  t.after(() => world.close());
  const response = await world.chat('hi');
  assert.equal(response.status, 200);
  assert.deepEqual(world.gateway.ends[0]?.paidMiners, [world.miner(2).address]);
});

test('a miner that lost its connection is asked again when it is back', async (t) => {
  let deaths = 0;
  const world = await startWorld([
    {
      beforeFrame: (_seq, miner) => {
        if (deaths++ > 0) return;
        miner.close();
        throw new Error('gone');
      },
    },
  ]);
  t.after(() => world.close());
  const answer = world.chat('hi');
  await until(() => deaths === 1, 'the loss');
  await world.miner(0).connect(world.router.url);
  assert.equal((await answer).status, 200);
});

test('a miner that never precommits does not hold up the majority', async (t) => {
  const world = await startWorld([{}, {}, { beforePrecommit: () => new Promise(() => {}) }], {
    policy: { redundancy: 3, taskSeconds: 5 },
  });
  t.after(() => world.close());
  const response = await world.chat('hi');
  assert.equal(response.status, 200);
  const slow = world.miner(2);
  assert.equal(world.gateway.ends[0]?.paidMiners.length, 2);
  assert.ok(!slow.heard.some(({ type }) => type === 'reveal'));
  assert.ok(slow.heard.some(({ type }) => type === 'cancel'));
});

test('without a majority of precommitments nothing is revealed and the task expires', async (t) => {
  const never = { beforePrecommit: () => new Promise<void>(() => {}) };
  const world = await startWorld([{}, never, never], {
    policy: { redundancy: 3, taskSeconds: 1 },
  });
  t.after(() => world.close());
  const response = await world.chat('hi');
  assert.equal(response.status, 504);
  assert.equal(reveals(world), 0);
  assert.deepEqual(world.gateway.ends[0]?.paidMiners, []);
  assert.equal(world.gateway.ends[0]?.outcome, 'expired');
});

test('answers that differ are judged by an oracle, and the agreed one is delivered', async (t) => {
  const asked: JudgeRequest[] = [];
  const world = await startWorld([{}, {}, {}], {
    policy: { redundancy: 3 },
    judge: async (request) => {
      asked.push(request);
      const agreed = request.answers.slice(1);
      return {
        status: 'agreed',
        method: 'embedding',
        medoid: agreed[0]?.miner ?? null,
        scores: request.answers.map(({ miner }, i) => ({
          miner,
          scoreBps: i === 0 ? 100 : 9_900,
          isAgreed: i > 0,
        })),
      };
    },
  });
  t.after(() => world.close());
  world.miners.forEach((miner, i) => {
    miner.script = { answer: () => `answer ${i}` };
  });
  const response = await world.chat('hi');
  const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
  assert.equal(asked.length, 1);
  assert.equal(asked[0]?.asked, 3);
  const evidence = await evidenceOf(world);
  // The primary comes first in the request, and was judged the outlier.
  const agreed = world.miners.findIndex(({ address }) => address === evidence.verdict.medoid);
  assert.notEqual(evidence.primary, evidence.verdict.medoid);
  assert.equal(choices[0]?.message.content, `answer ${agreed}`);
  assert.ok(!world.gateway.ends[0]?.paidMiners.includes(evidence.primary));
});

test('a stream whose answer was not agreed on ends in an error, and its key gets the agreed one', async (t) => {
  const world = await startWorld([{}, {}, {}], {
    policy: { redundancy: 3 },
    judge: async ({ answers }) => ({
      status: 'agreed',
      method: 'embedding',
      medoid: answers[1]?.miner ?? null,
      scores: answers.map(({ miner }, i) => ({ miner, scoreBps: 5_000, isAgreed: i > 0 })),
    }),
  });
  t.after(() => world.close());
  world.miners.forEach((miner, i) => {
    miner.script = { answer: () => `${i} is my answer` };
  });
  const headers = { 'idempotency-key': 'again' };
  const events = await readSse(await world.chat('hi', { stream: true }, headers));
  const last = JSON.parse(events.at(-1)?.data ?? '') as { error: { code: string } };
  assert.equal(last.error.code, 'MINER_FAILED');
  assert.ok(!events.some(({ data }) => data === '[DONE]'));
  const again = await world.chat('hi', {}, headers);
  const { choices } = (await again.json()) as { choices: { message: { content: string } }[] };
  const { verdict } = await evidenceOf(world);
  const agreed = world.miners.findIndex(({ address }) => address === verdict.medoid);
  assert.equal(choices[0]?.message.content, `${agreed} is my answer`);
  assert.equal(world.gateway.ends.length, 1);
});

test('a primary that streams other words than it commits to is found out', async (t) => {
  const world = await startWorld([{ answer: () => 'true words', streams: () => 'false words' }]);
  t.after(() => world.close());
  const whole = await world.chat('hi');
  const { choices } = (await whole.json()) as { choices: { message: { content: string } }[] };
  assert.equal(choices[0]?.message.content, 'true words');
  const events = await readSse(await world.chat('hi', { stream: true }));
  assert.match(events.at(-1)?.data ?? '', /MINER_FAILED/);
});

test('a task whose oracles stay out of reach fails, and nobody is paid', async (t) => {
  const world = await startWorld([{}, {}, {}], {
    policy: { redundancy: 3 },
    judge: async () => {
      throw new EngineError('ATTESTATION_REFUSED');
    },
  });
  t.after(() => world.close());
  world.miners.forEach((miner, i) => {
    miner.script = { answer: () => `answer ${i}` };
  });
  assert.equal((await world.chat('hi')).status, 502);
  assert.equal(world.gateway.ends[0]?.outcome, 'failed');
  assert.deepEqual(world.gateway.ends[0]?.paidMiners, []);
});

test('what is billed is the median of the claims, within the reservation', async (t) => {
  const usage = (completionTokens: number) => ({ usage: { promptTokens: 4, completionTokens } });
  const world = await startWorld([usage(9), usage(100_000), usage(90_000)], {
    policy: { redundancy: 3 },
  });
  t.after(() => world.close());
  await world.chat('hi', { max_tokens: 32 });
  assert.deepEqual(world.gateway.ends[0]?.usage, { promptTokens: 4, completionTokens: 32 });
});
