/** A user's tables as sources: their rows as text, and vectors that exist already. */
import type { SourceSpec } from '../../../domain/source.js';
import { invalid, textOf } from './bounded.js';
import type { ReadLimits, UserDatabase } from './database.js';

/** A row as text. */
export interface TextRow {
  readonly title: string;
  readonly text: string;
}
export interface VectorRow extends TextRow {
  readonly vector: readonly number[];
}

/** Reads a table source: a row's text is its columns, one a line, by name; empty ones are left out.
 * @throws as `ReadRows`; SOURCE_INVALID — the query has no column of the title's name. */
export async function readTable(
  database: UserDatabase,
  { query: text, title }: Extract<SourceSpec, { kind: 'table' }>,
  limits: ReadLimits,
): Promise<TextRow[]> {
  const rows = await database.readRows(text, limits);
  return rows.map((row, i) => {
    const lines = Object.entries(row)
      .filter(([name, value]) => value !== null && name !== title)
      .map(([name, value]) => `${name}: ${textOf(value)}`);
    const named = title === undefined ? undefined : row[title];
    if (title !== undefined && named === undefined) throw invalid('title', 'a column of the query');
    return { title: named == null ? `row ${i + 1}` : textOf(named), text: lines.join('\n') };
  });
}

/** Reads vectors that exist already, with their rows' texts.
 * @param dimensions - of the embedding model.
 * @throws as `ReadRows`; SOURCE_INVALID — the database is no PostgreSQL; or vectors of another length, or,
 *   under another metric than cosine, not of unit length, where the metrics would disagree. */
export async function readVectors(
  database: UserDatabase,
  { table, columns, metric }: Extract<SourceSpec, { kind: 'vectors' }>,
  dimensions: number,
  limits: ReadLimits,
): Promise<VectorRow[]> {
  if (database.kind !== 'postgresql') throw invalid('database', 'a PostgreSQL with pgvector');
  const [id, text, vector] = [columns.id, columns.text, columns.vector].map(quoted);
  const from = table.split('.').map(quoted).join('.');
  const select = `select ${id}::text as id, ${text}::text as text, ${vector}::real[] as vector
                  from ${from} where ${text} is not null and ${vector} is not null order by ${id}`;
  const rows = await database.readRows(select, limits);
  return rows.map((row) => {
    const values = row['vector'] as readonly number[];
    if (values.length !== dimensions) {
      throw invalid('vector', `${dimensions} dimensions, got ${values.length}`);
    }
    const length = Math.hypot(...values);
    if (length === 0) throw invalid('vector', 'a vector that is not 0');
    if (metric !== 'cosine' && Math.abs(length - 1) > 0.01) {
      throw invalid('metric', 'cosine, as the vectors are not of unit length');
    }
    return {
      title: String(row['id']),
      text: String(row['text']),
      vector: values.map((value) => value / length),
    };
  });
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
