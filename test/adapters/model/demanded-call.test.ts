import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  callSchema,
  DemandedCall,
  demandedTools,
  tellOfTools,
  writtenOut,
} from '../../../adapters/model/demanded-call.js';
import { AnswerParts } from '../../../domain/answer-parts.js';
import { ask } from './fixtures/collect.js';

/** What a call's JSON comes to, given in pieces of these lengths. */
function read(json: string, lengths: readonly number[]): AnswerParts {
  const call = new DemandedCall();
  const parts = new AnswerParts();
  let at = 0;
  for (const length of [...lengths, json.length]) {
    for (const event of call.add(json.slice(at, at + length))) parts.take(event);
    at += length;
  }
  for (const event of call.end()) parts.take(event);
  return parts;
}

const object = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 }));
const lengths = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 60 });
const space = fc.constantFrom('', ' ', '\n', '  ');

test('a call is taken apart whatever pieces it comes in, and however it is spaced', () => {
  fc.assert(
    fc.property(object, space, fc.boolean(), lengths, (value, gap, isWide, pieces) => {
      const written = JSON.stringify(value, null, isWide ? 1 : 0);
      const json = `${gap}{${gap}"name":${gap}"get_it-7"${gap},"arguments"${gap}:${gap}${written}${gap}}${gap}`;
      const { calls, text } = read(json, pieces);
      assert.deepEqual([calls, text], [[{ name: 'get_it-7', arguments: written }], '']);
    }),
  );
});

test('of a call that is cut short, what is there of its arguments is given', () => {
  const json = '{"name": "f", "arguments": {"a": {"b": 1}}}';
  assert.deepEqual(read(json.slice(0, 12), [5]).calls, []);
  assert.deepEqual(read(json.slice(0, 35), [5]).calls, [{ name: 'f', arguments: '{"a": {"' }]);
  const open = read(json.slice(0, -1), [5]);
  assert.deepEqual(open.calls, [{ name: 'f', arguments: '{"a": {"b": 1}}' }]);
});

test('what is demanded are the named tool, all of them, or none', () => {
  const tools = [{ name: 'a' }, { name: 'b' }];
  const names = (choice: object) =>
    demandedTools(ask('hi', { tools, ...choice })).map(({ name }) => name);
  assert.deepEqual(names({ toolChoice: { name: 'b' } }), ['b']);
  assert.deepEqual(names({ toolChoice: 'required' }), ['a', 'b']);
  assert.deepEqual(names({ toolChoice: 'auto' }), []);
  assert.deepEqual(names({}), []);
  const call = (name: string) => ({
    type: 'object',
    properties: {
      name: { const: name },
      arguments: { type: 'object', properties: {}, additionalProperties: false },
    },
    additionalProperties: false,
  });
  assert.deepEqual(callSchema(tools), { oneOf: [call('a'), call('b')] });
  assert.deepEqual(callSchema(tools.slice(1)), call('b'));
});

test('a model is told of tools in the first message, and reads calls as it would have written them', () => {
  const tools = [{ name: 'a', description: 'Does it.', parameters: { type: 'object' } }];
  const [told, asked] = tellOfTools([{ role: 'user', content: 'hi' }], tools);
  assert.deepEqual([told?.role, asked?.content], ['system', 'hi']);
  assert.ok(told?.content.includes(JSON.stringify(tools[0])));
  const [kept, ...rest] = tellOfTools([{ role: 'system', content: 'Be brief.' }], tools);
  assert.ok(kept?.content.startsWith('Be brief.\n\n'));
  assert.deepEqual(rest, []);
  const toolCalls = [{ id: '1', name: 'a', arguments: '{"x":1}' }];
  const message = { role: 'assistant', content: '', toolCalls } as const;
  assert.equal(writtenOut(message), '{"name": "a", "arguments": {"x":1}}');
});
