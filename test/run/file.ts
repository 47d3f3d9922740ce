/** Runs one test file in a process group of its own, and ends all that it started after it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endLeftovers, MARK } from './leftovers.js';
import type { TestOutcome } from './reporter.js';

export interface FileResult {
  readonly tests: readonly TestOutcome[];
  /** What is wrong with the file as a whole, beside its failed tests. */
  readonly faults: readonly string[];
  /** What it printed, at most the last 20,000 characters. */
  readonly output: string;
  readonly durationMs: number;
}

const OUTPUT_LIMIT = 20_000;
/** For servers that are on their way out when the test's own process has ended. */
const LEFTOVER_GRACE_MS = 3_000;
const reporter = new URL('reporter.js', import.meta.url).href;
/** Every file's process that runs, with its mark. */
const running = new Map<ChildProcess, string>();

/**
 * Runs a compiled test file to its end.
 * @param timeoutMs - limit for the whole file; then its processes are killed.
 */
export async function runFile(file: string, timeoutMs: number): Promise<FileResult> {
  const folder = mkdtempSync(join(tmpdir(), 'cortensor-run-'));
  const report = join(folder, 'report');
  const began = performance.now();
  try {
    const mark = randomUUID();
    const { ending, output } = await runProcess(file, report, mark, timeoutMs);
    const left = await endLeftovers(mark, LEFTOVER_GRACE_MS);
    const tests = readReport(report);
    const faults = faultsOf(tests, ending, left);
    return { tests, faults, output, durationMs: performance.now() - began };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Kills everything that still runs, servers included: the run was interrupted. */
export async function killAll(): Promise<void> {
  for (const [child, mark] of running) {
    killGroup(child);
    await endLeftovers(mark, 0);
  }
}

/** @returns how it ended; `null` = as it should, all tests having passed. */
async function runProcess(
  file: string,
  report: string,
  mark: string,
  timeoutMs: number,
): Promise<{ ending: string | null; output: string }> {
  const child = spawn(
    process.execPath,
    [
      '--enable-source-maps',
      `--test-reporter=${reporter}`,
      `--test-reporter-destination=${report}`,
      file,
    ],
    // Without the variable, which a node:test around us sets, the child reports by itself.
    {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, [MARK]: mark, NODE_TEST_CONTEXT: undefined },
    },
  );
  running.set(child, mark);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-OUTPUT_LIMIT);
    });
  }
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    killGroup(child);
  }, timeoutMs);
  try {
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>(
      (resolve, reject) => {
        child.once('error', reject);
        // Not `close`: a process that was left behind may hold the pipes.
        child.once('exit', (...end) => resolve(end));
      },
    );
    if (isLate) return { ending: `ran past ${timeoutMs / 1_000} s`, output };
    return { ending: code === 0 ? null : `ended with ${code ?? signal}`, output };
  } finally {
    clearTimeout(timer);
    killGroup(child);
    running.delete(child);
  }
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // ESRCH: nobody of the group is left, as it should be.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function readReport(report: string): TestOutcome[] {
  let text: string;
  try {
    text = readFileSync(report, 'utf8');
  } catch {
    return []; // The process ended before it opened its report; its ending says why.
  }
  // A killed process may leave half a line.
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as TestOutcome);
}

function faultsOf(
  tests: readonly TestOutcome[],
  ending: string | null,
  left: readonly string[],
): string[] {
  const names = tests.map(({ name }) => name);
  const twins = new Set(names.filter((name, i) => names.indexOf(name) < i));
  const hasFailed = tests.some(({ outcome }) => outcome === 'failed');
  return [
    ...[...twins].map((name) => `has two tests of one name: ${name}`),
    ...(left.length > 0 ? [`left processes behind: ${left.join(', ')}`] : []),
    ...(ending !== null && !(hasFailed && ending === 'ended with 1') ? [ending] : []),
    ...(tests.length === 0 && ending === null ? ['has no tests'] : []),
  ];
}
