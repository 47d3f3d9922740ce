import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { Payload } from '@temporalio/common';
import { createIdentity } from '../../../adapters/seal/identity.js';
import { openPayloadCodec } from '../../../adapters/temporal/codec.js';
import { startCodecServer } from '../../../nodes/codec/codec.js';
import type { ServedApp } from '../../../nodes/serve-app.js';

const TOKEN = 'the-token-of-the-operator';
const ORIGIN = 'http://127.0.0.1:8233';
const SECRET = 'what nobody else may see';

const folder = await mkdtemp(join(tmpdir(), 'cortensor-codec-'));
const { identity } = await createIdentity();
const keysFolder = join(folder, 'keys');
const codec = await openPayloadCodec({ identity, keysFolder, namespace: 'default' });
const logged: unknown[] = [];
const start = (token: string | null): Promise<ServedApp> =>
  startCodecServer({
    host: '127.0.0.1',
    port: 0,
    codec,
    namespace: 'default',
    origin: ORIGIN,
    token,
    log: (...line) => void logged.push(line),
  });
const [local, guarded] = [await start(null), await start(TOKEN)];
after(async () => {
  await Promise.all([local.close(), guarded.close()]);
  await rm(folder, { recursive: true });
});

const plain: Payload = {
  metadata: { encoding: Buffer.from('json/plain') },
  data: Buffer.from(JSON.stringify(SECRET)),
};
const [sealed = {}] = await codec.encode([plain], {
  type: 'workflow',
  namespace: 'default',
  workflowId: 'session:1:2',
});

function toJson({ metadata, data }: Payload): unknown {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  const entries = Object.entries(metadata ?? {}).map(([key, value]) => [key, base64(value)]);
  return { metadata: Object.fromEntries(entries), data: base64(data ?? new Uint8Array()) };
}

async function post(
  server: ServedApp,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: { payloads?: unknown[]; error?: { code: string } } }> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(`${server.url}${path}`, { method: 'POST', body: text, headers });
  return { status: response.status, body: (await response.json()) as never };
}

const bearer = { authorization: `Bearer ${TOKEN}` };

describe('codec server', () => {
  it('decodes what is stored, whatever workflow it is of', async () => {
    const { status, body } = await post(local, '/decode', { payloads: [toJson(sealed)] });
    assert.equal(status, 200);
    assert.deepEqual(body, { payloads: [toJson(plain)] });
  });

  it('encodes what it decodes, in order, and passes on what is not encrypted', async () => {
    const others = [1, 2, 3].map((n) => toJson({ ...plain, data: Buffer.from(String(n)) }));
    const encoded = await post(local, '/encode', { payloads: others });
    assert.ok(!JSON.stringify(encoded.body).includes(Buffer.from('json/plain').toString('base64')));
    assert.deepEqual((await post(local, '/decode', encoded.body)).body, { payloads: others });
    assert.deepEqual((await post(local, '/decode', { payloads: others })).body.payloads, others);
  });

  it('opens to the token, and to nothing that is like it', async () => {
    const body = { payloads: [toJson(sealed)] };
    assert.equal((await post(guarded, '/decode', body, bearer)).status, 200);
    for (const authorization of ['', 'Bearer ', `Bearer ${TOKEN}x`, TOKEN, 'Bearer the-token']) {
      const refused = await post(guarded, '/decode', body, { authorization });
      assert.deepEqual([refused.status, refused.body.error?.code], [401, 'API_KEY_INVALID']);
    }
  });

  it('does not listen beyond this machine without a token', async () => {
    const open = startCodecServer({
      host: '0.0.0.0',
      port: 0,
      codec,
      namespace: 'default',
      origin: null,
      token: null,
      log: () => undefined,
    });
    await assert.rejects(open, { code: 'USAGE' });
  });

  it('turns away a name that was pointed at this machine', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const outgoing = request(
        `${local.url}/decode`,
        { method: 'POST', headers: { host: 'rebound.example' } },
        (response) => resolve(response.resume().statusCode),
      );
      outgoing.once('error', reject).end(JSON.stringify({ payloads: [toJson(sealed)] }));
    });
    assert.equal(status, 401);
  });

  it('lets the page of the UI call, and no other page', async () => {
    const ask = async (origin: string) => {
      const headers = {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type,x-namespace,authorization',
      };
      const { headers: given } = await fetch(`${guarded.url}/decode`, {
        method: 'OPTIONS',
        headers,
      });
      return given.get('access-control-allow-origin');
    };
    assert.equal(await ask(ORIGIN), ORIGIN);
    assert.equal(await ask('http://elsewhere.example'), null);
  });

  const refused: readonly [what: string, body: unknown, status: number, code: string][] = [
    ['what is no JSON', '{"payloads":', 400, 'REQUEST_INVALID'],
    ['what is not base64', { payloads: [{ data: '***' }] }, 400, 'REQUEST_INVALID'],
    ['what is no list', { payloads: 7 }, 400, 'REQUEST_INVALID'],
    ['what is too large', `"${'a'.repeat(17 * 1024 * 1024)}"`, 413, 'CONTENT_TOO_LARGE'],
    [
      'what was altered',
      { payloads: [toJson({ ...sealed, data: new Uint8Array(40) })] },
      422,
      'SEAL_BROKEN',
    ],
  ];
  for (const [what, body, status, code] of refused) {
    it(`refuses ${what}, and repeats nothing of it`, async () => {
      const answer = await post(local, '/decode', body);
      assert.deepEqual([answer.status, answer.body.error?.code], [status, code]);
      assert.ok(!JSON.stringify([answer, logged]).includes(SECRET));
    });
  }

  it('refuses payloads of another namespace', async () => {
    const body = { payloads: [toJson(sealed)] };
    const answer = await post(local, '/decode', body, { 'x-namespace': 'other' });
    assert.equal(answer.status, 400);
  });
});
