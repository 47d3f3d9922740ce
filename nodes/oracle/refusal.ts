/**
 * Why an oracle does not sign. A refusal is an answer: the evidence was there to look at and does
 * not hold. Not being able to look is an error, and asking again may mend it: content that was not
 * found in time may be found later, so it is never a refusal.
 */
import { findEngineError, type ErrorCode } from '../../domain/errors.js';
import type { TaskId } from '../../domain/ids.js';

export class Refusal extends Error {
  override readonly name = 'Refusal';
  /** Tasks that the oracle judges otherwise; empty when it is not about single tasks. */
  readonly disputed: readonly TaskId[];
  /** Tasks that the oracle could not judge, for want of their content. */
  readonly missing: readonly TaskId[];

  /** @param reason - lower-case fragment without content of requests or results. */
  constructor(reason: string, disputed: readonly TaskId[] = [], missing: readonly TaskId[] = []) {
    super(reason);
    this.disputed = disputed;
    this.missing = missing;
  }
}

/** Faults of the evidence itself, as adapters and parsers report them. */
const EVIDENCE_FAULTS: readonly ErrorCode[] = [
  'CONTENT_MISMATCH',
  'CONTENT_TOO_LARGE',
  'REQUEST_INVALID',
  'PROMPT_INVALID',
  'POLICY_INVALID',
  'AMOUNT_INVALID',
  'INVARIANT_BROKEN',
  'SIGNATURE_INVALID',
  'SEAL_BROKEN',
  'SEAL_NOT_RECIPIENT',
];

/** Reads an error as a refusal; `undefined` when it says nothing about the evidence. */
export function asRefusal(error: unknown): Refusal | undefined {
  if (error instanceof Refusal) return error;
  const known = findEngineError(error);
  if (known === undefined || !EVIDENCE_FAULTS.includes(known.code)) return undefined;
  return new Refusal(known.message);
}
