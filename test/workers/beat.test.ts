import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beating } from '../../workers/beat.js';

const INPUT = { args: [], headers: {} };

test('an activity beats while it runs, and no longer', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  let beats = 0;
  const { inbound } = beating({ heartbeat: () => void beats++ });
  for (const isFailing of [false, true]) {
    beats = 0;
    let end: () => void = () => undefined;
    const running = inbound?.execute?.(INPUT, async () => {
      await new Promise<void>((resolve) => (end = resolve));
      if (isFailing) throw new Error('no answer');
      return 'done';
    });
    t.mock.timers.tick(9_500);
    assert.equal(beats, 3, 'often enough for a timeout of ten seconds');
    end();
    if (isFailing) await assert.rejects(running ?? assert.fail(), /no answer/);
    else assert.equal(await running, 'done');
    t.mock.timers.tick(60_000);
    assert.equal(beats, 3);
  }
});
