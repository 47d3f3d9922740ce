import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { existsSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import test, { after } from 'node:test';
import { cidOf } from '../../../adapters/ipfs/cid.js';
import { addContent } from '../../../adapters/ipfs/content-store.js';
import { addToHost, openHost, type Host } from '../../../adapters/ipfs/host.js';
import { readWhole } from '../../../adapters/ipfs/read-content.js';
import { claimPort } from '../../../servers/ports.js';
import { openBucket } from './bucket-fixture.js';
import { api, Fixture, inChunks, pattern } from './kubo-fixture.js';

const fixture = await Fixture.create();
after(() => fixture.close());
const kubo = await fixture.kubo('theirs');
const text = (value: string) => new TextEncoder().encode(value);
const LIMITS = { maxBytes: 8 * 1024 * 1024 };
const CREDENTIALS = 'AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY';
const MINE = { name: 'mine', timeoutMs: 5_000 };

function open(kind: 'kubo' | 'gateway' | 's3', url: string, region = 'auto'): Host {
  const credentials = kind === 's3' ? { credentials: CREDENTIALS } : {};
  return openHost({ kind, url, region, allowPrivate: true }, { ...MINE, ...credentials });
}

/** What every home of results can do. */
async function holdContent(host: Host): Promise<void> {
  const cid = await host.put(text('an answer'));
  assert.equal(cid, cidOf(text('an answer')));
  assert.equal(await host.put(text('an answer')), cid);
  assert.deepEqual(new Uint8Array(await host.get(cid)), text('an answer'));
  await assert.rejects(host.get(cidOf(text('never there'))), { code: 'CONTENT_MISSING' });
  await assert.rejects(host.get(cid, { maxBytes: 3 }), { code: 'CONTENT_TOO_LARGE' });
  for (const size of [0, 3 * 1024 * 1024 + 5]) {
    const bytes = pattern(size, 9);
    const content = await addToHost(host, inChunks(bytes), LIMITS);
    assert.ok(Buffer.from(await readWhole(host, content.cid, LIMITS)).equals(bytes));
    const ours = await addContent(
      { apiUrl: kubo.apiUrl, timeoutMs: 5_000 },
      inChunks(bytes),
      LIMITS,
    );
    assert.deepEqual(content, ours);
  }
  const endless = addToHost(host, inChunks(pattern(9 * 1024 * 1024)), LIMITS);
  await assert.rejects(endless, { code: 'CONTENT_TOO_LARGE' });
}

test("a user's own Kubo holds content, pinned, under the CIDs it has everywhere", async () => {
  const host = open('kubo', kubo.apiUrl);
  await holdContent(host);
  await api(kubo, 'repo/gc');
  assert.deepEqual(new Uint8Array(await host.get(cidOf(text('an answer')))), text('an answer'));
});

test('a trustless gateway is a source of inputs, and nothing is written to it', async () => {
  const bytes = pattern(2 * 1024 * 1024 + 1, 3);
  const config = { apiUrl: kubo.apiUrl, timeoutMs: 5_000 };
  const { cid } = await addContent(config, inChunks(bytes), LIMITS);
  const gateway = open('gateway', kubo.gatewayUrl);
  assert.ok(Buffer.from(await readWhole(gateway, cid, LIMITS)).equals(bytes));
  await assert.rejects(gateway.put(text('no')), { code: 'REQUEST_INVALID' });
  const missing = gateway.get(cidOf(text('never there')));
  await assert.rejects(missing, /CONTENT_MISSING|HOST_UNREACHABLE|not found|could not be reached/);
});

test('a bucket holds objects named by CID, each request signed over what it carries', async () => {
  const { url, objects } = await openBucket(fixture, CREDENTIALS);
  const host = open('s3', url);
  await holdContent(host);
  for (const [name, body] of objects) {
    assert.equal(name.startsWith('/bucket/bafy') || name === `/bucket/${cidOf(body)}`, true);
  }
  const wrong = openHost(
    { kind: 's3', url, region: 'auto', allowPrivate: true },
    { ...MINE, credentials: 'AKIDEXAMPLE:wrong' },
  );
  await assert.rejects(wrong.put(text('x')), { code: 'HOST_UNREACHABLE' });
});

/** The path to a real S3 server: named by the environment, or on PATH. */
function findServer(): string | undefined {
  const named = process.env['CORTENSOR_VERSITYGW'];
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const paths = named === undefined ? folders.map((folder) => join(folder, 'versitygw')) : [named];
  return paths.find((path) => existsSync(path));
}

const versity = findServer();
test(
  'a real S3 server takes and gives content',
  { skip: versity === undefined ? 'needs versitygw on PATH or CORTENSOR_VERSITYGW' : false },
  async () => {
    const [access = '', secret = ''] = CREDENTIALS.split(':');
    const port = await claimPort(fixture.data, 's3');
    const root = join(fixture.data, 's3');
    await mkdir(join(root, 'bucket'), { recursive: true });
    const args = ['--access', access, '--secret', secret, '--port', `127.0.0.1:${port}`];
    const child = spawn(versity ?? '', [...args, 'posix', '--nometa', root], { stdio: 'ignore' });
    try {
      const url = `http://127.0.0.1:${port}`;
      await untilUp(url);
      await holdContent(open('s3', `${url}/bucket`, 'us-east-1'));
      const wrong = openHost(
        { kind: 's3', url: `${url}/bucket`, region: 'us-east-1', allowPrivate: true },
        { ...MINE, credentials: `${access}:wrong` },
      );
      await assert.rejects(wrong.put(text('x')), { code: 'HOST_UNREACHABLE' });
    } finally {
      child.kill('SIGKILL');
    }
  },
);

test("a user's host that is away, hangs, fails or redirects is said to be away, by its name", async () => {
  const cid = cidOf(text('an answer'));
  const failing = await fixture.server((request, response) => {
    request.resume();
    response.writeHead(500).end('no space left on device');
  });
  const leading = await fixture.server((request, response) => {
    request.resume();
    response.writeHead(302, { location: failing }).end();
  });
  const hanging = await fixture.server(() => {});
  for (const url of ['http://127.0.0.1:1', failing, leading, hanging]) {
    for (const kind of ['kubo', 'gateway', 's3'] as const) {
      const config = { kind, url, region: 'auto', allowPrivate: true };
      const host = openHost(config, { ...MINE, timeoutMs: 300, credentials: CREDENTIALS });
      const away = { code: 'HOST_UNREACHABLE' };
      await assert.rejects(host.get(cid), (error: unknown) => {
        assert.match(String(error), /host mine/);
        assert.doesNotMatch(String(error), /wJalr|no space/);
        return (error as { readonly code?: string }).code === away.code;
      });
      if (kind !== 'gateway') await assert.rejects(host.put(text('x')), away);
    }
  }
});

test('what a host answers is data only when it hashes to its CID', async () => {
  const lying = await fixture.server((request, response) => {
    request.resume();
    response.end('other bytes');
  });
  const endless = await fixture.server((request, response) => {
    request.resume();
    const more = (): void => {
      while (response.write(Buffer.alloc(65_536)));
    };
    response.on('drain', more);
    more();
  });
  for (const kind of ['kubo', 'gateway', 's3'] as const) {
    const cid = cidOf(text('an answer'));
    await assert.rejects(open(kind, lying).get(cid), { code: 'CONTENT_MISMATCH' });
    await assert.rejects(open(kind, endless).get(cid), { code: 'CONTENT_TOO_LARGE' });
  }
});

test('a host at an internal address is refused, by number and by name, before anything is sent', async () => {
  let asked = 0;
  const url = await fixture.server((_, response) => {
    asked++;
    response.end();
  });
  const { port } = new URL(url);
  for (const at of ['127.0.0.1', 'localhost', '[::1]', '[::ffff:127.0.0.1]', '169.254.169.254']) {
    for (const kind of ['kubo', 'gateway', 's3'] as const) {
      const config = { kind, url: `http://${at}:${port}/b`, region: 'auto', allowPrivate: false };
      const host = openHost(config, { ...MINE, timeoutMs: 1_000, credentials: CREDENTIALS });
      await assert.rejects(host.get(cidOf(text('x'))), { code: 'ADDRESS_REFUSED' });
    }
  }
  assert.equal(asked, 0);
});

test('credentials that are no pair, and CIDs that are none, are told apart from an outage', async () => {
  const config = { kind: 's3' as const, url: 'http://127.0.0.1:1/b', region: 'auto' };
  for (const credentials of ['', 'only-an-id', 'id:']) {
    assert.throws(() => openHost({ ...config, allowPrivate: true }, { ...MINE, credentials }), {
      code: 'CONFIG_INVALID',
    });
  }
  const host = open('gateway', 'http://127.0.0.1:1');
  await assert.rejects(host.get('../../etc/passwd'), { code: 'REQUEST_INVALID' });
});

async function untilUp(url: string): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; await setTimeout(50)) {
    try {
      await fetch(url, { signal: AbortSignal.timeout(1_000) });
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}
