import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ARCHIVE_PAGE_TASKS } from '../../domain/archive.js';
import type { Address, Hex, TaskId } from '../../domain/ids.js';
import { REMEMBERED_TASKS, SessionLedger, type LedgerTerms } from '../../domain/ledger.js';
import { parsePolicy, type SessionPolicy } from '../../domain/session.js';
import type { SettlementReport } from '../../domain/settlement.js';
import {
  TASK_OUTCOMES,
  type TaskCompletion,
  type TaskOutcome,
  type TaskSubmission,
} from '../../domain/task.js';

const POLICY = parsePolicy({
  model: 'm',
  redundancy: 3,
  level: 'link',
  priceCeilingWei: '100',
  maxTasks: 100_000,
  idleSeconds: 60,
  taskSeconds: 60,
});
const MINERS: Address[] = ['0xaa', '0xbb', '0xcc'];
const USAGE = { promptTokens: 10, completionTokens: 20 };
const TRANSACTION: Hex = '0x01';

function terms(depositedWei: bigint, policy: Partial<SessionPolicy> = {}): LedgerTerms {
  return {
    sessionId: '7',
    policy: { ...POLICY, ...policy },
    depositedWei,
    pricePerTokenWei: 10n,
    feeBps: 500,
    settlesFree: false,
  };
}

function taskId(n: number): TaskId {
  return `0x${n.toString(16).padStart(64, '0')}`;
}

function submission(n: number): TaskSubmission {
  return {
    taskId: taskId(n),
    requestCid: `cid-${n}`,
    model: 'm',
    maxPromptTokens: 50,
    maxTokens: 50,
    seed: n,
  };
}

function completion(n: number, changes: Partial<TaskCompletion> = {}): TaskCompletion {
  return {
    taskId: taskId(n),
    outcome: 'completed',
    evidenceCid: 'evidence',
    paidMiners: MINERS,
    usage: USAGE,
    ...changes,
  };
}

function settled(n: number): SettlementReport {
  return { taskIds: [taskId(n)], isSettled: true, transaction: TRANSACTION, batchCid: 'batch' };
}

function disputed(n: number): SettlementReport {
  return { taskIds: [taskId(n)], isSettled: false, transaction: null, batchCid: null };
}

// 100 tokens × 10 wei × 3 miners + 5 %
const RESERVATION = 3_150n;
// 30 tokens × 10 wei × 3 miners + 5 %
const CHARGE = 945n;

test('ledger: reserves the worst case when it accepts, and charges the usage when it ends', () => {
  const ledger = new SessionLedger(terms(10_000n));
  assert.deepEqual(ledger.submit(submission(1), 0), { taskId: taskId(1), ordinal: 0, ended: null });
  assert.equal(ledger.budget(0n).reservedWei, RESERVATION.toString());
  const answer = ledger.complete(completion(1));
  assert.equal(answer.chargeWei, CHARGE.toString());
  assert.equal(ledger.budget(0n).reservedWei, '0');
  assert.equal(ledger.budget(0n).chargedWei, CHARGE.toString());
});

test('ledger: refuses a task that the rest of the deposit does not cover, and keeps nothing of it', () => {
  const ledger = new SessionLedger(terms(RESERVATION - 1n));
  assert.deepEqual(ledger.submit(submission(1), 0), {
    taskId: taskId(1),
    refused: 'BUDGET_EXHAUSTED',
  });
  assert.equal(ledger.record(taskId(1)), null);
  assert.equal(ledger.budget(0n).reservedWei, '0');
});

test('ledger: answers a repeated request with its first ordinal, and with its end once it has one', () => {
  const ledger = new SessionLedger(terms(10_000n));
  ledger.submit(submission(1), 0);
  assert.deepEqual(ledger.submit(submission(1), 9), { taskId: taskId(1), ordinal: 0, ended: null });
  ledger.complete(completion(1));
  assert.deepEqual(ledger.submit(submission(1), 9), {
    taskId: taskId(1),
    ordinal: 0,
    ended: 'completed',
  });
  assert.equal(ledger.counts.accepted, 1);
});

test('ledger: refuses an idempotency key that comes with another request', () => {
  const ledger = new SessionLedger(terms(10_000n));
  ledger.submit(submission(1), 0);
  const other = { ...submission(1), requestCid: 'another' };
  assert.deepEqual(ledger.submit(other, 0), { taskId: taskId(1), refused: 'IDEMPOTENCY_CONFLICT' });
});

test('ledger: takes no more tasks than the policy allows', () => {
  const ledger = new SessionLedger(terms(1_000_000n, { maxTasks: 1 }));
  ledger.submit(submission(1), 0);
  assert.deepEqual(ledger.submit(submission(2), 0), {
    taskId: taskId(2),
    refused: 'BUDGET_EXHAUSTED',
  });
});

test('ledger: charges a task once, however often its completion arrives', () => {
  const ledger = new SessionLedger(terms(10_000n));
  ledger.submit(submission(1), 0);
  ledger.complete(completion(1));
  const again = ledger.complete(
    completion(1, { usage: { promptTokens: 50, completionTokens: 50 } }),
  );
  assert.equal(again.chargeWei, CHARGE.toString());
  assert.equal(ledger.chargedWei, CHARGE);
});

for (const outcome of ['no-quorum', 'expired', 'refused', 'cancelled', 'failed'] as const) {
  test(`ledger: gives the whole reservation back when a task ends as ${outcome}`, () => {
    const ledger = new SessionLedger(terms(10_000n));
    ledger.submit(submission(1), 0);
    const answer = ledger.complete(completion(1, { outcome }));
    assert.deepEqual(answer, { taskId: taskId(1), outcome, chargeWei: '0' });
    assert.equal(ledger.budget(0n).reservedWei, '0');
    assert.equal(ledger.chargedWei, 0n);
    assert.deepEqual(ledger.unsettled, []);
  });
}

test('ledger: a completion dearer than its reservation ends as failed, free', () => {
  const ledger = new SessionLedger(terms(10_000n));
  ledger.submit(submission(1), 0);
  const greedy = completion(1, { usage: { promptTokens: 1_000, completionTokens: 1_000 } });
  assert.deepEqual(ledger.complete(greedy), {
    taskId: taskId(1),
    outcome: 'failed',
    chargeWei: '0',
  });
});

test('ledger: a completion without evidence pays nobody', () => {
  const ledger = new SessionLedger(terms(10_000n));
  ledger.submit(submission(1), 0);
  const { evidenceCid: _, ...bare } = completion(1);
  assert.equal(ledger.complete(bare).outcome, 'failed');
  assert.equal(ledger.chargedWei, 0n);
});

test('ledger: a disputed task gives its charge back, a settled one keeps it', () => {
  const ledger = new SessionLedger(terms(10_000n));
  for (const n of [1, 2]) {
    ledger.submit(submission(n), 0);
    ledger.complete(completion(n));
  }
  ledger.settle(settled(1));
  ledger.settle(disputed(2));
  assert.equal(ledger.chargedWei, CHARGE);
  assert.equal(ledger.record(taskId(1))?.state, 'Settled');
  assert.equal(ledger.record(taskId(2))?.outcome, 'disputed');
  assert.deepEqual(ledger.unsettled, []);
  ledger.settle(disputed(1));
  assert.equal(ledger.chargedWei, CHARGE, 'a settled task cannot be disputed afterwards');
});

test('ledger: expires only tasks that were accepted before the given time', () => {
  const ledger = new SessionLedger(terms(10_000n));
  ledger.submit(submission(1), 100);
  ledger.submit(submission(2), 200);
  assert.deepEqual(ledger.expire(200), [taskId(1)]);
  assert.equal(ledger.record(taskId(1))?.outcome, 'expired');
  assert.equal(ledger.record(taskId(2))?.state, 'Queued');
});

test('ledger: gives its oldest tasks to the archive by pages, but never one whose money is under way', () => {
  const ledger = new SessionLedger(terms(1n << 100n));
  ledger.submit(submission(0), 0);
  ledger.complete(completion(0));
  for (let n = 1; n < REMEMBERED_TASKS + ARCHIVE_PAGE_TASKS; n++) {
    assert.deepEqual(ledger.archivable(), []);
    ledger.submit(submission(n), 0);
    ledger.complete(completion(n, { outcome: 'failed' }));
  }
  const page = ledger.archivable();
  assert.equal(page.length, ARCHIVE_PAGE_TASKS);
  assert.equal(page[0]?.taskId, taskId(1), 'the oldest one is not settled');
  assert.equal(ledger.records().length, REMEMBERED_TASKS + ARCHIVE_PAGE_TASKS);
  ledger.forget(page.map((record) => record.taskId));
  assert.equal(ledger.record(taskId(1)), null);
  assert.equal(ledger.record(taskId(0))?.outcome, 'completed');
  assert.equal(ledger.records().length, REMEMBERED_TASKS);
  assert.equal(ledger.counts.ended, REMEMBERED_TASKS + ARCHIVE_PAGE_TASKS);
  assert.deepEqual(ledger.archivable(), []);
});

test('ledger: keeps the batch of a settled task, also of one settled by an unknown transaction', () => {
  const ledger = new SessionLedger(terms(10_000n));
  for (const n of [1, 2]) {
    ledger.submit(submission(n), 0);
    ledger.complete(completion(n));
  }
  ledger.settle(settled(1));
  ledger.settle({ ...settled(2), transaction: null, batchCid: null });
  assert.deepEqual(
    ledger.records().map((r) => [r.state, r.settlementTx, r.batchCid]),
    [
      ['Settled', TRANSACTION, 'batch'],
      ['Settled', null, null],
    ],
  );
});

test('ledger: every end but a completed one gives the whole reservation back', () => {
  const outcomes: Record<TaskOutcome, (ledger: SessionLedger) => void> = {
    completed: (ledger) => ledger.complete(completion(1)),
    'no-quorum': (ledger) =>
      ledger.complete(completion(1, { outcome: 'no-quorum', paidMiners: [] })),
    refused: (ledger) => ledger.complete(completion(1, { outcome: 'refused', paidMiners: [] })),
    failed: (ledger) => ledger.complete(completion(1, { outcome: 'failed', paidMiners: [] })),
    expired: (ledger) => ledger.expire(101),
    cancelled: (ledger) => ledger.cancel([taskId(1)]),
    disputed: (ledger) => {
      ledger.complete(completion(1));
      ledger.settle(disputed(1));
    },
  };
  for (const outcome of TASK_OUTCOMES) {
    const ledger = new SessionLedger(terms(10_000n));
    ledger.submit(submission(1), 100);
    assert.equal(ledger.freeWei, 10_000n - RESERVATION);
    outcomes[outcome](ledger);
    assert.equal(ledger.record(taskId(1))?.outcome, outcome);
    const { reservedWei, freeWei } = ledger.budget(0n);
    const costWei = outcome === 'completed' ? CHARGE : 0n;
    assert.deepEqual([reservedWei, freeWei], ['0', String(10_000n - costWei)], outcome);
  }
});

test('ledger: cancels what is open, and leaves what has ended as it ended', () => {
  const ledger = new SessionLedger(terms(10_000n));
  ledger.submit(submission(1), 0);
  ledger.submit(submission(2), 0);
  ledger.complete(completion(1));
  assert.deepEqual(
    ledger.cancel([taskId(1), taskId(2)]).map((answer) => [answer.outcome, answer.chargeWei]),
    [
      ['completed', String(CHARGE)],
      ['cancelled', '0'],
    ],
  );
});

test('ledger: while its policy changes it is busy for new tasks, and answers for those it knows', () => {
  const ledger = new SessionLedger(terms(10_000n));
  ledger.submit(submission(1), 0);
  ledger.isPaused = true;
  const id = taskId(2);
  assert.deepEqual(ledger.submit(submission(2), 0), { taskId: id, refused: 'SESSION_BUSY' });
  assert.deepEqual(ledger.submit(submission(1), 0), { taskId: taskId(1), ordinal: 0, ended: null });
});

test('ledger: judges new tasks by the new policy, and accepted ones by what was reserved', () => {
  const ledger = new SessionLedger(terms(10_000n));
  ledger.submit(submission(1), 0);
  ledger.changePolicy({ ...POLICY, redundancy: 1, minMiners: 1, maxTasks: 2 });
  ledger.submit(submission(2), 0);
  assert.equal(ledger.budget(0n).reservedWei, String(RESERVATION + RESERVATION / 3n));
  assert.deepEqual(ledger.submit(submission(3), 0), {
    taskId: taskId(3),
    refused: 'BUDGET_EXHAUSTED',
  });
});

test('ledger: a withdrawal is promised to nobody else, and is free again when it is refused', () => {
  const ledger = new SessionLedger(terms(4_000n));
  assert.equal(ledger.withdraw('0x01', 4_001n), false);
  assert.equal(ledger.withdraw('0x01', 1_000n), true);
  assert.deepEqual(ledger.submit(submission(1), 0), {
    taskId: taskId(1),
    refused: 'BUDGET_EXHAUSTED',
  });
  ledger.endWithdrawal('0x01', false);
  assert.equal(ledger.freeWei, 4_000n);
  assert.equal(ledger.withdrawal('0x01'), null);

  ledger.withdraw('0x01', 1_000n);
  ledger.withdraw('0x01', 1_000n);
  ledger.endWithdrawal('0x01', true);
  ledger.endWithdrawal('0x01', true);
  assert.deepEqual(ledger.budget(0n), {
    depositedWei: '4000',
    reservedWei: '0',
    chargedWei: '0',
    refundedWei: '1000',
    freeWei: '3000',
  });
});

test('ledger: follows what the chain says of its deposit, with withdrawals still to come', () => {
  const ledger = new SessionLedger(terms(1_000n));
  ledger.withdraw('0x01', 600n);
  ledger.setDeposit(5_000n);
  assert.equal(ledger.freeWei, 4_400n);
  ledger.endWithdrawal('0x01', true);
  assert.equal(ledger.budget(0n).depositedWei, '5000');
  assert.equal(ledger.freeWei, 4_400n);
});

test('ledger: settles the free end of a task that a contract waits for, and of no other', () => {
  const plain = new SessionLedger(terms(10_000n));
  const waiting = new SessionLedger({ ...terms(10_000n), settlesFree: true });
  for (const ledger of [plain, waiting]) {
    ledger.submit(submission(1), 0);
    ledger.complete(completion(1, { outcome: 'no-quorum', paidMiners: [] }));
  }
  assert.deepEqual(plain.unsettled, []);
  assert.deepEqual(
    waiting.unsettled.map((task) => [task.outcome, task.chargeWei]),
    [['no-quorum', '0']],
  );
  waiting.settle(settled(1));
  assert.equal(waiting.record(taskId(1))?.batchCid, 'batch');
});

test('ledger: what is disputed while a contract waits is settled again, free and without evidence', () => {
  const ledger = new SessionLedger({ ...terms(10_000n), settlesFree: true });
  ledger.submit(submission(1), 0);
  ledger.complete(completion(1, { resultCid: 'result' }));
  ledger.settle(disputed(1));
  const [task] = ledger.unsettled;
  assert.equal(task?.outcome, 'disputed');
  assert.equal(task?.evidenceCid, undefined);
  assert.equal(task?.resultCid, undefined);
  assert.equal(ledger.chargedWei, 0n);
  ledger.settle(disputed(1));
  assert.deepEqual(ledger.unsettled, [], 'refused twice, it is left to the deadline');
});

/** Any history of a session: the properties below hold after every step of it. */
test('ledger: keeps what kept miners from an answer, also for the next run, and only of that task', () => {
  const ledger = new SessionLedger(terms(100_000n));
  for (const n of [1, 2, 3]) ledger.submit(submission(n), 0);
  ledger.complete(completion(1));
  ledger.complete(completion(2, { outcome: 'refused', failure: 'FEATURE_UNSUPPORTED' }));
  ledger.complete(completion(3, { outcome: 'cancelled' }));
  const carried = new SessionLedger(terms(100_000n), ledger.state());
  for (const holder of [ledger, carried]) {
    const failures = holder.records().map((record) => record.failure);
    assert.deepEqual(failures, [undefined, 'FEATURE_UNSUPPORTED', undefined]);
  }
});

const step = fc.oneof(
  fc.record({ kind: fc.constant('submit' as const), n: fc.nat(20) }),
  fc.record({
    kind: fc.constant('complete' as const),
    n: fc.nat(20),
    outcome: fc.constantFrom('completed' as const, 'failed' as const, 'no-quorum' as const),
    tokens: fc.nat(80),
    paid: fc.nat(3),
    failure: fc.constantFrom(undefined, 'NO_MINERS' as const, 'FEATURE_UNSUPPORTED' as const),
  }),
  fc.record({ kind: fc.constant('settle' as const), n: fc.nat(20), isDisputed: fc.boolean() }),
  fc.record({ kind: fc.constant('expire' as const), before: fc.nat(100) }),
  fc.record({ kind: fc.constant('cancel' as const), n: fc.nat(20) }),
  fc.record({ kind: fc.constant('deposit' as const), wei: fc.nat(5_000) }),
  fc.record({ kind: fc.constant('withdraw' as const), n: fc.nat(9), wei: fc.nat(5_000) }),
  fc.record({ kind: fc.constant('withdrawn' as const), n: fc.nat(9), isDone: fc.boolean() }),
  fc.record({ kind: fc.constant('carry' as const) }),
);

test('ledger: never promises more than the deposit, and survives being carried, in any history', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.nat(30_000), (steps, deposit) => {
      let ledger = new SessionLedger(terms(BigInt(deposit)));
      let now = 0;
      let gross = BigInt(deposit);
      for (const s of steps) {
        now++;
        if (s.kind === 'submit') ledger.submit(submission(s.n), now);
        if (s.kind === 'complete') {
          ledger.complete(
            completion(s.n, {
              outcome: s.outcome,
              ...(s.failure === undefined ? {} : { failure: s.failure }),
              paidMiners: MINERS.slice(0, s.paid),
              usage: { promptTokens: s.tokens, completionTokens: s.tokens },
            }),
          );
        }
        if (s.kind === 'settle') ledger.settle(s.isDisputed ? disputed(s.n) : settled(s.n));
        if (s.kind === 'expire') ledger.expire(s.before);
        if (s.kind === 'cancel') ledger.cancel([taskId(s.n)]);
        if (s.kind === 'deposit') {
          gross += BigInt(s.wei);
          ledger.setDeposit(gross - BigInt(ledger.budget(0n).refundedWei));
        }
        if (s.kind === 'withdraw') ledger.withdraw(`0x${s.n}`, BigInt(s.wei));
        if (s.kind === 'withdrawn') ledger.endWithdrawal(`0x${s.n}`, s.isDone);
        if (s.kind === 'carry') {
          const before = [ledger.budget(0n), ledger.records(), ledger.counts];
          const state = JSON.parse(JSON.stringify(ledger.state())) as ReturnType<
            typeof ledger.state
          >;
          ledger = new SessionLedger(terms(BigInt(deposit)), state);
          assert.deepEqual([ledger.budget(0n), ledger.records(), ledger.counts], before);
        }
        const { reservedWei, chargedWei, refundedWei, freeWei, depositedWei } = ledger.budget(0n);
        assert.ok(BigInt(reservedWei) >= 0n && BigInt(chargedWei) >= 0n && BigInt(freeWei) >= 0n);
        assert.equal(BigInt(depositedWei), gross);
        const pending = ledger
          .state()
          .withdrawals.filter((withdrawal) => withdrawal.isPending)
          .reduce((total, withdrawal) => total + BigInt(withdrawal.amountWei), 0n);
        const parts = [reservedWei, chargedWei, refundedWei, freeWei].map(BigInt);
        assert.equal(
          parts.reduce((a, b) => a + b, pending),
          gross,
          'the sum closes',
        );
        const sum = ledger
          .records()
          .reduce((total, record) => total + BigInt(record.chargeWei), 0n);
        assert.equal(sum, BigInt(chargedWei), 'charges of the tasks add up to what is charged');
        if (ledger.openTasks.length === 0) assert.equal(reservedWei, '0');
      }
    }),
    { numRuns: 300 },
  );
});
