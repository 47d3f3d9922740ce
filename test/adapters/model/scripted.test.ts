import assert from 'node:assert/strict';
import test from 'node:test';
import { openScriptedBackend } from '../../../adapters/model/scripted.js';
import { ask, collect } from './fixtures/collect.js';

const echo = openScriptedBackend({
  model: 'echo',
  answer: (request) => request.messages.map((m) => m.content).join('\n'),
});

test('the deltas of a scripted answer add up to it, white space included', async () => {
  for (const text of ['', 'one', ' two  words\n', '\n', 'a b c d ']) {
    const answer = await collect(echo, ask(text));
    assert.equal(answer.text, text);
    assert.equal(answer.finishReason, 'stop');
    assert.equal(answer.usage.completionTokens, answer.deltas.length);
  }
});

test('a scripted answer is cut at its limit', async () => {
  const answer = await collect(echo, ask('a b c', { maxTokens: 2 }));
  assert.equal(answer.text, 'a b');
  assert.equal(answer.finishReason, 'length');
  assert.deepEqual(answer.usage, { promptTokens: 3, completionTokens: 2 });
});

test('a slow script streams at its pace and stops at once when aborted', async () => {
  const slow = openScriptedBackend({ model: 'slow', answer: () => 'a b c', tokensPerSecond: 50 });
  const started = performance.now();
  await collect(slow, ask('go'));
  assert.ok(performance.now() - started >= 55);
  const reason = new Error('enough');
  const stuck = openScriptedBackend({ model: 'stuck', answer: () => 'a', tokensPerSecond: 0.01 });
  const controller = new AbortController();
  const running = collect(stuck, ask('go'), { signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(running, reason);
});
