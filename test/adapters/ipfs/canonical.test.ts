import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { canonicalJson, encodeJson } from '../../../adapters/ipfs/canonical.js';

test('the example of RFC 8785, section 3.2.2, is written as the RFC writes it', () => {
  const value = {
    numbers: [333333333.33333329, 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
    string: '\u20ac$\u000F\u000aA\'\u0042\u0022\u005c\\"/',
    literals: [null, true, false],
  };
  assert.equal(
    canonicalJson(value),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
      '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
});

test('keys are sorted by UTF-16 code units, as in RFC 8785, section 3.2.3', () => {
  const keys = ['\u20ac', '\r', '\ufb33', '1', '\ud83d\ude00', '\u0080', '\u00f6'];
  const text = canonicalJson(Object.fromEntries(keys.map((key) => [key, 0])));
  const sorted = ['\r', '1', '\u0080', '\u00f6', '\u20ac', '\ud83d\ude00', '\ufb33'];
  assert.deepEqual(
    Object.keys(JSON.parse(text.replaceAll('"1"', '"x1"')) as object),
    sorted.map((k) => (k === '1' ? 'x1' : k)),
  );
});

test('any JSON value reads back, and the order of its keys does not matter', () => {
  fc.assert(
    fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
      const text = canonicalJson(value);
      const parsed: unknown = JSON.parse(text);
      assert.deepEqual(parsed, JSON.parse(JSON.stringify(value)));
      assert.equal(canonicalJson(reversed(parsed)), text);
    }),
  );
});

test('what does not read back as it was is refused', () => {
  const unfit = [NaN, Infinity, 1n, undefined, () => 0, '\ud800', { '\udc00': 1 }, [undefined]];
  for (const value of [...unfit, new Date(), new Map(), new Uint8Array(1)]) {
    assert.throws(() => canonicalJson(value), { code: 'REQUEST_INVALID' });
  }
});

test('properties that are undefined are left out, and the bytes are UTF-8', () => {
  assert.deepEqual(encodeJson({ b: undefined, a: '€' }), new TextEncoder().encode('{"a":"€"}'));
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, item]) => [key, reversed(item)]),
  );
}
