/**
 * Secrets by reference: `env:NAME` or `file:PATH`. The reference travels in the configuration; the
 * secret is read at the moment of use and kept nowhere.
 */
import { statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { SecretRef } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';

/** Bits of a file's mode that let anyone but its owner at it. */
const OTHERS = 0o077;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads a secret, without the line end that editors leave behind it.
 * @throws SECRET_MISSING — the variable or the file is not there, or is empty.
 * @throws KEY_FILE_UNSAFE — others than the owner may use the file.
 */
export async function readSecret(ref: SecretRef, env: Environment = process.env): Promise<string> {
  const place = placeOf(ref);
  const secret = 'variable' in place ? env[place.variable] : await readPrivate(place.file, ref);
  const trimmed = secret?.trim() ?? '';
  if (trimmed === '') throw new EngineError('SECRET_MISSING', { reference: ref });
  return trimmed;
}

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

async function readPrivate(file: string, ref: SecretRef): Promise<string> {
  try {
    const handle = await open(file, 'r');
    try {
      // The mode of the open file: it cannot be exchanged between the check and the read.
      const { mode } = await handle.stat();
      if ((mode & OTHERS) !== 0) {
        const details = { reference: ref, mode: (mode & 0o777).toString(8), expected: '600' };
        throw new EngineError('KEY_FILE_UNSAFE', details);
      }
      return await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    const got = (cause as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new EngineError('SECRET_MISSING', { reference: ref, got }, { cause });
  }
}
