import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { sameAddress } from '../../../domain/ids.js';
import { gate, readSse, startWorld, textOf, until } from './support.js';

test('a second miner is asked when the first is slow to begin, and whoever begins goes on', async (t) => {
  const held = gate();
  const slow = { beforeFrame: () => held.opened };
  const world = await startWorld([slow, {}], { hedgeMs: 50 });
  t.after(() => world.close());
  const events = await readSse(await world.chat('one two three', { stream: true }));
  assert.equal(textOf(events), 'You said: one two three');
  assert.equal(events.at(-1)?.data, '[DONE]');
  const [first, second] = [world.miner(0), world.miner(1)];
  await until(() => first.heard.some(({ type }) => type === 'cancel'), 'the end of the slow one');
  held.open();
  const [end] = world.gateway.ends;
  assert.equal(end?.outcome, 'completed');
  assert.deepEqual(end?.paidMiners, [second.address]);
  assert.ok(first.heard.some(({ type }) => type === 'assign'));
});

test('a first miner that begins after all, before the second, stays the one that is heard', async (t) => {
  const [never, begin] = [gate(), gate()];
  const world = await startWorld(
    [{ beforeFrame: () => begin.opened }, { beforeFrame: () => never.opened }],
    { hedgeMs: 30 },
  );
  t.after(() => world.close());
  const asked = world.chat('one two', { stream: true });
  await until(() => world.miner(1).heard.some(({ type }) => type === 'assign'), 'the hedge');
  begin.open();
  assert.equal(textOf(await readSse(await asked)), 'You said: one two');
  assert.ok(world.gateway.ends[0]?.paidMiners.every((m) => sameAddress(m, world.miner(0).address)));
  await until(() => world.miner(1).heard.some(({ type }) => type === 'cancel'), 'its end');
  never.open();
});

test('one that is outrun is stopped at once, and nothing that it says then is heard', async (t) => {
  const [held, rest] = [gate(), gate()];
  const world = await startWorld(
    [
      { answer: () => 'late words', beforeFrame: () => held.opened },
      { beforeFrame: (n) => (n === 0 ? undefined : rest.opened) },
    ],
    { hedgeMs: 50, firstTokenMs: 60_000 },
  );
  t.after(() => world.close());
  const asked = world.chat('one two', { stream: true });
  const [slow, fast] = [world.miner(0), world.miner(1)];
  await until(() => fast.said.includes('frame'), 'the hedge');
  await until(() => slow.heard.some(({ type }) => type === 'cancel'), 'the end of the slow one');
  held.open();
  await until(() => slow.said.includes('precommit'), 'what the slow one says');
  rest.open();
  assert.equal(textOf(await readSse(await asked)), 'You said: one two');
  assert.deepEqual(world.gateway.ends[0]?.paidMiners, [fast.address]);
});

test('without hedging nobody else is asked, however slow the first is', async (t) => {
  const world = await startWorld([{ beforeFrame: () => delay(200) }, {}]);
  t.after(() => world.close());
  assert.equal(textOf(await readSse(await world.chat('one', { stream: true }))), 'You said: one');
  assert.ok(!world.miner(1).heard.some(({ type }) => type === 'assign'));
});

test('a second miner takes over when the first dies before it has begun', async (t) => {
  const [never, begin] = [gate(), gate()];
  const world = await startWorld(
    [{ beforeFrame: () => never.opened }, { beforeFrame: () => begin.opened }],
    { hedgeMs: 50 },
  );
  t.after(() => world.close());
  const asked = world.chat('one two', { stream: true });
  await until(() => world.miner(1).heard.some(({ type }) => type === 'assign'), 'the hedge');
  world.miner(0).close();
  begin.open();
  assert.equal(textOf(await readSse(await asked)), 'You said: one two');
  assert.deepEqual(world.gateway.ends[0]?.paidMiners, [world.miner(1).address]);
  never.open();
});

/** Long beside all that a busy machine adds to both sides. */
const LATE_MS = 1_500;

test('the slowest first tokens come sooner with hedging than without', async (t) => {
  const p95 = async (hedgeMs?: number): Promise<number> => {
    let turn = 0;
    // Every eighth answer begins late, whoever gives it.
    const script = {
      beforeFrame: (n: number) => (n === 0 && turn++ % 8 === 7 ? delay(LATE_MS) : null),
    };
    const world = await startWorld([script as never, script as never], {
      ...(hedgeMs !== undefined && { hedgeMs }),
    });
    const times: number[] = [];
    for (let i = 0; i < 24; i++) {
      const startedAt = performance.now();
      const response = await world.chat(`request ${i}`, { stream: true });
      const reader = response.body?.getReader();
      const decoder = new TextDecoder();
      let text = '';
      while (!/"content":"[^"]/.test(text)) text += decoder.decode((await reader?.read())?.value);
      times.push(performance.now() - startedAt);
      while ((await reader?.read())?.done === false);
    }
    await world.close();
    return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.95)] ?? 0;
  };
  const [without, hedged] = [await p95(), await p95(40)];
  t.diagnostic(`first token p95: ${without.toFixed(0)} ms without, ${hedged.toFixed(0)} ms hedged`);
  assert.ok(without >= LATE_MS - 10, 'the scripts are slow');
  assert.ok(hedged < without);
});
