/**
 * Canonical JSON: one value, one text, so that hashes of documents can be compared. The subset of
 * RFC 8785 that plain data needs; runs in browsers too (the seal adapter imports it).
 * @see https://www.rfc-editor.org/rfc/rfc8785
 */
import { EngineError } from '../../domain/errors.js';

/**
 * Writes a value as canonical JSON: keys sorted by UTF-16 code units, no white space. Properties
 * that are `undefined` are left out, as `JSON.stringify` does; numbers print as JavaScript prints
 * them, which is what RFC 8785 asks for.
 * @throws REQUEST_INVALID — a number that is not finite, a lone surrogate, or what JSON cannot hold.
 */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
      // Two texts with different lone surrogates would encode to the same UTF-8 bytes.
      if (LONE_SURROGATE.test(value)) throw unfit('well-formed Unicode');
      return JSON.stringify(value);
    case 'number':
      if (!Number.isFinite(value)) throw unfit('a finite number');
      return JSON.stringify(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value) ? canonicalArray(value) : canonicalObject(value);
    default:
      throw unfit('a JSON value');
  }
}

/** Encodes a value as the UTF-8 bytes of its canonical JSON.
 * @throws REQUEST_INVALID — as `canonicalJson`. */
export function encodeJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(canonicalJson(value));
}

const LONE_SURROGATE = /\p{Surrogate}/u;

function canonicalArray(items: readonly unknown[]): string {
  let text = '[';
  for (let i = 0; i < items.length; i++) text += (i === 0 ? '' : ',') + canonicalJson(items[i]);
  return text + ']';
}

function canonicalObject(value: object): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  // A Map, a Date or a Uint8Array would print as something that does not read back.
  if (prototype !== Object.prototype && prototype !== null) throw unfit('a plain object');
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${entries.map(([key, item]) => `${canonicalJson(key)}:${canonicalJson(item)}`).join(',')}}`;
}

function unfit(expected: string): EngineError {
  return new EngineError('REQUEST_INVALID', { field: 'value', expected });
}
