/**
 * Users, cheats and faults, drawn from a seed, on the whole network in processes; after every step the
 * money is counted on the chain alone. `CORTENSOR_SEED` repeats a run, `CORTENSOR_STEPS` makes it longer.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runDriver } from './money/run.js';

const SEED = process.env['CORTENSOR_SEED'] ?? 'every coin is somewhere';
const STEPS = Number(process.env['CORTENSOR_STEPS'] ?? 60);
/** After the last fault: outages are waited out with pauses of a minute. */
const END_MS = 120_000;

test('money: whatever dies and whoever cheats, every coin is accounted for after every step', async (t) => {
  t.diagnostic(`CORTENSOR_SEED='${SEED}' CORTENSOR_STEPS=${STEPS}`);
  const { findings, counts, acknowledged } = await runDriver({
    seed: SEED,
    steps: STEPS,
    endMs: END_MS,
    say: (line) => t.diagnostic(line),
  });
  t.diagnostic(`\n${counts}`);
  assert.deepEqual(findings, []);
  assert.ok(acknowledged > 0, 'somebody got an answer');
});
