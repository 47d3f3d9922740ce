/** The tables of a sink as data: their columns, from which every kind of database makes its statements,
 * and the digest of a row, which is the same in all of them. */
import { createHash } from 'node:crypto';
import {
  EXPORT_TABLES,
  type ExportDigest,
  type ExportRows,
  type ExportTable,
  type RowCounts,
  type RowMark,
} from '../../../domain/export.js';

/** `id`: 63 bits, decimal; `wei`: up to 78 digits, decimal; `body`: a long text. */
export type ColumnType = 'id' | 'text' | 'int' | 'wei' | 'bool' | 'bytes' | 'body';

export interface Table {
  readonly name: ExportTable;
  /** Columns of its key; in a session they make a row's mark. */
  readonly key: readonly string[];
  readonly columns: Readonly<Record<string, ColumnType>>;
}

export const TABLES: readonly Table[] = [
  {
    name: 'session',
    key: ['session_id'],
    columns: {
      session_id: 'id',
      owner: 'text',
      state: 'text',
      model: 'text',
      level: 'text',
      redundancy: 'int',
      policy_cid: 'text',
      keyring_cid: 'text',
      price_per_token_wei: 'wei',
      deposited_wei: 'wei',
      charged_wei: 'wei',
      refunded_wei: 'wei',
    },
  },
  {
    name: 'task',
    key: ['task_id'],
    columns: {
      task_id: 'text',
      session_id: 'id',
      ordinal: 'int',
      state: 'text',
      outcome: 'text',
      request_cid: 'text',
      evidence_cid: 'text',
      prompt_tokens: 'int',
      completion_tokens: 'int',
      charge_wei: 'wei',
      settlement_tx: 'text',
    },
  },
  {
    name: 'task_result',
    key: ['task_id', 'miner'],
    columns: {
      task_id: 'text',
      session_id: 'id',
      miner: 'text',
      result_cid: 'text',
      result_hash: 'text',
      score_bps: 'int',
      is_agreed: 'bool',
      paid_wei: 'wei',
    },
  },
  {
    name: 'payload',
    key: ['cid'],
    columns: { cid: 'text', kind: 'text', bytes: 'bytes', text: 'body' },
  },
];

/** The rows of a table as arrays in the order of its columns; of rows under one key the last counts,
 * and they are sorted by it, so that two writers lock in the same order. */
export function valuesOf(rows: ExportRows, { name, key, columns }: Table): unknown[][] {
  const names = Object.keys(columns);
  const last = new Map<string, unknown[]>();
  for (const row of rows[name] as readonly object[]) {
    const values = names.map((column) => fieldOf(row, column));
    last.set(key.map((column) => values[names.indexOf(column)]).join(':'), values);
  }
  return [...last.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, values]) => values);
}

function fieldOf(row: object, column: string): unknown {
  const name = column.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
  return (row as Record<string, unknown>)[name];
}

/** The marks of rows, as a sink will list them once it has them; not sorted. */
export function marksOf(rows: ExportRows): RowMark[] {
  return TABLES.flatMap((table) =>
    valuesOf(rows, table).map((values) => {
      const types = Object.values(table.columns);
      return markOf(
        table,
        values.map((value, i) =>
          value !== null && (types[i] === 'bytes' || types[i] === 'body')
            ? sha256(value as Uint8Array | string)
            : value,
        ),
      );
    }),
  );
}

/** The mark of one row.
 * @param values - in the order of the columns; ids and amounts decimal, `bytes` and `body` by their
 *   SHA-256. */
export function markOf({ name, key, columns }: Table, values: readonly unknown[]): RowMark {
  const names = Object.keys(columns);
  return {
    table: name,
    key: key.map((column) => values[names.indexOf(column)]).join(':'),
    hash: sha256(JSON.stringify(values)),
  };
}

/** Counts and digests marks that come in their order. */
export async function digestOf(marks: AsyncIterable<RowMark>): Promise<ExportDigest> {
  const counts: Record<ExportTable, number> = { session: 0, task: 0, task_result: 0, payload: 0 };
  const hash = createHash('sha256');
  let at = -1;
  const enter = (table: ExportTable): void => {
    while (EXPORT_TABLES[at] !== table) hash.update(`${EXPORT_TABLES[++at]}\n`);
  };
  for await (const { table, hash: mark } of marks) {
    if (EXPORT_TABLES[at] !== table) enter(table);
    counts[table]++;
    hash.update(`${mark}\n`);
  }
  enter('payload');
  return { rows: counts, digest: `0x${hash.digest('hex')}` };
}

/** True when nothing stands there. */
export function countRows(rows: RowCounts): number {
  return Object.values(rows).reduce((sum, count) => sum + count, 0);
}

/** Cuts rows into pieces that fit one statement or message.
 * @param maxBytes - of payload. */
export function* pieces(
  rows: readonly unknown[][],
  maxRows: number,
  maxBytes: number,
): Generator<unknown[][]> {
  let piece: unknown[][] = [];
  let bytes = 0;
  for (const row of rows) {
    const more = row.reduce<number>((sum, value) => sum + sizeOf(value), 0);
    if (piece.length === maxRows || (piece.length > 0 && bytes + more > maxBytes)) {
      yield piece;
      piece = [];
      bytes = 0;
    }
    piece.push(row);
    bytes += more;
  }
  if (piece.length > 0) yield piece;
}

function sizeOf(value: unknown): number {
  if (value instanceof Uint8Array) return value.byteLength;
  return typeof value === 'string' ? value.length : 8;
}

function sha256(value: Uint8Array | string): string {
  return createHash('sha256').update(value).digest('hex');
}
