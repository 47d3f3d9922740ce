import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { createIdentityFile } from '../../../adapters/seal/identity-file.js';
import { connectClient, dataConverter } from '../../../adapters/temporal/connect.js';
import { connectWorker } from '../../../adapters/temporal/connect-worker.js';
import type { EngineConfig } from '../../../domain/config.js';

const folder = await mkdtemp(join(tmpdir(), 'cortensor-connect-'));
after(() => rm(folder, { recursive: true }));
await createIdentityFile(join(folder, 'identity'));
const config: EngineConfig['temporal'] = {
  // Port 1 refuses.
  address: '127.0.0.1:1',
  namespace: 'default',
  apiKey: null,
  tls: false,
  codec: { identity: `file:${join(folder, 'identity')}`, keys: join(folder, 'keys') },
};

test('a Temporal that is not there is unreachable for clients and workers, in bounded time', async () => {
  const started = performance.now();
  await Promise.all([
    assert.rejects(connectClient(config), { code: 'TEMPORAL_UNREACHABLE' }),
    assert.rejects(connectWorker(config), { code: 'TEMPORAL_UNREACHABLE' }),
  ]);
  assert.ok(performance.now() - started < 60_000);
});

test('an API key or an identity that is missing or no identity is an error before any connection', async () => {
  const without = { ...config, apiKey: 'env:CORTENSOR_TEST_NO_KEY' } as const;
  await assert.rejects(connectClient(without), { code: 'SECRET_MISSING' });
  const path = join(folder, 'wrong');
  await writeFile(path, 'no identity', { mode: 0o600 });
  const wrong = { ...config, codec: { ...config.codec, identity: `file:${path}` } } as const;
  await assert.rejects(dataConverter(wrong), { code: 'KEY_FILE_UNSAFE' });
});
