import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Address } from '../../domain/ids.js';
import { exactKey } from '../../domain/tools.js';
import { cosineDistance, judgeEmbeddings, judgeIdentical } from '../../domain/verdict.js';

const A: Address = '0xa';
const B: Address = '0xb';
const C: Address = '0xc';

function unit(...values: number[]): Float32Array {
  const norm = Math.hypot(...values);
  return Float32Array.from(values.map((v) => v / norm));
}

test('judgeEmbeddings: agrees with the near majority and leaves the outlier out', () => {
  const verdict = judgeEmbeddings(
    [
      { miner: A, embedding: unit(1, 0.1) },
      { miner: B, embedding: unit(0, 1) },
      { miner: C, embedding: unit(1, 0) },
    ],
    3,
  );
  assert.equal(verdict.status, 'agreed');
  assert.deepEqual(
    verdict.scores.map((s) => s.isAgreed),
    [true, false, true],
  );
  assert.ok(verdict.medoid === A || verdict.medoid === C);
});

test('judgeEmbeddings: finds no quorum when all answers differ, and pays nobody', () => {
  const verdict = judgeEmbeddings(
    [
      { miner: A, embedding: unit(1, 0, 0) },
      { miner: B, embedding: unit(0, 1, 0) },
      { miner: C, embedding: unit(0, 0, 1) },
    ],
    3,
  );
  assert.equal(verdict.status, 'no-quorum');
  assert.equal(verdict.medoid, null);
  assert.ok(verdict.scores.every((s) => !s.isAgreed));
});

test('judgeEmbeddings: one embedding for all does not make different calls agree', () => {
  const embedding = unit(1, 0);
  const call = (amount: number) =>
    exactKey({
      text: '',
      toolCalls: [{ name: 'pay', arguments: JSON.stringify({ amount, to: 'x' }) }],
    });
  agreeWhereEqual((sum) => ({ embedding, exact: sum === 0 ? '' : call(sum) }));
});

test('judgeEmbeddings: one embedding for all does not make forms agree that differ in one number', () => {
  const embedding = unit(1, 0);
  agreeWhereEqual((sum, i) => {
    // As miners write it: keys in another order, and white space.
    const total = i % 2 === 0 ? { total: sum, unit: 'EUR' } : { unit: 'EUR', total: sum };
    const text = sum === 0 ? 'in prose' : JSON.stringify({ invoices: [total] }, null, i % 3);
    return { embedding, exact: exactKey({ text }) };
  });
});

/** Holds verdicts over answers of the same and of other values to what counting them says. */
function agreeWhereEqual(
  answer: (
    value: number,
    i: number,
  ) => Omit<Parameters<typeof judgeEmbeddings>[0][number], 'miner'>,
): void {
  const values = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 9 });
  fc.assert(
    fc.property(values, (given) => {
      const answers = given.map((value, i) => ({
        miner: `0x${i}` as Address,
        ...answer(value, i),
      }));
      const verdict = judgeEmbeddings(answers, answers.length);
      const most = given.find(
        (v) => given.filter((other) => other === v).length * 2 > given.length,
      );
      assert.equal(verdict.status, most === undefined ? 'no-quorum' : 'agreed');
      const agreed = verdict.scores.map(({ isAgreed }) => isAgreed);
      assert.deepEqual(
        agreed,
        given.map((value) => most !== undefined && value === most),
      );
    }),
  );
}

test('judgeEmbeddings: counts miners that did not answer against the majority', () => {
  const same = unit(1, 0);
  const answers = [{ miner: A, embedding: same }];
  assert.equal(judgeEmbeddings(answers, 1).status, 'agreed');
  assert.equal(judgeEmbeddings(answers, 2).status, 'no-quorum');
});

test('judgeIdentical: needs a strict majority of the miners that were asked', () => {
  assert.equal(judgeIdentical([A, B], 3).status, 'agreed');
  assert.equal(judgeIdentical([A, B], 4).status, 'no-quorum');
});

test('judgeEmbeddings: scores lie in range and do not depend on the order of answers', () => {
  const vector = fc
    .array(fc.integer({ min: -100, max: 100 }), { minLength: 4, maxLength: 4 })
    .filter((v) => v.some((x) => x !== 0))
    .map((v) => unit(...v));
  fc.assert(
    fc.property(fc.array(vector, { minLength: 1, maxLength: 6 }), (vectors) => {
      const answers = vectors.map((embedding, i): { miner: Address; embedding: Float32Array } => ({
        miner: `0x${i}`,
        embedding,
      }));
      const verdict = judgeEmbeddings(answers, answers.length);
      const reversed = judgeEmbeddings([...answers].reverse(), answers.length);
      assert.equal(verdict.scores.length, answers.length);
      assert.ok(verdict.scores.every((s) => s.scoreBps >= 0 && s.scoreBps <= 10_000));
      assert.equal(
        verdict.scores.filter((s) => s.isAgreed).length > 0,
        verdict.status === 'agreed',
      );
      const spread = (v: typeof verdict) => v.scores.map((s) => s.scoreBps).sort((x, y) => x - y);
      if (verdict.medoid === reversed.medoid) assert.deepEqual(spread(verdict), spread(reversed));
    }),
  );
});

test('cosineDistance: is zero for equal directions, one for right angles, two for opposite ones', () => {
  assert.ok(Math.abs(cosineDistance(unit(1, 1), unit(2, 2))) < 1e-6);
  assert.ok(Math.abs(cosineDistance(unit(1, 0), unit(0, 1)) - 1) < 1e-6);
  assert.ok(Math.abs(cosineDistance(unit(1, 0), unit(-1, 0)) - 2) < 1e-6);
});
