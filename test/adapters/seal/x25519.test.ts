import assert from 'node:assert/strict';
import * as nodeCrypto from 'node:crypto';
import test from 'node:test';
import { Decrypter, Encrypter } from 'age-encryption';
import fc from 'fast-check';
import { sealAtRest } from '../../../adapters/seal/at-rest.js';
import { createIdentity } from '../../../adapters/seal/identity.js';
import { x25519Recipient } from '../../../adapters/seal/x25519.js';

/** A point of low order, u = 0: every secret that is shared with it is zero. */
const LOW_ORDER = 'age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z';

test('the age library opens what was wrapped here, whatever the file key and the identity', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (plain) => {
      const { identity, recipient } = await createIdentity();
      const native = x25519Recipient(recipient, nodeCrypto);
      assert.ok(native);
      const encrypter = new Encrypter();
      encrypter.addRecipient(native);
      const decrypter = new Decrypter();
      decrypter.addIdentity(identity);
      const file = await encrypter.encrypt(plain);
      assert.deepEqual(await decrypter.decrypt(file), new Uint8Array(plain));
    }),
    { numRuns: 20 },
  );
});

test('a post-quantum recipient is not taken for a plain one', async () => {
  const { recipient } = await createIdentity({ postQuantum: true });
  assert.equal(x25519Recipient(recipient, nodeCrypto), null);
});

test('a recipient with one letter changed is refused', async () => {
  const { recipient } = await createIdentity();
  const other = recipient.endsWith('q') ? 'p' : 'q';
  const altered = recipient.slice(0, -1) + other;
  await assert.rejects(sealAtRest(new Uint8Array(1), [altered]), { code: 'REQUEST_INVALID' });
});

test('nothing is sealed to a recipient of low order', async () => {
  await assert.rejects(sealAtRest(new Uint8Array(1), [LOW_ORDER]));
});
