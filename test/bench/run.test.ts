import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { isMet } from '../../bench/bench.js';

const RUN = join(import.meta.dirname, '..', '..', 'bench', 'run.js');

function bench(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [RUN, ...args], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status, stdout, stderr };
}

test('a benchmark that does not exist is one line on stderr and exit code 2', () => {
  const { status, stdout, stderr } = bench('gas-nothing');
  assert.equal(status, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /^unknown benchmark "gas-nothing", expected one of .*gas-settle.*\n$/);
});

test('an option that does not exist is one line on stderr and exit code 2', () => {
  const { status, stdout, stderr } = bench('--fast');
  assert.equal(status, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /^[^\n]*--fast[^\n]*\n$/);
});

test('the list names every benchmark once, with what it compares', () => {
  const { status, stdout } = bench('--list');
  assert.equal(status, 0);
  const lines = stdout.trimEnd().split('\n');
  const names = lines.map((line) => line.split(/ +/)[0]);
  assert.equal(new Set(names).size, names.length);
  const expected = [
    'gas-settle',
    'gas-health',
    'ttft',
    'gateway',
    'streams',
    'ipfs',
    'retrieval',
    'export',
    'history',
    'pipeline',
    'sealing',
    'recovery',
  ];
  assert.deepEqual(new Set(names), new Set(expected));
  for (const line of lines) assert.match(line, /^[a-z-]+ +\S.*\S$/);
});

test('help says how it is used, and starts nothing', () => {
  const { status, stdout } = bench('--help', 'gas-settle');
  assert.equal(status, 0);
  assert.match(stdout, /^Usage: npm run -s bench/);
});

test('a target is met up to its bounds, and never by what was not measured', () => {
  assert.equal(isMet({ ms: 5, ratio: 2 }, { ms: { max: 5 }, ratio: { min: 2 } }), true);
  assert.equal(isMet({ ms: 5.1, ratio: 2 }, { ms: { max: 5 }, ratio: { min: 2 } }), false);
  assert.equal(isMet({ ms: 5, ratio: 1.9 }, { ms: { max: 5 }, ratio: { min: 2 } }), false);
  assert.equal(isMet({ ms: null }, { ms: { max: 5 } }), false);
  assert.equal(isMet({ ms: Number.NaN }, { ms: { max: 5 } }), false);
  assert.equal(isMet({}, { ms: { max: 5 } }), false);
  assert.equal(isMet({ ms: 1 }, {}), true);
});
