/**
 * `npm test`: runs the test files named by path (`npm test -- adapters/chain`), or all of them. Files
 * run side by side, each in its own process; those of test/e2e/ start a whole network each and run
 * alone, at the end. The last line is `N passed, N failed`. Nothing is retried.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { killAll, runFile, type FileResult } from './run/file.js';
import { prepare } from './run/prepare.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Files at a time: CI and developers have two cores, and every file may start servers. */
const CONCURRENCY = 2;
const FILE_TIMEOUT_MS = 5 * 60_000;
const E2E_TIMEOUT_MS = 10 * 60_000;
/** Tests of these folders start no server and need no model. */
const PURE = /^(domain|rules|run)\//;

const totals = { passed: 0, failed: 0, skipped: 0 };

/** Test files by their path below test/, without `.test.ts`, from the sources: dist may hold old ones. */
function findTests(filters: readonly string[]): string[] {
  return readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.ts'))
    .map((path) => path.replaceAll('\\', '/').slice(0, -'.test.ts'.length))
    .filter((path) => filters.length === 0 || filters.some((filter) => path.includes(filter)))
    .sort();
}

async function runTest(name: string, timeoutMs: number): Promise<void> {
  const file = join(ROOT, 'dist', 'test', `${name}.test.js`);
  const result: FileResult = existsSync(file)
    ? await runFile(file, timeoutMs)
    : { tests: [], faults: ['is not built'], output: '', durationMs: 0 };
  const count = (outcome: string) => result.tests.filter((t) => t.outcome === outcome).length;
  const failed = count('failed') + result.faults.length;
  totals.passed += count('passed');
  totals.failed += failed;
  totals.skipped += count('skipped');
  const seconds = (result.durationMs / 1_000).toFixed(1);
  const mark = failed === 0 ? 'ok  ' : 'FAIL';
  const lines = [`${mark} ${name}  ${count('passed')} passed, ${failed} failed  ${seconds} s`];
  for (const test of result.tests) {
    if (test.outcome === 'skipped') lines.push(`  skipped: ${test.name}`);
    if (test.outcome === 'failed') lines.push(`  ✖ ${test.name}`, indent(test.error ?? ''));
  }
  lines.push(...result.faults.map((fault) => `  ✖ the file ${fault}`));
  if (failed > 0 && result.output !== '') lines.push('  it printed:', indent(result.output.trim()));
  console.log(lines.join('\n'));
}

/** Runs tests `width` at a time, in their order. */
async function runAll(names: readonly string[], width: number, timeoutMs: number): Promise<void> {
  const queue = [...names];
  const lane = async (): Promise<void> => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      await runTest(name, timeoutMs);
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '    ');
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { list: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const names = findTests(positionals.map((path) => path.replace(/^test\//, '')));
  if (values.list) {
    for (const name of names) console.log(name);
    return 0;
  }
  if (names.length === 0) {
    console.log(`no test file matches ${positionals.join(' ')}\n0 passed, 1 failed`);
    return 1;
  }
  if (names.some((name) => !PURE.test(name))) await prepare((line) => console.log(line));
  const isE2e = (name: string) => name.startsWith('e2e/');
  await runAll(
    names.filter((name) => !isE2e(name)),
    CONCURRENCY,
    FILE_TIMEOUT_MS,
  );
  await runAll(names.filter(isE2e), 1, E2E_TIMEOUT_MS);
  if (totals.skipped > 0) console.log(`${totals.skipped} skipped`);
  console.log(`${totals.passed} passed, ${totals.failed} failed`);
  return totals.failed === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void killAll().finally(() => process.exit(130));
  });
}
process.chdir(ROOT);
process.exitCode = await main();
