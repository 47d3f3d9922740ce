/**
 * The kinds of values in `temporal.yaml`. Every field's error message is what was expected, as a
 * fragment that follows the word "expected".
 */
import { z } from 'zod';
import type { SecretRef } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import { parseSessionId, type Address } from '../../domain/ids.js';
import { parseWei } from '../../domain/money.js';
import { parseDuration } from './duration.js';

/** A string that `accept` takes. */
export function text(expected: string, accept: RegExp | ((value: string) => boolean)) {
  const test = accept instanceof RegExp ? (value: string) => accept.test(value) : accept;
  return z.string({ error: expected }).refine(test, { error: expected });
}

export function integer(min: number, max: number) {
  const error = `an integer from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

/** `2s`, `10m`, `500ms`; becomes milliseconds. Limits are milliseconds. */
export function duration(minMs: number, maxMs: number, range: string) {
  const expected = `a duration such as 500ms, 2s or 10m, ${range}`;
  return z.string({ error: expected }).transform((value, context) => {
    const ms = parseDuration(value);
    if (ms !== undefined && ms >= minMs && ms <= maxMs) return ms;
    context.issues.push({ code: 'custom', message: expected, input: value });
    return z.NEVER;
  });
}

/** Left out, or the word `embedded`: `cortensor up` brings it. Becomes `null`. */
export function embedded<T extends z.ZodType>(schema: T) {
  return z
    .preprocess((value) => (value === 'embedded' ? undefined : value), schema.optional())
    .transform((value) => value ?? null);
}

export const flag = z.boolean({ error: 'true or false' });
export const name = text('a name of lower-case letters, digits and dashes', /^[a-z][a-z0-9-]*$/);
export const label = text('a text of 1 to 200 characters', /^.{1,200}$/);
export const path = text('a path', (value) => value !== '' && !value.includes('\0'));
export const wei = text('a decimal string of wei, in quotes', accepts(parseWei));
export const sessionId = text('a session id, in quotes', accepts(parseSessionId));
export const sha256 = text('a SHA-256 of 64 hex digits', /^[0-9a-f]{64}$/);
export const recipient = text('an age recipient, age1…', /^age1[a-z0-9]+$/);
export const hostPort = text('host:port', /^(\[[0-9a-fA-F:]+\]|[^\s:/@]+):\d{1,5}$/);
export const host = text('a host name or address', /^[^\s/@]+$/);
export const url = text('an http(s) URL without credentials', isPlainUrl);

export const authority = text('host or host:port', /^[^\s/@?#]+$/);
export const origin = text(
  'an origin such as https://example.com, or *',
  (value) => value === '*' || (URL.canParse(value) && new URL(value).origin === value),
);
export const time = text(
  'a time such as 2030-01-31T12:00:00Z, in quotes',
  (value) => /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(value) && !isNaN(Date.parse(value)),
);

export const secret = text(
  'a reference env:NAME or file:PATH',
  /^(env:[A-Za-z_][A-Za-z0-9_]*|file:[^\0]+)$/,
).transform((value) => value as SecretRef);

export const address = text('an address, 0x and 40 hex digits', /^0x[0-9a-fA-F]{40}$/).transform(
  (value) => value as Address,
);

function isPlainUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, username, password } = new URL(value);
  return /^https?:$/.test(protocol) && username === '' && password === '';
}

/** Asks the domain's own parser, so that there is one idea of each value. */
function accepts(parse: (value: string) => unknown): (value: string) => boolean {
  return (value) => {
    try {
      parse(value);
      return true;
    } catch (error) {
      if (error instanceof EngineError) return false;
      throw error;
    }
  };
}
