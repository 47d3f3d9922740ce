/** What bounds a read of a user's database, and how its values are text. */
import { EngineError } from '../../../domain/errors.js';
import type { ReadLimits, Row } from './database.js';

/** Gathers rows until a limit is passed. */
export class BoundedRows {
  readonly rows: Row[] = [];
  readonly #limits: ReadLimits;
  #bytes = 0;

  constructor(limits: ReadLimits) {
    this.#limits = limits;
  }

  /** @throws SOURCE_INVALID — there are too many, or too much is in them. */
  add(row: Row): void {
    const { rows, bytes } = this.#limits;
    for (const value of Object.values(row)) this.#bytes += Buffer.byteLength(textOf(value));
    this.rows.push(row);
    if (this.rows.length > rows) throw invalid('query', `at most ${rows} rows`);
    if (this.#bytes > bytes) throw invalid('query', `at most ${bytes} bytes of text`);
  }
}

/** A column's value as text; of bytes, how many there are. */
export function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return value;
  if (value instanceof Date) return value.toISOString();
  if (Buffer.isBuffer(value)) return `(${value.length} bytes)`;
  return typeof value === 'object' ? JSON.stringify(value) : String(value as number);
}

/** @returns the error for what a declaration got wrong. */
export function invalid(field: string, expected: string): EngineError {
  return new EngineError('SOURCE_INVALID', { field, expected });
}

/** @returns the error for an account that may do more than read. */
export function tooPowerful(): EngineError {
  return invalid('database', 'an account that is no superuser and reaches no files of the server');
}

/** @returns the error for an account that the database does not let in. */
export function notLetIn(details: Readonly<Record<string, string | number>>): EngineError {
  return new EngineError('SOURCE_INVALID', {
    field: 'database',
    expected: 'credentials and rights that the database accepts',
    ...details,
  });
}
