import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sample } from '../../domain/choice.js';
import { EngineError, ERRORS, findEngineError } from '../../domain/errors.js';
import { sampleSize, scoreNode, solves } from '../../domain/health.js';
import { parseSessionId, sessionOfWorkflowId, workflowIds } from '../../domain/ids.js';
import { formatTokens, parseTokens, parseWei } from '../../domain/money.js';
import { buildProbes } from '../../domain/probes.js';
import { parsePolicy } from '../../domain/session.js';

const isCode = (code: string) => (error: unknown) =>
  error instanceof EngineError && error.code === code;

test('parseTokens and formatTokens: are inverse for every amount', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 1n << 120n }), (wei) => {
      assert.equal(parseTokens(formatTokens(wei)), wei);
    }),
  );
});

test('parseWei: refuses signs, fractions, leading zeros and amounts of 2^128 and above', () => {
  for (const text of ['-1', '1.0', '01', '', 'x', '1e3', (1n << 128n).toString()]) {
    assert.throws(() => parseWei(text), isCode('AMOUNT_INVALID'), text);
  }
  assert.equal(parseWei('0'), 0n);
});

test('sampleSize: gives the published figures for 95 % confidence', () => {
  assert.equal(sampleSize(1_000_000, 100), 9_513); // 9,604 before the correction for a finite population
  assert.equal(sampleSize(1_000), 278);
  assert.equal(sampleSize(4), 4);
  assert.equal(sampleSize(0), 0);
});

test('solves: finds an accepted phrase as whole words, whatever the case and punctuation', () => {
  assert.ok(solves('The capital is PARIS.', ['paris']));
  assert.ok(!solves('The comparison is fair', ['paris']));
  assert.ok(solves('On Friday, at noon', ['monday', 'friday']));
});

test('scoreNode: weighs its parts to at most 10,000 and calls half of it healthy', () => {
  const full = scoreNode('0x1', { livenessBps: 10_000, poiBps: 10_000, pouwBps: 10_000 });
  assert.deepEqual([full.scoreBps, full.level, full.isHealthy], [10_000, 10, true]);
  const silent = scoreNode('0x1', { livenessBps: 0, poiBps: 0, pouwBps: 0 });
  assert.deepEqual([silent.scoreBps, silent.isHealthy], [0, false]);
  const liar = scoreNode('0x1', { livenessBps: 10_000, poiBps: 0, pouwBps: 0 });
  assert.equal(liar.isHealthy, false, 'being there is not enough');
});

test('sample: draws different items, all of them when asked for more', () => {
  assert.deepEqual(new Set(sample([1, 2, 3], 9, 's')), new Set([1, 2, 3]));
  assert.equal(new Set(sample([1, 2, 3, 4], 2, 's')).size, 2);
});

test('buildProbes: asks the same questions for the same seed, others for another', () => {
  const of = (seed: string) => buildProbes({ seed, model: 'm', poi: 3, pouw: 3 });
  assert.deepEqual(of('epoch:1'), of('epoch:1'));
  assert.notDeepEqual(of('epoch:1'), of('epoch:2'));
  const ids = of('epoch:1').map((probe) => probe.id);
  assert.equal(new Set(ids).size, 6);
  assert.ok(ids.every((id) => /^0x[0-9a-f]{64}$/.test(id)));
});

test('workflowIds.session: reads back to its chain and session', () => {
  assert.deepEqual(sessionOfWorkflowId(workflowIds.session(31337, '42')), {
    chainId: 31337,
    sessionId: '42',
  });
  assert.equal(sessionOfWorkflowId('settle:31337'), undefined);
});

test('parseSessionId: refuses anything but a positive number below 2^63', () => {
  for (const text of ['', '0', '-1', '1.5', '0x1', (1n << 63n).toString()]) {
    assert.throws(() => parseSessionId(text), isCode('REQUEST_INVALID'), text);
  }
});

const POLICY = {
  version: 1,
  model: 'm',
  redundancy: 2,
  level: 'sealed',
  priceCeilingWei: '5',
  maxTasks: 10,
  idleSeconds: 60,
  taskSeconds: 60,
};

test('parsePolicy: fills in what an owner leaves out, and takes its own result as it is', () => {
  const policy = parsePolicy({ model: 'm', priceCeilingWei: '5' });
  const { redundancy, minMiners, maxMiners, level, mode, settlement } = policy;
  assert.deepEqual(
    { redundancy, minMiners, maxMiners, level, mode, settlement },
    {
      redundancy: 3,
      minMiners: 3,
      maxMiners: 4,
      level: 'link',
      mode: 'ephemeral',
      settlement: 'batched',
    },
  );
  assert.deepEqual(parsePolicy(policy), policy);
  const { dedicated, ...rest } = parsePolicy({
    ...POLICY,
    mode: 'dedicated',
    dedicated: [`0x${'a'.repeat(40)}`, `0x${'b'.repeat(40)}`],
  });
  assert.equal(dedicated.length, 2);
  assert.equal(rest.minMiners, 2);
});

test('parsePolicy: names the field and what was expected', () => {
  const bad: [string, unknown, object?][] = [
    ['version', 2],
    ['model', ''],
    ['redundancy', 0],
    ['redundancy', 1.5],
    ['level', 'secret'],
    ['priceCeilingWei', 5],
    ['maxTasks', 100_001],
    ['idleSeconds', 59],
    ['taskSeconds', '60'],
    ['mode', 'shared'],
    ['settlement', 'never'],
    ['dedicated', ['0x12'], { mode: 'dedicated' }],
    ['dedicated', [`0x${'a'.repeat(40)}`]],
    ['dedicated', [`0x${'a'.repeat(40)}`], { mode: 'dedicated' }],
    ['dedicated', [`0x${'a'.repeat(40)}`, `0x${'A'.repeat(40)}`], { mode: 'dedicated' }],
    ['minMiners', 1],
    ['maxMiners', 1],
    ['validators', 0],
    ['minNodeLevel', 11],
    ['retentionSeconds', -1],
    ['retentionSeconds', 60, { level: 'open' }],
    ['sinks', ['a b']],
    ['sinks', 'mine'],
    ['priceCeiling', '5'],
  ];
  for (const [field, value, more] of bad) {
    assert.throws(
      () => parsePolicy({ ...POLICY, ...more, [field]: value }),
      (error) =>
        isCode('POLICY_INVALID')(error) && (error as EngineError).details['field'] === field,
      `${field} ${String(value)}`,
    );
  }
});

test('EngineError: carries its row of the table and is found below other errors', () => {
  const error = new EngineError('NO_MINERS', { asked: 3 });
  assert.equal(error.status, ERRORS.NO_MINERS.status);
  assert.match(error.message, /asked 3/);
  assert.equal(findEngineError(new Error('outer', { cause: error })), error);
  assert.equal(findEngineError(new Error('alone')), undefined);
});
