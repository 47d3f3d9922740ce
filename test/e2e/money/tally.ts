/** What happened in a run, counted; and what should not have. */
import { findEngineError, type ErrorCode } from '../../../domain/errors.js';

/** Codes that no fault of a neighbour explains. */
const NEVER: ReadonlySet<ErrorCode> = new Set([
  'INTERNAL',
  'INVARIANT_BROKEN',
  'DATABASE_REFUSED',
  'CHAIN_MISMATCH',
  'CONTENT_MISMATCH',
  'SEAL_BROKEN',
  'SEAL_NOT_RECIPIENT',
  'SIGNATURE_INVALID',
  'IDEMPOTENCY_CONFLICT',
]);

export class Tally {
  readonly #counts = new Map<string, number>();
  readonly #findings: string[] = [];

  count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  /** Notes what a request came to that did not succeed. */
  failed(what: string, error: unknown): void {
    const code = findEngineError(error)?.code;
    this.count(`${what}: ${code ?? nameOf(error)}`);
    if (code === undefined || NEVER.has(code)) this.find(`${what}: ${String(error)}`);
  }

  /** Notes what must not happen. */
  find(what: string): void {
    this.#findings.push(what);
  }

  get findings(): readonly string[] {
    return this.#findings;
  }

  /** All counts, a line each, by name. */
  report(): string {
    return [...this.#counts]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, count]) => `${String(count).padStart(5)}  ${what}`)
      .join('\n');
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}
