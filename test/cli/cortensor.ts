/** The `cortensor` command as its callers see it: arguments in, code and streams out. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { PROJECT_COMMAND } from '../../cli/project.js';

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  /** Lines that are not progress. */
  readonly errors: readonly string[];
}

/** Runs the command to its end.
 * @param env - beside this process's own. */
export function cortensor(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env }, timeout: 120_000 };
    execFile(process.execPath, [PROJECT_COMMAND, ...args], options, (error, stdout, stderr) => {
      const code = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1;
      const errors = stderr.split('\n').filter((line) => line.startsWith('cortensor: '));
      resolve({ code, stdout, errors });
    });
  });
}

/** Runs the command with `--json` and reads its answer.
 * @throws AssertionError — it did not end with the code that is expected. */
export async function cortensorJson<T>(
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly code?: number } = {},
): Promise<T> {
  const { code, stdout, errors } = await cortensor([...args, '--json'], options.env);
  assert.equal(code, options.code ?? 0, `cortensor ${args.join(' ')}: ${errors.join('\n')}`);
  return JSON.parse(stdout) as T;
}
