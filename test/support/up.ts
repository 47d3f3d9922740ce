/** `cortensor up` as a process of its own, for the tests that run the whole network. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT_COMMAND } from '../../cli/project.js';
import type { Summary } from '../../cli/job/summary.js';

export interface UpRun {
  readonly child: ChildProcess;
  /** What it has printed on stderr so far. */
  progress(): string;
  /** Resolves when stderr holds the text; rejects when the process ends first. */
  untilProgress(text: string | RegExp): Promise<void>;
  readonly ended: Promise<{ readonly code: number | null; readonly stdout: string }>;
}

/** Starts `cortensor up` with the given options. */
export function startUp(args: readonly string[]): UpRun {
  const child = spawn(process.execPath, [PROJECT_COMMAND, 'up', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  const listeners = new Set<() => void>();
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    for (const listener of listeners) listener();
  });
  const ended = new Promise<{ code: number | null; stdout: string }>((resolve) => {
    child.once('close', (code) => resolve({ code, stdout }));
  });
  return {
    child,
    progress: () => stderr,
    untilProgress(text) {
      return new Promise((resolve, reject) => {
        const check = () => {
          if (typeof text === 'string' ? stderr.includes(text) : text.test(stderr)) resolve();
        };
        listeners.add(check);
        check();
        void ended.then(() => reject(new Error(`ended before ${String(text)}:\n${stderr}`)));
      });
    },
    ended,
  };
}

/** Runs it to its end and reads the summary off the last line of stdout.
 * @throws AssertionError — it did not end with 0. */
export async function runUp(args: readonly string[]): Promise<Summary> {
  const run = startUp([...args, '--once', '--json']);
  const { code, stdout } = await run.ended;
  assert.equal(code, 0, run.progress());
  const last = stdout.trimEnd().split('\n').at(-1) ?? '';
  return JSON.parse(last) as Summary;
}

/** Kills the supervisor and everything that it has started, all at once, as a power cut would. */
export function killTree(run: UpRun, data: string): void {
  const folder = join(data, 'run');
  const pids = readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => (JSON.parse(readFileSync(join(folder, name), 'utf8')) as { pid: number }).pid);
  run.child.kill('SIGKILL');
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      // ESRCH: it ended by itself meanwhile.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}
