/** Secrets by reference: `env:NAME` or `file:PATH`, read at the moment of use. Node only. */
import type { SecretRef } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import { readPrivateFile } from './private-file.js';

/** Reads the secret that a reference stands for, without the white space around it.
 * @param env - where `env:` references are looked up.
 * @throws SECRET_MISSING — the variable is not set or empty, or there is no such file.
 * @throws KEY_FILE_UNSAFE — others may read the file. */
export async function readSecret(
  ref: SecretRef,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<string> {
  const place = ref.slice(ref.indexOf(':') + 1);
  const text = ref.startsWith('env:')
    ? (env[place] ?? '')
    : new TextDecoder().decode(await readPrivateFile(place));
  const secret = text.trim();
  if (secret === '') throw new EngineError('SECRET_MISSING', { reference: ref });
  return secret;
}
