import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { comparedText, exactKey, parseToolFields, TOOL_LIMITS } from '../../domain/tools.js';

const key = (written: string) =>
  exactKey({ text: '', toolCalls: [{ name: 'f', arguments: written }] });
const formKey = (text: string) => exactKey({ text });
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
  const calls = [[], [f], [g], [f, f], [f, g], [g, f]];
  const keys = calls.map((toolCalls) => exactKey({ text: '', toolCalls }));
  assert.equal(new Set(keys).size, keys.length);
  assert.equal(keys[0], '');
});

test('a form is compared in its canonical form, and prose as it stands', () => {
  assert.equal(comparedText({ text: '{ "b": 1, "a": 2 }' }), '{"a":2,"b":1}');
  assert.equal(comparedText({ text: ' 7  ' }), ' 7  ');
  assert.equal(comparedText({ text: '{ not JSON' }), '{ not JSON');
});

/** JSON around a hole, some levels deep. */
const around = fc
  .array(
    fc.tuple(
      fc.string(),
      fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer(), fc.boolean())),
      fc.boolean(),
    ),
    { minLength: 1, maxLength: 6 },
  )
  .map(
    (levels) => (hole: unknown) =>
      levels.reduce<unknown>(
        (inner, [name, rest, isList]) =>
          isList ? [...Object.values(rest), inner] : { ...rest, [name]: inner },
        hole,
      ),
  );
/** Turns the keys of all objects around. */
function turned(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(turned);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).reverse();
  return Object.fromEntries(entries.map(([name, item]) => [name, turned(item)]));
}
const prose = (said: string) => `The invoice that you have sent us says ${said}, and so do we all.`;
const number = fc.oneof(fc.maxSafeInteger(), fc.double({ noNaN: true, min: -1e9, max: 1e9 }));

test('forms are the same whatever order and white space they are written in', () => {
  fc.assert(
    fc.property(around, fc.oneof(number, fc.string()), (form, value) => {
      const texts = [
        JSON.stringify(form(value)),
        ` ${JSON.stringify(turned(form(value)), null, 2)}\n`,
      ];
      const [a = '', b = ''] = texts;
      assert.equal(formKey(a), formKey(b));
      assert.equal(comparedText({ text: a }), comparedText({ text: b }));
    }),
  );
});

test('forms that differ in one number are others, wherever it is, also within prose', () => {
  fc.assert(
    fc.property(around, number, number, (form, a, b) => {
      fc.pre(JSON.stringify(a) !== JSON.stringify(b));
      const keyOf = (value: unknown) => formKey(JSON.stringify(form(value)));
      assert.notEqual(keyOf(a), keyOf(b));
      assert.notEqual(keyOf(String(a)), keyOf(String(b)));
      assert.notEqual(keyOf(a), keyOf(String(a)));
      const [inProse, other] = [Math.trunc(a), Math.trunc(b)];
      if (inProse !== other) {
        assert.notEqual(keyOf(prose(String(inProse))), keyOf(prose(String(other))));
      }
    }),
  );
});

test('a form with two keys of one name is another than with either: readers differ in which they take', () => {
  fc.assert(
    fc.property(around, fc.string(), number, number, (form, name, a, b) => {
      const [key, one, two] = [name, a, b].map((part) => JSON.stringify(part));
      const hole = JSON.stringify('the hole');
      const text = JSON.stringify(form('the hole'));
      fc.pre(text.split(hole).length === 2);
      const keyOf = (inner: string) => formKey(text.replace(hole, () => inner));
      const twins = keyOf(`{${key}:${one},${key}:${two}}`);
      assert.notEqual(twins, keyOf(`{${key}:${one}}`));
      assert.notEqual(twins, keyOf(`{${key}:${two}}`));
    }),
  );
  assert.notEqual(formKey('{"a":1,"\\u0061":2}'), formKey('{"a":2}'));
  assert.equal(
    formKey('{"a":{"a":"{\\"a\\":"},"b":["a","a"]}'),
    formKey('{"b":["a","a"],"a":{"a":"{\\"a\\":"}}'),
  );
  assert.notEqual(key('{"n":1,"n":2}'), key('{"n":2}'));
});

test('long strings of a form may be worded otherwise, short ones and their number may not', () => {
  const said = (note: unknown) => formKey(JSON.stringify({ total: 7, note }));
  const worded = prose('that 7 are due on 2026-01-02');
  assert.equal(said(worded), said(`Yes. ${worded} We agree.`));
  assert.notEqual(said(worded), said(prose('that 7 are due on 2026-01-03')));
  assert.notEqual(said(worded), said(prose('that -7 are due on 2026-01-02')));
  assert.notEqual(said('due'), said('paid'));
  assert.notEqual(said(worded), said('7 2026-01-02'));
  assert.notEqual(said([worded]), said([worded, worded]));
  assert.notEqual(said('~'), said(prose('nothing')));
});

test('a form is none of those that are cut short, prose, or beyond what can be compared', () => {
  const cut = '{"total":7,"note":"due"';
  assert.equal(formKey(cut), '');
  assert.equal(formKey('The total is 7.'), '');
  assert.notEqual(formKey(`${cut}}`), '');
  assert.notEqual(formKey('{"n":90071992547409921}'), formKey('{"n":90071992547409922}'));
  const deep = (value: number) => '['.repeat(20) + value + ']'.repeat(20);
  assert.notEqual(formKey(deep(1)), formKey(deep(2)));
  assert.notEqual(formKey('{"__proto__":1}'), formKey('{"__proto__":2}'));
  const toolCalls = [{ name: 'f', arguments: '{}' }];
  const keys = ['', '{"a":1}', '{"a":2}'].map((text) => exactKey({ text, toolCalls }));
  assert.equal(new Set(keys).size, keys.length);
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
