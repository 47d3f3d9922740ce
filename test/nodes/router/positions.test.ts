import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { positioned } from '../../../nodes/router/positions.js';
import type { TranscriptEvent } from '../../../nodes/router/transcript.js';

const usage = { promptTokens: 1, completionTokens: 1 };

/** A transcript of a text that is cut into pieces at these shares of it. */
async function* transcript(text: string, cuts: readonly number[]): AsyncGenerator<TranscriptEvent> {
  yield { index: 0, type: 'start' };
  const ends = [...new Set(cuts.map((cut) => Math.floor(cut * text.length))), text.length];
  let from = 0;
  for (const to of ends.toSorted((a, b) => a - b)) {
    if (to > from) yield { index: 0, type: 'delta', text: text.slice(from, to) };
    from = to;
  }
  yield { index: 0, type: 'end', finishReason: 'stop', usage };
}

/** @returns what a client gets, with the number after each event. */
async function read(events: AsyncIterable<TranscriptEvent>, from: number) {
  const got: { text: string; index: number; type: string }[] = [];
  for await (const next of positioned(events, from)) {
    if (next === null || next.isKnown) continue;
    const { event } = next;
    const text = event.type === 'delta' ? event.text : '';
    got.push({ text, index: event.index, type: event.type });
  }
  return got;
}

const textOf = (events: readonly { text: string }[]) => events.map(({ text }) => text).join('');
const share = fc.double({ min: 0, max: 1, noNaN: true });
const shares = fc.array(share, { maxLength: 8 });

test('a stream goes on after any event of another that was cut otherwise, with nothing twice or lost', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ maxLength: 80 }), shares, shares, fc.nat(20), async (...given) => {
      const [text, cuts, otherCuts, at] = given;
      const first = await read(transcript(text, cuts), 0);
      const had = first.slice(0, at % (first.length + 1));
      const last = had.at(-1)?.index;
      const rest = await read(transcript(text, otherCuts), last === undefined ? 0 : last + 1);
      assert.equal(textOf(had) + textOf(rest), text);
      assert.equal([...had, ...rest].filter(({ type }) => type === 'end').length, 1);
      assert.equal([...had, ...rest].filter(({ type }) => type === 'start').length, 1);
    }),
  );
});

test('numbers grow, and are safe integers for the longest answers', async () => {
  const events = await read(transcript('x'.repeat(400_000), [0.1, 0.5, 0.9]), 0);
  const numbers = events.map(({ index }) => index);
  assert.deepEqual(
    numbers,
    [...new Set(numbers)].toSorted((a, b) => a - b),
  );
  assert.ok(numbers.every(Number.isSafeInteger));
});

test('a number of another text is refused, wherever the texts differ', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.string({ minLength: 1, maxLength: 40 }),
      fc.string({ maxLength: 40 }),
      shares,
      async (text, other, cuts) => {
        fc.pre(!text.startsWith(other) && !other.startsWith(text));
        const had = await read(transcript(text, []), 0);
        const number = had.find(({ type }) => type === 'delta')?.index ?? 0;
        await assert.rejects(read(transcript(other, cuts), number + 1), { code: 'MINER_FAILED' });
      },
    ),
  );
});

test('a tool call is gone on with in the middle of its arguments', async () => {
  const call = (pieces: readonly string[]) =>
    (async function* (): AsyncGenerator<TranscriptEvent> {
      yield { index: 0, type: 'start' };
      for (const [i, piece] of pieces.entries()) {
        yield {
          index: 0,
          type: 'tool-call',
          call: 0,
          ...(i === 0 && { name: 'look' }),
          arguments: piece,
        };
      }
      yield { index: 0, type: 'end', finishReason: 'tool-calls', usage };
    })();
  const numbers: number[] = [];
  for await (const next of positioned(call(['{"a"', ':1}']), 0)) {
    numbers.push(next?.event.index ?? 0);
  }
  const rest: string[] = [];
  for await (const next of positioned(call(['{"a":', '1}']), (numbers[1] ?? 0) + 1)) {
    if (next?.isKnown === false && next.event.type === 'tool-call') {
      rest.push(next.event.arguments);
      assert.equal(next.event.name, undefined);
    }
  }
  assert.equal(rest.join(''), ':1}');
});
