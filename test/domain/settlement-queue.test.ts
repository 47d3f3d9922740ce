import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { packTasks, unpackTasks } from '../../domain/packed-tasks.js';
import { SettlementQueue, type QueueLimits } from '../../domain/settlement-queue.js';
import { TASK_OUTCOMES, type SettledTask } from '../../domain/task.js';
import { settledTask } from '../support/tasks.js';

const LIMITS: QueueLimits = {
  maxTasks: 3,
  maxAmountWei: null,
  maxWaiting: 20,
  retryMs: { min: 100, max: 150 },
};

const ended = (
  tasks: readonly SettledTask[],
  flags: { isUrgent?: boolean; isAlone?: boolean } = {},
) => ({
  tasks,
  isUrgent: false,
  isAlone: false,
  ...flags,
});
const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => settledTask('1', from + i));

const anyTask: fc.Arbitrary<SettledTask> = fc.record(
  {
    sessionId: fc.nat(5).map(String),
    taskId: fc.nat().map((n) => `0x${n.toString(16).padStart(64, '0')}` as const),
    ordinal: fc.nat(100_000),
    outcome: fc.constantFrom(...TASK_OUTCOMES),
    requestCid: fc.string(),
    evidenceCid: fc.string(),
    resultCid: fc.string(),
    chargeWei: fc.nat().map(String),
    feeWei: fc.nat().map(String),
    payments: fc.array(
      fc.record({
        miner: fc.nat(9).map((n) => `0x${n}` as const),
        amountWei: fc.nat().map(String),
      }),
      { maxLength: 9 },
    ),
  },
  {
    requiredKeys: [
      'sessionId',
      'taskId',
      'ordinal',
      'outcome',
      'requestCid',
      'chargeWei',
      'feeWei',
      'payments',
    ],
  },
);

test('packTasks: what is packed comes out as it went in', () => {
  fc.assert(
    fc.property(fc.array(anyTask), (drawn) => {
      // Drawn records have no prototype, read ones do.
      const tasks = JSON.parse(JSON.stringify(drawn)) as SettledTask[];
      const packed: unknown = JSON.parse(JSON.stringify(packTasks(tasks)));
      assert.deepEqual(unpackTasks(packed as ReturnType<typeof packTasks>), tasks);
    }),
  );
});

test('settlement queue: hands out every task once, in whatever way it is carried on meanwhile', () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('add' as const),
      ordinals: fc.array(fc.nat(30), { maxLength: 8 }),
      isAlone: fc.boolean(),
      isUrgent: fc.boolean(),
    }),
    fc.record({ kind: fc.constant('take' as const), missing: fc.nat(4) }),
    fc.record({ kind: fc.constant('carry' as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.option(fc.nat(400)), (steps, amount) => {
      const limits = { ...LIMITS, maxAmountWei: amount === null ? null : BigInt(amount + 1) };
      let queue = new SettlementQueue(limits);
      let now = 0;
      const added = new Set<number>();
      const done: number[] = [];
      const take = (missing: number): number => {
        now += 50;
        const batch = queue.take(now);
        const late = queue.defer(batch.slice(0, missing), now, 1_000_000);
        assert.deepEqual(late, []);
        const rest = batch.slice(missing);
        queue.done(rest);
        done.push(...rest.map((task) => task.ordinal));
        assert.ok(batch.length <= LIMITS.maxTasks);
        return batch.length;
      };
      for (const s of steps) {
        if (s.kind === 'add') {
          queue.add(
            ended(
              s.ordinals.map((n) => settledTask('1', n)),
              s,
            ),
          );
          for (const n of s.ordinals) added.add(n);
        }
        if (s.kind === 'take') take(s.missing);
        if (s.kind === 'carry') {
          queue = new SettlementQueue(
            limits,
            JSON.parse(JSON.stringify(queue.state())) as ReturnType<SettlementQueue['state']>,
          );
        }
      }
      // What was turned away is reported again, as its session does when it is asked to.
      for (let round = 0; round < 3; round++) {
        while (take(0) > 0 || queue.retryAtMs !== null);
        queue.welcome();
        queue.add(ended([...added].map((n) => settledTask('1', n))));
      }
      assert.deepEqual(
        done.sort((a, b) => a - b),
        [...added].sort((a, b) => a - b),
      );
    }),
    { numRuns: 300 },
  );
});

test('settlement queue: turns away what it has no room for, and asks for it once it has', () => {
  const queue = new SettlementQueue(LIMITS);
  queue.add(ended(range(0, 20)));
  queue.add(ended([settledTask('2', 1), settledTask('3', 1), settledTask('2', 2)]));
  assert.deepEqual(queue.welcome(), []);
  while (queue.take(0).length > 0);
  assert.deepEqual(queue.welcome(), ['2', '3']);
  assert.deepEqual(queue.welcome(), [], 'each is asked once');
});

test('settlement queue: is due by count, by amount, and for who cannot wait', () => {
  const queue = new SettlementQueue({ ...LIMITS, maxAmountWei: 300n });
  queue.add(ended(range(0, 2)));
  assert.equal(queue.isDue, false);
  queue.add(ended(range(2, 3)));
  assert.equal(queue.isDue, true);
  queue.take(0);
  assert.equal(queue.isDue, false);
  queue.add(ended(range(3, 4), { isUrgent: true }));
  assert.equal(queue.isDue, true);
  queue.take(0);
  queue.add(ended(range(4, 5), { isAlone: true }));
  assert.equal(queue.isDue, true);
});

test('settlement queue: gives a deferred task back when its deadline is over, by its first deferral', () => {
  const queue = new SettlementQueue(LIMITS);
  const [task] = range(0, 1);
  assert.ok(task);
  queue.add(ended([task]));
  assert.deepEqual(queue.defer(queue.take(0), 0, 250), []);
  assert.equal(queue.retryAtMs, 100);
  assert.deepEqual(queue.take(99), []);
  assert.deepEqual(queue.defer(queue.take(100), 100, 250), []);
  assert.deepEqual(queue.defer(queue.take(260), 260, 250), [task]);
});
