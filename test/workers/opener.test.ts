import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sealAtRest } from '../../adapters/seal/at-rest.js';
import { createIdentity, recipientOf } from '../../adapters/seal/identity.js';
import { createKeyring, wrapKeyring } from '../../adapters/seal/keyring.js';
import type { SinkConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { SealingLevel } from '../../domain/sealing.js';
import type { SessionView } from '../../domain/session.js';
import { openerFor } from '../../workers/opener.js';
import { memoryStore } from '../activities/memory-store.js';

const TEXT = '{"text":"naïve 🙂"}';
const OPEN: Pick<SinkConfig, 'open' | 'identity'> = { open: ['result'], identity: 'env:READER' };

async function world(level: SealingLevel) {
  const store = memoryStore();
  const [reader, other] = [await createIdentity(), await createIdentity()];
  const { keyring } = await createKeyring('7', { postQuantum: false });
  const cid = await store.put(await wrapKeyring(keyring, [reader.recipient]));
  const recipient = await recipientOf(keyring.identity);
  const view = {
    policy: { level },
    keyring: level === 'open' ? null : { cid, recipient },
  } as unknown as SessionView;
  const plain = Buffer.from(TEXT);
  const bytes = level === 'open' ? plain : await sealAtRest(plain, [recipient]);
  const readSecret = (identity: string) => async () => `# a comment\n${identity}\n`;
  return { store, view, bytes, reader, other, readSecret };
}

for (const level of ['open', 'link', 'sealed'] as const) {
  test(`at level ${level} the kinds that the user chose are opened, and the others stay as they are`, async () => {
    const { store, view, bytes, reader, readSecret } = await world(level);
    const open = await openerFor(OPEN, view, { store, readSecret: readSecret(reader.identity) });
    assert.equal(await open('result', bytes), TEXT);
    assert.equal(await open('request', bytes), null);
    assert.equal(await open('keyring', bytes), null);
  });
}

test('nothing is opened, and no identity is read, where the sink asks for nothing', async () => {
  const { store, view, bytes } = await world('sealed');
  const readSecret = async () => assert.fail('an identity was read');
  const open = await openerFor({ open: [], identity: null }, view, { store, readSecret });
  assert.equal(await open('result', bytes), null);
});

test('an identity that is no reader of the session is a clear refusal', async () => {
  const { store, view, other, readSecret } = await world('sealed');
  await assert.rejects(openerFor(OPEN, view, { store, readSecret: readSecret(other.identity) }), {
    code: 'SEAL_NOT_RECIPIENT',
  });
});

test('an identity that is missing, or none, waits for credentials and is in no error', async () => {
  const { store, view } = await world('sealed');
  const missing = async () => {
    throw new EngineError('SECRET_MISSING', { reference: 'env:READER' });
  };
  await assert.rejects(openerFor(OPEN, view, { store, readSecret: missing }), {
    code: 'SINK_CREDENTIALS',
  });
  const none = openerFor(OPEN, view, { store, readSecret: async () => 'hunter2-canary' });
  await assert.rejects(none, (error: EngineError) => {
    assert.equal(error.code, 'SINK_CREDENTIALS');
    assert.doesNotMatch(error.message, /canary/);
    return true;
  });
});
