/**
 * JSON schemas as llama.cpp's grammars can hold an answer to. Whatever a grammar cannot promise is
 * refused: an answer that only happens to be of a schema would be no answer to it.
 */
import type { Llama } from 'node-llama-cpp';
import { EngineError } from '../../domain/errors.js';

/** What llama.cpp's binding makes a grammar of. */
export type GrammarSchema = Parameters<Llama['createGrammarForJsonSchema']>[0];

/** Words that bind nothing. */
const REMARKS: ReadonlySet<string> = new Set([
  '$schema',
  '$id',
  '$comment',
  'title',
  'description',
  'examples',
  'default',
]);
/** Words of each kind of schema that the grammar heeds. */
const HEEDED: ReadonlySet<string> = new Set([
  'type',
  'enum',
  'const',
  'oneOf',
  'anyOf',
  'properties',
  'required',
  'additionalProperties',
  'items',
  'minItems',
  'maxItems',
  'minLength',
  'maxLength',
]);
const LISTED = ['oneOf', 'anyOf'] as const;

/** Makes a schema that a grammar can be made of. Objects have all of their properties and no others,
 * which is of the schema wherever those that it requires are among them.
 * @throws FEATURE_UNSUPPORTED — with the word that no grammar can hold an answer to. */
export function toGrammarSchema(schema: unknown): GrammarSchema {
  return convert(schema, 'schema') as unknown as GrammarSchema;
}

function convert(schema: unknown, field: string): Record<string, unknown> {
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) {
    throw unsupported(field, 'a schema of any value');
  }
  const { type, ...words } = schema as Record<string, unknown>;
  const given = Object.entries(words).filter(([word]) => !REMARKS.has(word));
  for (const [word, value] of given) {
    if (!HEEDED.has(word) && !isWholeRange(word, value)) throw unsupported(field, word);
  }
  for (const word of LISTED) {
    const branches = words[word];
    if (branches === undefined) continue;
    const isAlone = given.length === 1 && Array.isArray(branches) && branches.length > 0;
    if (!isAlone) throw unsupported(field, word);
    return { oneOf: branches.map((branch, i) => convert(branch, `${field}.${word}.${i}`)) };
  }
  if (words['enum'] !== undefined) return { enum: words['enum'] };
  if (words['const'] !== undefined) return { const: words['const'] };
  if (type === 'object') return objectOf(words, field);
  if (type === 'array') {
    const { items, minItems, maxItems } = words;
    if (items === undefined) throw unsupported(field, 'items of any kind');
    return { type, items: convert(items, `${field}.items`), ...counts({ minItems, maxItems }) };
  }
  if (type === undefined) throw unsupported(field, 'a schema without a type');
  const { minLength, maxLength } = words;
  return { type, ...counts({ minLength, maxLength }) };
}

function objectOf(words: Record<string, unknown>, field: string): Record<string, unknown> {
  const { properties = {}, required = [] } = words;
  const entries = Object.entries(properties as Record<string, unknown>);
  const names = new Set(entries.map(([name]) => name));
  const missing = (required as readonly string[]).find((name) => !names.has(name));
  if (missing !== undefined) throw unsupported(field, `required: ${missing}`);
  const converted = entries.map(([name, s]) => [name, convert(s, `${field}.${name}`)] as const);
  return { type: 'object', properties: Object.fromEntries(converted), additionalProperties: false };
}

/** Libraries write out the range of safe integers, which binds nothing that a model says. */
function isWholeRange(word: string, value: unknown): boolean {
  return (
    (word === 'minimum' && value === Number.MIN_SAFE_INTEGER) ||
    (word === 'maximum' && value === Number.MAX_SAFE_INTEGER)
  );
}

function counts(words: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(words).filter(([, value]) => value !== undefined));
}

function unsupported(field: string, found: string): EngineError {
  return new EngineError('FEATURE_UNSUPPORTED', { field, found });
}
