import assert from 'node:assert/strict';
import * as nodeCrypto from 'node:crypto';
import test from 'node:test';
import { Decrypter } from 'age-encryption';
import fc from 'fast-check';
import { ageWriter } from '../../../adapters/seal/age-file.js';
import { sealAtRest } from '../../../adapters/seal/at-rest.js';
import { createIdentity } from '../../../adapters/seal/identity.js';

/** A point of low order, u = 0: every secret that is shared with it is zero. */
const LOW_ORDER = 'age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z';
const CHUNK = 64 * 1024;

function write(plain: Uint8Array, recipients: readonly string[]): Uint8Array {
  const writer = ageWriter(recipients, nodeCrypto);
  assert.ok(writer);
  return writer(plain);
}

async function openByLibrary(file: Uint8Array, identity: string): Promise<Uint8Array> {
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  return decrypter.decrypt(file);
}

test('the age library opens what was written here, whatever the keys and the bytes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (plain) => {
      const { identity, recipient } = await createIdentity();
      const opened = await openByLibrary(write(plain, [recipient]), identity);
      assert.deepEqual(opened, new Uint8Array(plain));
    }),
    { numRuns: 20 },
  );
});

test('files of every number of chunks open, full last ones among them', async () => {
  const { identity, recipient } = await createIdentity();
  for (const size of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7]) {
    const plain = new Uint8Array(nodeCrypto.randomBytes(size));
    assert.deepEqual(await openByLibrary(write(plain, [recipient]), identity), plain, String(size));
  }
});

test('each of several recipients opens the file alone', async () => {
  const readers = await Promise.all([createIdentity(), createIdentity(), createIdentity()]);
  const plain = new Uint8Array([1, 2, 3]);
  const file = write(
    plain,
    readers.map(({ recipient }) => recipient),
  );
  for (const { identity } of readers) assert.deepEqual(await openByLibrary(file, identity), plain);
  const stranger = await createIdentity();
  await assert.rejects(openByLibrary(file, stranger.identity), /no identity matched/);
});

test('two files of the same bytes share no bytes that would show it', async () => {
  const { recipient } = await createIdentity();
  const plain = new Uint8Array(1_000);
  const [one, other] = [write(plain, [recipient]), write(plain, [recipient])];
  assert.notDeepEqual(one.subarray(-1_016), other.subarray(-1_016));
});

test('a post-quantum recipient is left to the library, also beside a plain one', async () => {
  const plain = await createIdentity();
  const { recipient } = await createIdentity({ postQuantum: true });
  assert.equal(ageWriter([recipient], nodeCrypto), null);
  assert.equal(ageWriter([plain.recipient, recipient], nodeCrypto), null);
});

test('a recipient with one letter changed is refused', async () => {
  const { recipient } = await createIdentity();
  const other = recipient.endsWith('q') ? 'p' : 'q';
  const altered = recipient.slice(0, -1) + other;
  await assert.rejects(sealAtRest(new Uint8Array(1), [altered]), { code: 'REQUEST_INVALID' });
});

test('nothing is sealed to a recipient of low order', async () => {
  await assert.rejects(sealAtRest(new Uint8Array(1), [LOW_ORDER]), {
    code: 'ERR_OSSL_FAILED_DURING_DERIVATION',
  });
});
