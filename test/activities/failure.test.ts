import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CancelledFailure } from '@temporalio/activity';
import { ApplicationFailure, ApplicationFailureCategory } from '@temporalio/common';
import { translated } from '../../activities/failure.js';
import { EngineError, ERRORS, type ErrorCode } from '../../domain/errors.js';

const CANARY = 'canary-5f1d';

/** What leaves an activity that throws this. */
async function failureOf(thrown: unknown): Promise<unknown> {
  const { fail } = translated({
    fail: async () => {
      throw thrown;
    },
  });
  try {
    await fail();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

test('activity failures: every code keeps its name, its details, and whether a retry can mend it', async () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const failure = await failureOf(new EngineError(code, { key: 'value' }));
    assert.ok(failure instanceof ApplicationFailure);
    assert.equal(failure.type, code);
    assert.equal(failure.nonRetryable, !ERRORS[code].retryable, code);
    assert.deepEqual(failure.details, [{ key: 'value' }]);
  }
});

test("activity failures: only a peer's fault is expected", async () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const failure = await failureOf(new EngineError(code));
    assert.ok(failure instanceof ApplicationFailure);
    const isExpected = failure.category === ApplicationFailureCategory.BENIGN;
    assert.equal(isExpected, ERRORS[code].fault === 'peer', code);
  }
});

test('activity failures: an unknown error is tried again, and its text stays inside', async () => {
  const failure = await failureOf(new TypeError(`${CANARY} postgres://user:${CANARY}@host`));
  assert.ok(failure instanceof ApplicationFailure);
  assert.equal(failure.type, 'INTERNAL');
  assert.notEqual(failure.nonRetryable, true);
  assert.match(failure.message, /TypeError/);
  const all = JSON.stringify([failure.message, failure.details, failure.stack, failure.cause]);
  assert.ok(!all.includes(CANARY), all);
});

test('activity failures: an unknown error of many lines gives away none of them', async () => {
  const failure = await failureOf(new Error(`first\n    at ${CANARY} (${CANARY}:1:1)`));
  assert.ok(failure instanceof ApplicationFailure);
  assert.ok(!failure.message.includes(CANARY), failure.message);
});

test('activity failures: what is thrown without being an error gives nothing away', async () => {
  const failure = await failureOf(CANARY);
  assert.ok(failure instanceof ApplicationFailure);
  assert.ok(!`${failure.message}${failure.stack}`.includes(CANARY));
});

test('activity failures: an engine error inside another error decides', async () => {
  const cause = new EngineError('DATABASE_REFUSED');
  const failure = await failureOf(new Error(CANARY, { cause }));
  assert.ok(failure instanceof ApplicationFailure);
  assert.equal(failure.type, 'DATABASE_REFUSED');
  assert.ok(!failure.message.includes(CANARY));
});

test("activity failures: Temporal's own errors pass as they are", async () => {
  const failures = [new CancelledFailure('cancelled'), ApplicationFailure.nonRetryable('x', 'X')];
  for (const own of failures) assert.equal(await failureOf(own), own);
});

test('activity failures: a function that does not fail answers as before', async () => {
  const { add } = translated({ add: async (a: number, b: number) => a + b });
  assert.equal(await add(1, 2), 3);
});
