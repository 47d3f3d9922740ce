import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { callsKey, comparedText, parseToolFields, TOOL_LIMITS } from '../../domain/tools.js';

const key = (written: string) => callsKey({ toolCalls: [{ name: 'f', arguments: written }] });
const invalid = { code: 'PROMPT_INVALID' };

function nested(levels: number): Record<string, unknown> {
  return levels === 1 ? {} : { a: nested(levels - 1) };
}

test('calls are the same whatever order and white space their arguments are written in', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.integer()), (args) => {
      const turned = Object.fromEntries(Object.entries(args).reverse());
      assert.equal(key(JSON.stringify(args)), key(JSON.stringify(turned, null, 2)));
    }),
  );
});

test('calls that differ in a value, a name, their number or their order are others', () => {
  assert.notEqual(key('{"n":1}'), key('{"n":2}'));
  assert.notEqual(key('{"n":1}'), key('{"n":"1"}'));
  assert.notEqual(key('{"n":90071992547409921}'), key('{"n":90071992547409922}'));
  assert.notEqual(key('{"__proto__":1}'), key('{"__proto__":2}'));
  assert.notEqual(key('{"__proto__":1}'), key('{}'));
  assert.notEqual(key('{'), key('{}'));
  const f = { name: 'f', arguments: '{}' };
  const g = { name: 'g', arguments: '{}' };
  const keys = [[], [f], [g], [f, f], [f, g], [g, f]].map((toolCalls) => callsKey({ toolCalls }));
  assert.equal(new Set(keys).size, keys.length);
  assert.equal(keys[0], '');
});

test('a form is compared in its canonical form, and prose as it stands', () => {
  assert.equal(comparedText({ text: '{ "b": 1, "a": 2 }' }), '{"a":2,"b":1}');
  assert.equal(comparedText({ text: ' 7  ' }), ' 7  ');
  assert.equal(comparedText({ text: '{ not JSON' }), '{ not JSON');
});

test('tools and schemas have bounds of count, name, depth and size', () => {
  const tools = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `t${i}` }));
  assert.equal(parseToolFields({ tools: tools(TOOL_LIMITS.tools) }).tools?.length, 64);
  assert.throws(() => parseToolFields({ tools: tools(TOOL_LIMITS.tools + 1) }), invalid);
  assert.throws(() => parseToolFields({ tools: [] }), invalid);
  assert.throws(() => parseToolFields({ tools: [{ name: 'f' }, { name: 'f' }] }), invalid);
  for (const name of ['', 'é', 'a b', 'a\n', '工具', 'x'.repeat(65), 7]) {
    assert.throws(() => parseToolFields({ tools: [{ name }] }), invalid, String(name));
  }
  const parse = (parameters: unknown) => parseToolFields({ tools: [{ name: 'f', parameters }] });
  parse(nested(TOOL_LIMITS.schemaDepth));
  assert.throws(() => parse(nested(TOOL_LIMITS.schemaDepth + 1)), invalid);
  assert.throws(() => parse(nested(3_000)), invalid);
  assert.throws(() => parse({ a: 'x'.repeat(TOOL_LIMITS.schemaChars) }), invalid);
});

test('names of prototypes are names like any other, and no choice without a tool of it', () => {
  const tools = [{ name: '__proto__', parameters: JSON.parse('{"__proto__":{"x":1}}') }];
  const parsed = parseToolFields({ tools, toolChoice: { name: '__proto__' } });
  assert.equal(JSON.stringify(parsed.tools), JSON.stringify(tools));
  assert.equal(({} as { x?: number }).x, undefined);
  assert.throws(() => parseToolFields({ tools, toolChoice: { name: 'constructor' } }), invalid);
});
