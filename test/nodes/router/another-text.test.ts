import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSse, startWorld, textOf, until } from './support.js';

test('a replacement with another text gives nothing of it out, and the whole answer is asked for anew', async (t) => {
  const world = await startWorld([
    {
      answer: () => 'the first miner says this',
      beforeFrame: async (n, miner) => {
        if (n !== 3) return;
        await until(() => world.gateway.records.size === 1, 'the record');
        miner.close();
        throw new Error('it is no more');
      },
    },
    { answer: () => 'another text altogether' },
  ]);
  t.after(() => world.close());
  const key = { 'idempotency-key': 'k1' };
  const events = await readSse(await world.chat('hi', { stream: true }, key));
  assert.equal(
    textOf(events.slice(0, -1)),
    'the first miner ',
    'what was given out stays as it is',
  );
  assert.match(events.at(-1)?.data ?? '', /MINER_FAILED/);
  const whole = (await (await world.chat('hi', {}, key)).json()) as {
    choices: { message: { content: string } }[];
  };
  assert.equal(whole.choices[0]?.message.content, 'another text altogether');
  assert.deepEqual(
    world.gateway.ends.map(({ outcome, paidMiners }) => [outcome, paidMiners]),
    [['completed', [world.miner(1).address]]],
  );
});
