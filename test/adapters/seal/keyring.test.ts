import assert from 'node:assert/strict';
import test from 'node:test';
import { openAtRest, sealAtRest } from '../../../adapters/seal/at-rest.js';
import { createIdentity, recipientOf } from '../../../adapters/seal/identity.js';
import { createKeyring, openKeyring, wrapKeyring } from '../../../adapters/seal/keyring.js';

const sessionId = '4611686018427387904';

test('a wrapped keyring gives each reader the same keys', async () => {
  const { keyring, recipient } = await createKeyring(sessionId);
  assert.equal(await recipientOf(keyring.identity), recipient);
  const readers = [await createIdentity(), await createIdentity({ postQuantum: true })];
  const file = await wrapKeyring(
    keyring,
    readers.map((r) => r.recipient),
  );
  for (const { identity } of readers) assert.deepEqual(await openKeyring(file, identity), keyring);
});

test('a reader that is added later reads what was sealed before', async () => {
  const { keyring, recipient } = await createKeyring(sessionId);
  const payload = await sealAtRest(new Uint8Array([1, 2, 3]), [recipient]);
  const [first, second] = [await createIdentity(), await createIdentity()];
  const opened = await openKeyring(await wrapKeyring(keyring, [first.recipient]), first.identity);
  const rewrapped = await wrapKeyring(opened, [first.recipient, second.recipient]);
  const { identity } = await openKeyring(rewrapped, second.identity);
  assert.deepEqual(await openAtRest(payload, identity), new Uint8Array([1, 2, 3]));
});

test('a stranger does not open a keyring', async () => {
  const { keyring } = await createKeyring(sessionId);
  const [reader, stranger] = [await createIdentity(), await createIdentity()];
  const file = await wrapKeyring(keyring, [reader.recipient]);
  await assert.rejects(openKeyring(file, stranger.identity), { code: 'SEAL_NOT_RECIPIENT' });
});

test('a post-quantum keyring is refused to readers without post-quantum keys', async () => {
  const { keyring } = await createKeyring(sessionId, { postQuantum: true });
  const [plain, hybrid] = [await createIdentity(), await createIdentity({ postQuantum: true })];
  await assert.rejects(wrapKeyring(keyring, [hybrid.recipient, plain.recipient]), {
    code: 'REQUEST_INVALID',
  });
  const file = await wrapKeyring(keyring, [hybrid.recipient]);
  assert.deepEqual(await openKeyring(file, hybrid.identity), keyring);
});

test('an age file that holds something else is no keyring', async () => {
  const { keyring } = await createKeyring(sessionId);
  const { identity, recipient } = await createIdentity();
  const broken: readonly unknown[] = [
    null,
    'text',
    { ...keyring, version: 2 },
    { ...keyring, sessionId: '-1' },
    { ...keyring, identity: 'AGE-SECRET-KEY-1QQ' },
    { ...keyring, channelKey: 'AAAA' },
    { ...keyring, channelKey: undefined },
  ];
  for (const value of broken) {
    const file = await sealAtRest(Buffer.from(JSON.stringify(value)), [recipient]);
    await assert.rejects(openKeyring(file, identity), { code: 'SEAL_BROKEN' });
  }
});
