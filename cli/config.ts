/**
 * The one configuration file, `temporal.yaml`: read once, checked, frozen. Development reads it in
 * two stages, since `cortensor up` starts the servers whose addresses production writes down.
 * Anything wrong is one error with the path of its key; the command ends with code 2.
 */
import type { EngineConfig } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';
import { complete } from './config/complete.js';
import type { Environment } from './config/environment.js';
import { readSettings } from './config/read.js';
import type { Runtime, Settings } from './config/settings.js';
import { formatPath, Source } from './config/source.js';
import { hasSecret, secretsOf } from './secret.js';

export { writeConfig } from './config/write.js';
export type { Runtime, Settings } from './config/settings.js';

export interface LoadOptions {
  readonly file: string;
  readonly env: Environment;
  /**
   * Paths whose secrets this process uses, such as `temporal` or `layers.service`: these must be
   * there. A process of one role runs without the others' keys. @default every secret of the file
   */
  readonly secrets?: readonly string[];
}

/**
 * Reads a complete file, when a process of any role starts.
 * @throws CONFIG_INVALID — an unknown key, a wrong type or a missing value, with path and line.
 * @throws SECRET_MISSING — a variable is not set, or a file is not there, with the path of its key.
 */
export function loadConfig(options: LoadOptions): EngineConfig {
  const source = new Source(options.file);
  const settings = readSettings(source, options.env);
  const config = complete(settings, {}, (path, expected) => source.error(path, expected));
  checkSecrets(config, source, options);
  return deepFreeze(config);
}

/**
 * Reads the first stage of a file, when `cortensor up` starts: endpoints may be left to it.
 * @throws CONFIG_INVALID, SECRET_MISSING — as `loadConfig`, for what the file does say.
 */
export function loadSettings(options: LoadOptions): Settings {
  const source = new Source(options.file);
  const settings = readSettings(source, options.env);
  checkSecrets(settings, source, options);
  return deepFreeze(settings);
}

/**
 * Completes settings with what `cortensor up` found out once its servers ran. A value of `runtime`
 * wins over the settings'; its API keys are added to theirs.
 * @throws CONFIG_INVALID — a value is still open; `path` names it.
 */
export function completeConfig(settings: Settings, runtime: Runtime): EngineConfig {
  const config = complete(settings, runtime, (path, expected) => {
    return new EngineError('CONFIG_INVALID', { path: formatPath(path), expected, got: 'nothing' });
  });
  return deepFreeze(config);
}

function checkSecrets(content: object, source: Source, options: LoadOptions): void {
  const { env, secrets = [''] } = options;
  for (const { path, ref } of secretsOf(content)) {
    const key = formatPath(path);
    const isUsed = secrets.some((s) => s === '' || key === s || key.startsWith(`${s}.`));
    if (!isUsed || hasSecret(ref, env)) continue;
    const details = { path: key, reference: ref, line: source.lineOf(path), file: source.file };
    throw new EngineError('SECRET_MISSING', details);
  }
}

/** Objects are shared as they are afterwards: copies first, so that no caller's object is frozen. */
function deepFreeze<T>(value: T): T {
  return freezeAll(structuredClone(value));
}

function freezeAll<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const child of Object.values(value)) freezeAll(child);
    Object.freeze(value);
  }
  return value;
}
