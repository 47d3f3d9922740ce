/**
 * Runs forge on the contracts, from any folder: `node dist/contracts/forge.js test -vvv`. Separate
 * because forge reads the compiler's path against the working folder, so that plain `forge` works
 * in `contracts/` only.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Root of the checkout, from `dist/contracts/`. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Longest run of forge: a cold build and all tests on a busy machine. */
const TIMEOUT_MS = 10 * 60_000;

/** What forge printed, and how it ended; 0 is success. */
export interface ForgeRun {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs forge in `contracts/` and waits for its end; a run that is cut off has status 124.
 * @throws Error — forge could not be started; `npm ci` installs it. */
export function runForge(args: readonly string[], env: NodeJS.ProcessEnv = {}): ForgeRun {
  const run = spawnSync(`${ROOT}node_modules/.bin/forge`, args, {
    cwd: `${ROOT}contracts`,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (run.error !== undefined && run.signal === null) throw run.error;
  return { status: run.status ?? 124, stdout: run.stdout, stderr: run.stderr };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { status, stdout, stderr } = runForge(process.argv.slice(2));
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exitCode = status;
}
