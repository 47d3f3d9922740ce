import assert from 'node:assert/strict';
import * as nodeCrypto from 'node:crypto';
import test from 'node:test';
import fc from 'fast-check';
import type { Bytes } from '../../../adapters/seal/bytes.js';
import { nodeCrypto as found } from '../../../adapters/seal/native.js';
import { nativeKeys, webKeys } from '../../../adapters/seal/stream-cipher.js';

const bytes = (length: number) =>
  fc
    .uint8Array({ minLength: length, maxLength: length })
    .map((drawn) => new Uint8Array(drawn) as Bytes);
const draws = {
  master: bytes(32),
  salt: bytes(16),
  nonce: bytes(12),
  context: fc.uint8Array({ maxLength: 60 }).map((drawn) => new Uint8Array(drawn) as Bytes),
  plain: fc.uint8Array({ maxLength: 300 }),
  info: fc.string({ maxLength: 40 }),
};

test('in Node its own cryptography is found without an import', () => {
  assert.equal(found?.createCipheriv, nodeCrypto.createCipheriv);
});

test('both ways seal to the same bytes, and each opens what the other sealed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.record(draws), async ({ master, salt, info, plain, ...terms }) => {
      const native = await nativeKeys(master, nodeCrypto).stream(salt, info);
      const web = await (await webKeys(master)).stream(salt, info);
      const sealed = await native.seal(plain, terms);
      assert.deepEqual(await web.seal(plain, terms), sealed);
      assert.deepEqual(await native.open(sealed, terms), new Uint8Array(plain));
      assert.deepEqual(await web.open(sealed, terms), new Uint8Array(plain));
    }),
    { numRuns: 50 },
  );
});

test('both ways authenticate a message alike', async () => {
  await fc.assert(
    fc.asyncProperty(fc.record(draws), async ({ master, info, plain }) => {
      const native = await nativeKeys(master, nodeCrypto).hmac('42', info);
      const web = await (await webKeys(master)).hmac('42', info);
      assert.deepEqual(await native(plain), await web(plain));
    }),
    { numRuns: 50 },
  );
});

test('what is altered, cut short, or read under other terms opens in neither way', async () => {
  const master = new Uint8Array(32).fill(1);
  const terms = { nonce: new Uint8Array(12), context: new Uint8Array([1, 2]) };
  const native = await nativeKeys(master, nodeCrypto).stream(new Uint8Array(16), 'a');
  const web = await (await webKeys(master)).stream(new Uint8Array(16), 'a');
  const sealed = await native.seal(new Uint8Array(20), terms);
  const altered = new Uint8Array(sealed);
  altered[3] = (altered[3] ?? 0) ^ 1;
  for (const cipher of [native, web]) {
    const open = async (read: Bytes, under = terms) => cipher.open(read, under);
    await assert.rejects(open(altered));
    for (const end of [0, 8, 15, 16, sealed.length - 1]) {
      await assert.rejects(open(sealed.slice(0, end)), `${end} bytes`);
    }
    await assert.rejects(open(sealed, { ...terms, context: new Uint8Array([1, 3]) }));
    await assert.rejects(open(sealed, { ...terms, nonce: new Uint8Array(12).fill(1) }));
  }
});
