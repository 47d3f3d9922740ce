import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chargeOf } from '../../domain/charge.js';
import { EngineError } from '../../domain/errors.js';
import type { Address } from '../../domain/ids.js';
import { sumBatch } from '../../domain/settlement.js';
import type { SettledTask } from '../../domain/task.js';

const MINERS: Address[] = [
  '0x1000000000000000000000000000000000000000',
  '0x2000000000000000000000000000000000000000',
  '0x3000000000000000000000000000000000000000',
];

function task(session: number, ordinal: number, tokens: number, miners = MINERS): SettledTask {
  return {
    sessionId: String(session),
    taskId: `0x${session}${ordinal}`,
    ordinal,
    outcome: 'completed',
    requestCid: 'request',
    evidenceCid: 'evidence',
    ...chargeOf({
      usage: { promptTokens: tokens, completionTokens: 1 },
      pricePerTokenWei: 7n,
      miners,
      feeBps: 333,
    }),
  };
}

test('sumBatch: adds charges by session and word, payments by miner, in order', () => {
  const sums = sumBatch([task(9, 256, 1), task(3, 0, 1), task(3, 2, 1, MINERS.slice(0, 2))]);
  assert.deepEqual(
    sums.charges.map((c) => [c.sessionId, c.word, BigInt(c.mask)]),
    [
      ['3', 0, 5n],
      ['9', 1, 1n],
    ],
  );
  assert.deepEqual(
    sums.payments.map((p) => p.amountWei),
    ['42', '42', '28'],
  );
});

test('sumBatch: charges equal payments and fee to the last wei, for any tasks', () => {
  const any = fc.uniqueArray(
    fc.record({
      session: fc.integer({ min: 1, max: 5 }),
      ordinal: fc.nat(600),
      tokens: fc.nat(5_000),
    }),
    { selector: (t) => `${t.session}:${t.ordinal}`, maxLength: 60 },
  );
  fc.assert(
    fc.property(any, (tasks) => {
      const sums = sumBatch(tasks.map((t) => task(t.session, t.ordinal, t.tokens)));
      const charged = sums.charges.reduce((sum, c) => sum + BigInt(c.amountWei), 0n);
      const paid = sums.payments.reduce((sum, p) => sum + BigInt(p.amountWei), 0n);
      assert.equal(charged, paid + BigInt(sums.feeWei));
      const bits = sums.charges.reduce(
        (n, c) => n + BigInt(c.mask).toString(2).replaceAll('0', '').length,
        0,
      );
      assert.equal(bits, tasks.length);
    }),
  );
});

test('sumBatch: refuses a task twice, and a task whose own sum does not close', () => {
  const isBroken = (error: unknown) =>
    error instanceof EngineError && error.code === 'INVARIANT_BROKEN';
  assert.throws(() => sumBatch([task(1, 1, 1), task(1, 1, 1)]), isBroken);
  assert.throws(() => sumBatch([{ ...task(1, 1, 1), chargeWei: '1' }]), isBroken);
});
