/**
 * `npm run check`: everything that can be said about the code without running it, one line a check,
 * a tool's own words where it fails. The last line is `check: N passed, N failed`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const TIMEOUT_MS = 5 * 60_000;

interface Check {
  readonly name: string;
  /** @returns what is wrong; empty = nothing. */
  run(): string;
}

/** Runs a program of the project's own packages. */
function tool(name: string, ...args: string[]): string {
  return command(join(ROOT, 'node_modules', '.bin', name), args);
}

function command(path: string, args: readonly string[]): string {
  const { error, status, stdout, stderr } = spawnSync(path, args, {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    maxBuffer: 1 << 26,
  });
  if (error !== undefined) return error.message;
  return status === 0 ? '' : `${stdout}${stderr}`.trim() || `ended with ${status}`;
}

function checkChangelog(): string {
  const file = join(ROOT, 'CHANGELOG.md');
  if (!existsSync(file)) return 'CHANGELOG.md is missing';
  const text = readFileSync(file, 'utf8');
  return /^## \[(Unreleased|\d+\.\d+\.\d+)\]/m.test(text) ? '' : 'CHANGELOG.md has no section';
}

const checks: readonly Check[] = [
  { name: 'format', run: () => tool('oxfmt', '--check', '.') },
  { name: 'lint', run: () => tool('oxlint', '--deny-warnings') },
  { name: 'types', run: () => tool('tsc', '-p', 'tsconfig.json', '--noEmit') },
  { name: 'dead code', run: () => tool('knip', '--no-progress', '--treat-config-hints-as-errors') },
  {
    name: 'contract ABIs',
    run: () => command(process.execPath, ['dist/contracts/generate.js', '--check']),
  },
  { name: 'contract format', run: () => tool('forge', 'fmt', '--check', '--root', 'contracts') },
  { name: 'change log', run: checkChangelog },
];

let failed = 0;
for (const { name, run } of checks) {
  const began = performance.now();
  const fault = run();
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  console.log(`${fault === '' ? 'ok  ' : 'FAIL'} ${name}  ${seconds} s`);
  if (fault === '') continue;
  failed += 1;
  console.log(fault.replaceAll(/^/gm, '  '));
}
console.log(`check: ${checks.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
