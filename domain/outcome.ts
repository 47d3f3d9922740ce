/** What a task's end without an answer is called where it is told as an error. */
import type { ErrorCode } from './errors.js';
import type { TaskOutcome } from './task.js';

const OUTCOME_ERRORS: Readonly<Record<TaskOutcome, ErrorCode>> = {
  completed: 'CONTENT_MISSING',
  'no-quorum': 'NO_QUORUM',
  expired: 'MINER_TIMEOUT',
  refused: 'MINER_FAILED',
  cancelled: 'TASK_CANCELLED',
  failed: 'MINER_FAILED',
  disputed: 'ATTESTATION_REFUSED',
};

/** What is told in place of an outcome's own code: whose fault it was, where it was not the miners'. */
const TOLD_FAILURES: Readonly<Partial<Record<TaskOutcome, ErrorCode>>> = {
  // The request is at fault where every miner says so, and asking again is of no use.
  refused: 'FEATURE_UNSUPPORTED',
  // The miners answered, but not alike, and nobody could judge their answers.
  failed: 'ORACLE_UNREACHABLE',
};

/** The code that a client gets for a task that brought no answer: the same when it ends, and when it
 * is read from its record.
 * @param failure - what kept its miners from it, as far as that is known. */
export function errorOfOutcome(outcome: TaskOutcome, failure: string | null): ErrorCode {
  const told = TOLD_FAILURES[outcome];
  return told !== undefined && told === failure ? told : OUTCOME_ERRORS[outcome];
}
