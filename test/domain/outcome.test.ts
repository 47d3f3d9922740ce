import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERRORS, type ErrorCode } from '../../domain/errors.js';
import { errorOfOutcome } from '../../domain/outcome.js';
import { TASK_OUTCOMES } from '../../domain/task.js';

test('a task without an answer is told by its outcome, whatever kept its miners from one', () => {
  for (const outcome of TASK_OUTCOMES) {
    const own = errorOfOutcome(outcome, null);
    const codes = Object.keys(ERRORS) as ErrorCode[];
    const told = codes.filter((code) => errorOfOutcome(outcome, code) !== own);
    const expected = { refused: ['FEATURE_UNSUPPORTED'], failed: ['ORACLE_UNREACHABLE'] };
    assert.deepEqual(told, (expected as Record<string, string[]>)[outcome] ?? []);
    for (const code of told) assert.equal(errorOfOutcome(outcome, code), code);
    assert.equal(errorOfOutcome(outcome, 'A_CODE_OF_LATER'), own);
  }
});
