import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import {
  defaultPayloadConverter,
  type Payload,
  type PayloadCodec,
  type SerializationContext,
} from '@temporalio/common';
import fc from 'fast-check';
import { createIdentity } from '../../../adapters/seal/identity.js';
import { openPayloadCodec } from '../../../adapters/temporal/codec.js';
import { DataKeys } from '../../../adapters/temporal/data-keys.js';

const root = await mkdtemp(join(tmpdir(), 'cortensor-codec-'));
after(() => rm(root, { recursive: true }));
const { identity } = await createIdentity();
const keysFolder = join(root, 'keys');
const options = { identity, keysFolder, namespace: 'default' };
const codec = await openPayloadCodec(options);

const payload = defaultPayloadConverter.toPayload({ text: 'secret' });
const workflow = (workflowId: string, namespace = 'default'): SerializationContext => ({
  type: 'workflow',
  namespace,
  workflowId,
});

async function encodeOne(context?: SerializationContext): Promise<Payload> {
  const [encoded] = await codec.encode([payload], context);
  assert.ok(encoded);
  return encoded;
}

async function decodeOne(
  encoded: Payload,
  context?: SerializationContext,
  by: PayloadCodec = codec,
): Promise<Payload> {
  const [decoded] = await by.decode([encoded], context);
  assert.ok(decoded);
  return decoded;
}

const metadataOf = (encoded: Payload): Record<string, string> =>
  Object.fromEntries(
    Object.entries(encoded.metadata ?? {}).map(([k, v]) => [k, Buffer.from(v).toString()]),
  );
const plainOf = (p: Payload): unknown => defaultPayloadConverter.fromPayload(p);

test('any payload comes back as it was', async () => {
  const bytes = fc.uint8Array({ maxLength: 200 });
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.string(), bytes), bytes, async (metadata, data) => {
      const [encoded] = await codec.encode([{ metadata, data }], workflow('w'));
      const decoded = await decodeOne(encoded ?? {}, workflow('w'));
      assert.deepEqual(Buffer.from(decoded.data ?? []), Buffer.from(data));
      assert.deepEqual(
        Object.entries(decoded.metadata ?? {}).map(([k, v]) => [k, Buffer.from(v).toString('hex')]),
        Object.entries(metadata).map(([k, v]) => [k, Buffer.from(v).toString('hex')]),
      );
    }),
  );
});

test('an encoded payload says how it was encrypted, and differs every time', async () => {
  const [a, b] = [await encodeOne(workflow('w')), await encodeOne(workflow('w'))];
  assert.deepEqual(metadataOf(a), {
    encoding: 'binary/encrypted',
    'encryption-cipher': 'AES-256-GCM',
    'encryption-key-id': '000001',
    'encryption-workflow-id': 'w',
  });
  assert.notDeepEqual(a.data, b.data);
  assert.equal(Buffer.from(a.data ?? []).includes('secret'), false);
});

test('a payload opens for its own workflow and its activities, and for tools that know of none', async () => {
  const encoded = await encodeOne(workflow('w'));
  const activity = {
    type: 'activity',
    namespace: 'default',
    workflowId: 'w',
    isLocal: false,
  } as const;
  for (const context of [workflow('w'), activity, undefined]) {
    assert.deepEqual(plainOf(await decodeOne(encoded, context)), { text: 'secret' });
  }
});

test('a payload that was moved to another workflow or namespace does not open there', async () => {
  const encoded = await encodeOne(workflow('w'));
  await assert.rejects(decodeOne(encoded, workflow('other')), { code: 'SEAL_BROKEN' });
  await assert.rejects(decodeOne(encoded, workflow('w', 'other')), { code: 'SEAL_BROKEN' });
  // Not with the name beside it forged either.
  const forged = {
    ...encoded,
    metadata: { ...encoded.metadata, 'encryption-workflow-id': Buffer.from('other') },
  };
  await assert.rejects(decodeOne(forged, workflow('other')), { code: 'SEAL_BROKEN' });
  const nameless = {
    ...encoded,
    metadata: { ...encoded.metadata, 'encryption-workflow-id': Buffer.from('') },
  };
  await assert.rejects(decodeOne(nameless, workflow('other')), { code: 'SEAL_BROKEN' });
});

test('the runs that a schedule starts open what the client encoded for the schedule', async () => {
  const encoded = await encodeOne(workflow('settle:31337'));
  const run = workflow('settle:31337-2026-02-03T04:05:06Z');
  assert.deepEqual(plainOf(await decodeOne(encoded, run)), { text: 'secret' });
  await assert.rejects(decodeOne(encoded, workflow('settle:31337-2026-02-03')), {
    code: 'SEAL_BROKEN',
  });
});

test('a payload in which any bit was altered, or that was cut short, is an error', async () => {
  const encoded = await encodeOne();
  const data = Buffer.from(encoded.data ?? []);
  for (let bit = 0; bit < data.length * 8; bit++) {
    const altered = Buffer.from(data);
    altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    await assert.rejects(decodeOne({ ...encoded, data: altered }), { code: 'SEAL_BROKEN' });
  }
  for (let length = 0; length < data.length; length++) {
    const cut = { ...encoded, data: data.subarray(0, length) };
    await assert.rejects(decodeOne(cut), { code: 'SEAL_BROKEN' });
  }
});

test('a payload that was never encrypted passes as it is', async () => {
  assert.equal(await decodeOne(payload, workflow('w')), payload);
});

test('a new key encrypts from then on, and older payloads still open, also for processes that were there before', async () => {
  const folder = join(root, 'rotation');
  const before = await openPayloadCodec({ ...options, keysFolder: folder });
  const [old] = await before.encode([payload]);
  const keys = await DataKeys.open(folder, identity);
  assert.equal(await keys.rotate(), '000002');
  const later = await openPayloadCodec({ ...options, keysFolder: folder });
  const [fresh] = await later.encode([payload]);
  assert.equal(metadataOf(fresh ?? {})['encryption-key-id'], '000002');
  for (const reader of [before, later]) {
    for (const encoded of [old, fresh]) {
      assert.deepEqual(plainOf(await decodeOne(encoded ?? {}, undefined, reader)), {
        text: 'secret',
      });
    }
  }
  // Having met the new key, the older process writes under it too.
  const [followed] = await before.encode([payload]);
  assert.equal(metadataOf(followed ?? {})['encryption-key-id'], '000002');
});

test('processes that race to make the first key end up with the same one', async () => {
  const folder = join(root, 'race');
  const opened = await Promise.all(
    Array.from({ length: 8 }, () => DataKeys.open(folder, identity)),
  );
  const keys = opened.map(({ newest }) => Buffer.from(newest.key).toString('hex'));
  assert.equal(new Set(keys).size, 1);
  assert.deepEqual(await readdir(folder), ['000001.age']);
  assert.equal((await stat(join(folder, '000001.age'))).mode & 0o777, 0o600);
});

test('keys of another identity, unknown keys and names that are no keys are errors', async () => {
  const stranger = await createIdentity();
  const folder = join(root, 'copied');
  await cp(keysFolder, folder, { recursive: true });
  const opening = openPayloadCodec({ ...options, keysFolder: folder, identity: stranger.identity });
  await assert.rejects(opening, { code: 'SEAL_NOT_RECIPIENT' });
  const encoded = await encodeOne();
  const under = (id: string): Payload => ({
    ...encoded,
    metadata: { ...encoded.metadata, 'encryption-key-id': Buffer.from(id) },
  });
  await assert.rejects(decodeOne(under('000009')), { code: 'SECRET_MISSING' });
  await assert.rejects(decodeOne(under('../../etc/passwd')), { code: 'SEAL_BROKEN' });
});
