/** Secret references in a configuration, `env:NAME` or `file:PATH`: found and looked for, not read.
 * Reading is adapters/seal/secret.ts, at the moment of use. */
import { statSync } from 'node:fs';
import type { SecretRef } from '../domain/config.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** True when the variable is set, or the file is there; says nothing about what is in it. */
export function hasSecret(ref: SecretRef, env: Environment): boolean {
  const place = placeOf(ref);
  if ('variable' in place) return (env[place.variable] ?? '') !== '';
  return statSync(place.file, { throwIfNoEntry: false })?.isFile() === true;
}

/** Every secret reference inside a configuration, with the path of its key. */
export function secretsOf(
  value: unknown,
  path: readonly (string | number)[] = [],
): { path: readonly (string | number)[]; ref: SecretRef }[] {
  if (Array.isArray(value)) return value.flatMap((item, i) => secretsOf(item, [...path, i]));
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).flatMap(([key, child]) => secretsOf(child, [...path, key]));
  }
  return isSecretRef(value, path) ? [{ path, ref: value }] : [];
}

/** Fields that hold references, by the last key of their path: a model may be named `file:x`. */
const SECRET_KEYS: ReadonlySet<unknown> = new Set(['apiKey', 'identity', 'signer', 'url']);

function isSecretRef(value: unknown, path: readonly (string | number)[]): value is SecretRef {
  return typeof value === 'string' && SECRET_KEYS.has(path.at(-1)) && /^(env|file):/.test(value);
}

function placeOf(ref: SecretRef): { variable: string } | { file: string } {
  return ref.startsWith('env:')
    ? { variable: ref.slice('env:'.length) }
    : { file: ref.slice('file:'.length) };
}
