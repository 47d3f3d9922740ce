import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { fromBase64, toBase64, toHex } from '../../../adapters/seal/bytes.js';

test('base64 matches the test vectors of RFC 4648', () => {
  const vectors = {
    '': '',
    f: 'Zg==',
    fo: 'Zm8=',
    foo: 'Zm9v',
    foob: 'Zm9vYg==',
    fooba: 'Zm9vYmE=',
  };
  for (const [plain, encoded] of Object.entries(vectors)) {
    assert.equal(toBase64(Buffer.from(plain)), encoded);
    assert.equal(Buffer.from(fromBase64(encoded)).toString(), plain);
  }
});

test('base64 and hex agree with Buffer for any bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const text = toBase64(bytes);
      assert.equal(text, Buffer.from(bytes).toString('base64'));
      assert.deepEqual(fromBase64(text), new Uint8Array(bytes));
      assert.equal(toHex(bytes), `0x${Buffer.from(bytes).toString('hex')}`);
    }),
  );
});

test('base64 that is not the one form of its bytes is refused', () => {
  for (const text of [
    'Zg',
    'Zg=',
    'Zh==',
    'Zm9',
    'Zm9=',
    'Z=9v',
    '====',
    'Zm-_',
    'Zm 9',
    'Zg==Zg==',
    'Zmé=',
  ]) {
    assert.throws(() => fromBase64(text), { code: 'SEAL_BROKEN' }, text);
  }
});
