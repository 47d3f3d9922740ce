/** The `cortensor` command as its callers see it: arguments in, code and streams out. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { dispatch } from '../../cli/command.js';
import { PROJECT_COMMAND } from '../../cli/project.js';
import { COMMANDS } from '../../cli/table.js';
import { written } from './written.js';

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

/** Runs the command with `--json` in this process, which saves loading it anew, and reads its answer.
 * @throws EngineError — as the command does. @throws AssertionError — it did not end with 0. */
export async function cortensorJson<T>(args: readonly string[]): Promise<T> {
  const text = await written(async () => {
    assert.equal(await dispatch(COMMANDS, [], [...args, '--json']), 0, args.join(' '));
  });
  return JSON.parse(text) as T;
}
