import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { runFile, type FileResult } from './file.js';

const folder = mkdtempSync(join(tmpdir(), 'run-'));
after(() => rmSync(folder, { recursive: true, force: true }));

async function run(code: string, timeoutMs = 20_000): Promise<FileResult> {
  const file = join(folder, 'case.mjs');
  const imports = `import { describe, it, test, before } from 'node:test';\n`;
  writeFileSync(file, imports + code);
  return runFile(file, timeoutMs);
}

const summary = ({ tests, faults }: FileResult) => ({
  tests: tests.map(({ name, outcome }) => [name, outcome]),
  faults,
});

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
  } catch {
    return false; // ESRCH or ENOENT: it is gone.
  }
};

describe('runFile', () => {
  it('counts the tests inside suites and tests, and not what holds them', async () => {
    const result = await run(`
      describe('a', () => {
        it('one', () => {});
        describe('b', () => { it('two', () => {}); it('three', { skip: true }, () => {}); });
      });
      test('c', async (t) => { await t.test('four', () => {}); });
      test('five', () => {});
    `);
    assert.deepEqual(summary(result), {
      tests: [
        ['a › one', 'passed'],
        ['a › b › two', 'passed'],
        ['a › b › three', 'skipped'],
        ['c › four', 'passed'],
        ['five', 'passed'],
      ],
      faults: [],
    });
  });

  it('counts a failed test once, and keeps its error and what it printed', async () => {
    const result = await run(`
      describe('a', () => { it('one', () => { console.log('seen'); throw new Error('why'); }); });
    `);
    assert.deepEqual(summary(result), { tests: [['a › one', 'failed']], faults: [] });
    assert.match(result.tests[0]?.error ?? '', /Error: why\n.*case\.mjs/);
    assert.match(result.output, /seen/);
  });

  it('counts a suite whose hook fails', async () => {
    const { tests } = await run(`
      describe('a', () => { before(() => { throw new Error('why'); }); it('one', () => {}); });
    `);
    assert(tests.some(({ outcome }) => outcome === 'failed'));
  });

  it('counts a test that fails by itself after its own tests passed', async () => {
    const result = await run(`
      test('a', async (t) => { await t.test('one', () => {}); throw new Error('why'); });
    `);
    assert.deepEqual(summary(result).tests, [
      ['a › one', 'passed'],
      ['a', 'failed'],
    ]);
  });

  it('faults two tests of one name', async () => {
    const { faults } = await run(`
      describe('a', () => { it('one', () => {}); it('two', () => {}); });
      describe('a', () => { it('one', () => {}); });
    `);
    assert.deepEqual(faults, ['has two tests of one name: a › one']);
  });

  it('faults a file without tests', async () => {
    assert.deepEqual((await run('')).faults, ['has no tests']);
  });

  it('faults a file that cannot be loaded, and shows why', async () => {
    const result = await run(`import './nowhere.mjs';`);
    assert.deepEqual(result.faults, ['ended with 1']);
    assert.match(result.output, /nowhere/);
  });

  it('faults a file whose process ends in the middle', async () => {
    const result = await run(`
      it('one', () => {});
      it('two', () => { process.kill(process.pid, 'SIGKILL'); });
    `);
    assert.deepEqual(result.faults, ['ended with SIGKILL']);
  });

  it('ends a file that does not end, and what it started', { timeout: 120_000 }, async () => {
    const result = await run(
      `
      import { spawn } from 'node:child_process';
      it('one', () => { console.log(spawn('sleep', ['60'], { stdio: 'ignore' }).pid); });
      `,
      1_000,
    );
    assert.deepEqual(result.faults, ['ran past 1 s']);
    assert(!isAlive(Number(/\d+/.exec(result.output)?.[0])));
  });

  it('faults a process left behind in a group of its own, and ends it', async (t) => {
    if (process.platform !== 'linux') return t.skip('needs /proc');
    const result = await run(`
      import { spawn } from 'node:child_process';
      it('one', () => {
        const child = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
        child.unref();
        console.log(child.pid);
      });
    `);
    assert.deepEqual(result.faults, ['left processes behind: sleep']);
    assert(!isAlive(Number(/\d+/.exec(result.output)?.[0])));
  });
});
