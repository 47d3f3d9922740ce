import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { anyOf, deadlineIn } from '../../domain/deadline.js';
import { collectGarbage } from '../support/collect.js';

const KEPT = new AbortController().signal;
const LIMIT_MS = 20_000;

/** Waits for the signal as a call does: holding nothing that it is made of. */
const reasonOf = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve, reject) => {
    // A lost deadline keeps no process alive; this does.
    const timer = setTimeout(() => reject(new Error(`not within ${LIMIT_MS} ms`)), LIMIT_MS);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve(signal.reason);
    });
  });

describe('a deadline', () => {
  it('ends the wait though nothing else holds it when garbage is collected', async () => {
    const ended = reasonOf(deadlineIn(200, KEPT));
    await collectGarbage();
    assert.equal(((await ended) as Error).name, 'TimeoutError');
  });

  it('ends the wait as a part of another that is later', async () => {
    const ended = reasonOf(deadlineIn(60_000, anyOf(deadlineIn(200, KEPT), KEPT)));
    await collectGarbage();
    assert.equal(((await ended) as Error).name, 'TimeoutError');
  });

  it('ends at once when one of its signals aborts, with its reason', async () => {
    const [one, other] = [new AbortController(), new AbortController()];
    const ended = reasonOf(deadlineIn(60_000, one.signal, undefined, other.signal));
    await collectGarbage();
    other.abort('enough');
    assert.equal(await ended, 'enough');
    assert.equal(anyOf(KEPT, other.signal).reason, 'enough');
  });

  it('is let go of with the wait that it was for', async () => {
    const made = new WeakRef(deadlineIn(60_000, KEPT));
    await collectGarbage();
    assert.equal(made.deref(), undefined);
  });
});
