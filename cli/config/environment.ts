/** Temporal's usual environment variables, which win over `temporal.yaml`. */
import { EngineError } from '../../domain/errors.js';
import type { Settings } from './settings.js';

/** An environment, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

const FLAGS: Readonly<Record<string, boolean>> = {
  true: true,
  '1': true,
  false: false,
  '0': false,
};

/**
 * Applies TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY and TEMPORAL_TLS. An empty variable
 * counts as unset. The API key stays a reference to its variable.
 * @param tls - what the file says. Unset everywhere, TLS is on exactly when there is an API key.
 * @throws CONFIG_INVALID — a variable's value is not understood.
 */
export function applyEnvironment(
  temporal: Omit<Settings['temporal'], 'tls'>,
  tls: boolean | undefined,
  env: Environment,
): Settings['temporal'] {
  const address = read(env, 'TEMPORAL_ADDRESS', 'host:port', (value) =>
    /^\S+:\d{1,5}$/.test(value) ? value : undefined,
  );
  const namespace = read(env, 'TEMPORAL_NAMESPACE', 'a namespace', (value) => value);
  const tlsFlag = read(env, 'TEMPORAL_TLS', 'true or false', (value) => FLAGS[value.toLowerCase()]);
  const apiKey = isSet(env, 'TEMPORAL_API_KEY') ? 'env:TEMPORAL_API_KEY' : temporal.apiKey;
  return {
    ...temporal,
    address: address ?? temporal.address,
    namespace: namespace ?? temporal.namespace,
    apiKey,
    tls: tlsFlag ?? tls ?? apiKey !== null,
  };
}

/** True for a variable with a value that is not empty. */
export function isSet(env: Environment, name: string): boolean {
  return (env[name] ?? '') !== '';
}

function read<T>(
  env: Environment,
  name: string,
  expected: string,
  parse: (value: string) => T | undefined,
): T | undefined {
  const value = env[name] ?? '';
  if (value === '') return undefined;
  const parsed = parse(value);
  if (parsed !== undefined) return parsed;
  throw new EngineError('CONFIG_INVALID', { path: name, expected, got: 'another text' });
}
