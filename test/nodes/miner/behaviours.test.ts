import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openScriptedBackend } from '../../../adapters/model/scripted.js';
import { EngineError } from '../../../domain/errors.js';
import type { StreamEvent } from '../../../domain/task.js';
import {
  BEHAVIOURS,
  parseBehaviour,
  withBehaviour,
  type Behaviour,
} from '../../../nodes/miner/behaviours.js';

const HONEST = 'one two three four five';
const backend = openScriptedBackend({ model: 'scripted-1', answer: () => HONEST });

describe('a behaviour', () => {
  for (const name of BEHAVIOURS) {
    test(`${name}: ends its stream once, with the usage of what it said`, async () => {
      const events = await run(name, 'why');
      const last = events.at(-1);
      assert.equal(events.filter((event) => event.type === 'end').length, 1);
      assert.ok(last?.type === 'end');
      const said = events.filter((event) => event.type === 'delta').length;
      assert.equal(last.usage.completionTokens, said);
    });
  }

  test('honest: says what its backend says', async () => {
    assert.equal(textOf(await run('honest', 'why')), HONEST);
  });

  test('canned: says the same to every question', async () => {
    const text = textOf(await run('canned', 'why'));
    assert.equal(textOf(await run('canned', 'where')), text);
    assert.notEqual(text, HONEST);
  });

  test('garbage: says something else under each seed', async () => {
    assert.notEqual(textOf(await run('garbage', 'why', 1)), textOf(await run('garbage', 'why', 2)));
  });

  test('truncated: says the beginning of the honest answer', async () => {
    assert.equal(textOf(await run('truncated', 'why')), 'one two three');
  });

  test('is refused by a name that is none', () => {
    assert.throws(
      () => parseBehaviour('polite'),
      (error) => error instanceof EngineError && error.code === 'USAGE',
    );
    assert.equal(parseBehaviour('canned'), 'canned');
  });
});

async function run(name: Behaviour, content: string, seed = 1): Promise<StreamEvent[]> {
  const request = {
    model: 'scripted-1',
    messages: [{ role: 'user', content }],
    maxTokens: 64,
    temperature: 0,
    topP: 1,
  } as const;
  const events: StreamEvent[] = [];
  const { signal } = new AbortController();
  for await (const event of withBehaviour(backend, name).generate(request, { seed, signal })) {
    events.push(event);
  }
  return events;
}

function textOf(events: readonly StreamEvent[]): string {
  return events.map((event) => (event.type === 'delta' ? event.text : '')).join('');
}
