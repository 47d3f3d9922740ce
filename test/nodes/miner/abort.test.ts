import assert from 'node:assert/strict';
import { test } from 'node:test';
import { orAborted, untilAborted } from '../../../nodes/miner/abort.js';

class Cancelled extends Error {}

/** Fails the test when a rejection finds nobody: that would end a miner's process. */
async function withoutUnhandled(scenario: () => Promise<void>): Promise<void> {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', note);
  try {
    await scenario();
    // Node reports after the microtasks of this turn.
    await new Promise((resolve) => setImmediate(resolve));
  } finally {
    process.off('unhandledRejection', note);
  }
  assert.deepEqual(unhandled, []);
}

test('orAborted: work that fails after the signal has won is nobody’s unhandled rejection', async () => {
  await withoutUnhandled(async () => {
    const signal = AbortSignal.abort(new Cancelled());
    await assert.rejects(orAborted(Promise.reject(new Error('late')), signal), Cancelled);
  });
});

test('untilAborted: a source that fails because it was cancelled ends the loop once, with the reason', async () => {
  await withoutUnhandled(async () => {
    const abort = new AbortController();
    async function* source(): AsyncGenerator<number> {
      yield 1;
      abort.signal.throwIfAborted();
      yield 2;
    }
    const seen: number[] = [];
    await assert.rejects(async () => {
      for await (const n of untilAborted(source(), abort.signal)) {
        seen.push(n);
        abort.abort(new Cancelled());
      }
    }, Cancelled);
    assert.deepEqual(seen, [1]);
  });
});
