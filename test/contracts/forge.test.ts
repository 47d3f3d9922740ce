/** Everything that runs forge is in this one file: two forges at once would race for one build cache. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runForge } from '../../contracts/forge.js';
import { isAbiFresh } from '../../contracts/generate.js';

describe('contracts', () => {
  it('pass their own tests at the gas that is committed', () => {
    const { status, stdout, stderr } = runForge(['test'], { FORGE_SNAPSHOT_CHECK: 'true' });
    const summary = stdout.split('\n').filter((line) => !line.startsWith('[PASS]'));
    assert.equal(status, 0, `forge test failed\n${summary.join('\n')}\n${stderr}`);
  });

  it('compile to the committed contracts/abi.ts', () => {
    assert.ok(isAbiFresh(), 'contracts/abi.ts is stale: run `npm run generate`');
  });
});
