/**
 * `temporal.yaml` as text: parses it, and turns what is wrong with it into one line that names the
 * key's path and its line. Never says a value, which might be a secret in the wrong place.
 */
import { readFileSync } from 'node:fs';
import {
  isCollection,
  isMap,
  isNode,
  isPair,
  LineCounter,
  parseDocument,
  type Document,
} from 'yaml';
import type { z } from 'zod';
import { EngineError } from '../../domain/errors.js';

type Path = readonly PropertyKey[];

/** One configuration file, parsed but not yet checked. */
export class Source {
  readonly file: string;
  readonly content: unknown;
  readonly #document: Document;
  readonly #lines: LineCounter;

  /** @throws CONFIG_INVALID — the file cannot be read, or is not YAML. */
  constructor(file: string) {
    this.file = file;
    this.#lines = new LineCounter();
    this.#document = parseDocument(readText(file), { lineCounter: this.#lines });
    const [fault] = [...this.#document.errors, ...this.#document.warnings];
    if (fault !== undefined) {
      const { line } = this.#lines.linePos(fault.pos[0]);
      throw new EngineError('CONFIG_INVALID', {
        expected: 'valid YAML',
        got: fault.code,
        line,
        file,
      });
    }
    // A file of comments only has no content; it says "all defaults".
    this.content = this.#document.toJS() ?? {};
  }

  /** The error for one key.
   * @param path - of a key that may be absent; the line is then its nearest parent's. */
  error(path: Path, expected: string): EngineError {
    return new EngineError('CONFIG_INVALID', {
      path: formatPath(path),
      expected,
      got: describe(valueAt(this.content, path)),
      line: this.lineOf(path),
      file: this.file,
    });
  }

  /** The first thing that the schema found wrong, in the order of the file. */
  firstError(error: z.ZodError): EngineError {
    const faults = error.issues
      .flatMap((issue): { path: Path; expected: string | null }[] =>
        issue.code === 'unrecognized_keys'
          ? issue.keys.map((key) => ({ path: [...issue.path, key], expected: null }))
          : [{ path: issue.path, expected: expected(issue) }],
      )
      .map((fault) => ({ ...fault, line: this.lineOf(fault.path) }))
      .toSorted((a, b) => a.line - b.line);
    const [first] = faults;
    if (first === undefined) return new EngineError('INTERNAL', {}, { cause: error });
    if (first.expected !== null) return this.error(first.path, first.expected);
    return new EngineError('CONFIG_INVALID', {
      path: formatPath(first.path),
      expected: 'a known key',
      got: 'an unknown key',
      line: first.line,
      file: this.file,
    });
  }

  /** Line of a key, from 1; of its nearest parent where it is absent. */
  lineOf(path: Path): number {
    let node: unknown = this.#document.contents;
    let offset = 0;
    for (const key of path) {
      if (!isCollection(node)) break;
      const item = isMap(node)
        ? node.items.find((pair) => isNode(pair.key) && pair.key.toJSON() === String(key))
        : node.items[Number(key)];
      const at = isPair(item) ? item.key : item;
      if (isNode(at) && at.range) offset = at.range[0];
      node = isPair(item) ? item.value : item;
    }
    return this.#lines.linePos(offset).line;
  }
}

/** Writes a path as people do: `models[0].name`. */
export function formatPath(path: Path): string {
  return path
    .map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i === 0 ? '' : '.'}${String(key)}`))
    .join('');
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable';
    const details = { expected: 'a file that can be read', got: code, file };
    throw new EngineError('CONFIG_INVALID', details, { cause });
  }
}

/** Our own schemas say what they expect; zod's words are left only for the shape of sections. */
function expected(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'invalid_type' || !issue.message.startsWith('Invalid input')) {
    return issue.code === 'invalid_key' ? 'another name of the key' : issue.message;
  }
  return issue.expected === 'array' ? 'a list' : 'a mapping';
}

function valueAt(content: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, key)
        ? (value as Record<PropertyKey, unknown>)[key]
        : undefined,
    content,
  );
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'an empty value';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a mapping' : `a ${typeof value}`;
}
