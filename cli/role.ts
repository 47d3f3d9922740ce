/** What the commands of all roles share: their options, their configuration, their orderly end. */
import { parseArgs } from 'node:util';
import { readKeyFile } from '../adapters/seal/identity-file.js';
import type { EngineConfig } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';
import { exitWithParent } from '../servers/supervise.js';
import { loadConfig } from './config.js';
import { Wallet } from 'ethers';

export const CONFIG_HELP =
  '  --config FILE   the deployment, a complete temporal.yaml (required)\n';

/** Parses options that each take one value.
 * @throws USAGE — an option that is required is missing. */
export function readOptions<Required extends string, Optional extends string = never>(
  argv: readonly string[],
  required: readonly Required[],
  optional: readonly Optional[] = [],
): Record<Required, string> & Partial<Record<Optional, string>> {
  const names = [...required, ...optional];
  const { values } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(names.map((name) => [name, { type: 'string' as const }])),
    strict: true,
  });
  const missing = required.find((name) => values[name] === undefined);
  if (missing !== undefined) throw new EngineError('USAGE', { expected: `--${missing}` });
  return values as Record<Required, string> & Partial<Record<Optional, string>>;
}

/** Reads the configuration of a role.
 * @param secrets - paths of the secrets that this role uses. */
export function readConfig(file: string, secrets: readonly string[]): EngineConfig {
  return loadConfig({ file, env: process.env, secrets });
}

/** Opens the wallet in a key file. */
export async function openWallet(keyFile: string): Promise<Wallet> {
  return new Wallet(await readKeyFile(keyFile));
}

/** Runs until SIGINT or SIGTERM, or until `failed` settles; then ends what was started.
 * @param stop - ends the role in an orderly way; it is called once.
 * @returns 0 after a signal. */
export async function runUntilSignal(
  stop: () => Promise<void>,
  failed: Promise<unknown> = new Promise(() => {}),
): Promise<number> {
  exitWithParent();
  const signalled = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  try {
    await Promise.race([signalled, failed]);
  } finally {
    await stop();
  }
  return 0;
}
