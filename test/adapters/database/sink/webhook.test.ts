import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type pg from 'pg';
import { migrate } from '../../../../adapters/database/migrate.js';
import { openPool } from '../../../../adapters/database/pool.js';
import { digestOf, marksOf } from '../../../../adapters/database/sink/columns.js';
import { openDeliveryLog } from '../../../../adapters/database/sink/delivery-log.js';
import { openPostgresSink } from '../../../../adapters/database/sink/postgres.js';
import { keyOf, openWebhookSink, signWebhook } from '../../../../adapters/database/sink/webhook.js';
import { startTestPostgres, type TestPostgres } from '../postgres.js';
import { batch, SESSION, task } from './rows.js';

/** Of the published examples. */
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const ACCESS = { tls: false, ca: null, allowPrivate: true } as const;

let postgres: TestPostgres;
let pool: pg.Pool;
let folder: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cortensor-test-webhook-'));
  postgres = await startTestPostgres();
  pool = openPool(await postgres.createDatabase());
  await migrate(pool);
});
after(async () => {
  await pool.end();
  await postgres.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Message {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}
type Status = (message: Message, count: number) => number;

/** A receiver that answers as the test says. */
async function receiver(statusOf: Status = () => 204, tls?: { key: string; cert: string }) {
  const messages: Message[] = [];
  const listen: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const message = { headers: request.headers, body: Buffer.concat(chunks).toString() };
      messages.push(message);
      const status = statusOf(message, messages.length);
      if (status === 0) return void request.socket.destroy();
      response.writeHead(status, status === 302 ? { location: 'http://127.0.0.1:9/' } : {});
      response.end('no matter what it says');
    });
  };
  const server = tls === undefined ? createServer(listen) : createTlsServer(tls, listen);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const stop = () => new Promise<void>((resolve) => void server.close(() => resolve()));
  return { messages, url: `http://127.0.0.1:${port}/hook?t=1`, port, stop };
}

let sinks = 0;
function sinkAt(url: string, access: object = {}) {
  const log = openDeliveryLog(pool, `hook-${sinks++}`);
  const open = () =>
    openWebhookSink({ access: { ...ACCESS, ...access, url }, secret: SECRET, log });
  return { log, sink: open(), open };
}

interface Body {
  readonly type: string;
  readonly data: { readonly table: string; readonly rows: Record<string, unknown>[] };
}
const read = ({ body }: Message): Body => JSON.parse(body) as Body;

test('a message is signed as the published example is', () => {
  const signed = signWebhook(keyOf(SECRET), {
    id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    timestamp: 1_614_265_330,
    body: '{"test": 2432232314}',
  });
  assert.equal(signed, 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
});

test('every message carries a fresh time stamp and a signature over what it holds', async () => {
  const { messages, url, stop } = await receiver();
  try {
    const { sink } = sinkAt(url);
    await sink.write(SESSION, batch([task(0)]));
    assert.equal(messages.length, 4);
    for (const { headers, body } of messages) {
      const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature } = headers;
      const mac = createHmac('sha256', Buffer.from(SECRET.slice(6), 'base64'));
      const expected = mac.update(`${String(id)}.${String(at)}.${body}`).digest('base64');
      assert.equal(signature, `v1,${expected}`);
      assert.ok(Math.abs(Number(at) - Date.now() / 1_000) < 60);
    }
  } finally {
    await stop();
  }
});

test('rows come in the order of tables and ordinals, and what was acknowledged does not come again', async () => {
  const { messages, url, stop } = await receiver();
  try {
    const { sink } = sinkAt(url);
    const rows = batch([task(2, { taskId: '0x0a' }), task(1, { taskId: '0x0b' })]);
    await sink.write(SESSION, rows);
    assert.deepEqual(
      messages.map((message) => read(message).data.table),
      ['session', 'task', 'task_result', 'payload'],
    );
    const [, tasks] = messages.map(read);
    assert.deepEqual(
      tasks?.data.rows.map((row) => row['ordinal']),
      [1, 2],
    );
    await sink.write(SESSION, rows);
    assert.equal(messages.length, 4);
    const settled = batch([task(1, { taskId: '0x0b', state: 'Settled' })]);
    await sink.write(SESSION, settled);
    assert.deepEqual(
      messages.slice(4).map((message) => read(message).data.rows.map((row) => row['state'])),
      [['Settled']],
    );
  } finally {
    await stop();
  }
});

test('a batch that was cut short comes again under the same ids, so that repeats can be dropped', async () => {
  const { messages, url, stop } = await receiver((_, count) => (count === 3 ? 0 : 200));
  try {
    const { sink } = sinkAt(url);
    const rows = batch([task(0)]);
    await assert.rejects(sink.write(SESSION, rows), { code: 'SINK_UNREACHABLE' });
    await sink.write(SESSION, rows);
    const ids = messages.map(({ headers }) => headers['webhook-id']);
    assert.deepEqual(ids.slice(3, 6), ids.slice(0, 3));
    assert.equal(new Set(ids).size, 4);
  } finally {
    await stop();
  }
});

test('what was acknowledged has the digest that a database with these rows has', async () => {
  const { url, stop } = await receiver();
  const { sink } = sinkAt(url);
  const rows = batch([task(0), task(1)], 100);
  const other = openPostgresSink({
    ...ACCESS,
    url: await postgres.createDatabase(),
    schema: 'cortensor',
  });
  try {
    await sink.write(SESSION, rows);
    await other.prepare();
    await other.write(SESSION, rows);
    const digest = await digestOf(sink.readMarks(SESSION));
    assert.deepEqual(digest, await digestOf(other.readMarks(SESSION)));
    assert.equal(digest.rows.payload, 4);
  } finally {
    await other.close();
    await stop();
  }
});

test('large batches are cut into messages of bounded size', async () => {
  const { messages, url, stop } = await receiver();
  try {
    const { sink } = sinkAt(url);
    const tasks = Array.from({ length: 1_200 }, (_, i) => task(i));
    await sink.write(SESSION, { ...batch(tasks.slice(0, 8), 300_000), task: tasks });
    assert.ok(messages.every(({ body }) => body.length < 2_000_000));
    const counts = messages
      .filter((m) => read(m).data.table === 'task')
      .map((m) => read(m).data.rows);
    assert.deepEqual(
      counts.map((rows) => rows.length),
      [500, 500, 200],
    );
  } finally {
    await stop();
  }
});

test('answers mean what they mean: again later, other credentials, no more, never', async () => {
  const meanings = {
    302: 'EXPORT_REFUSED',
    400: 'EXPORT_REFUSED',
    401: 'SINK_CREDENTIALS',
    403: 'SINK_CREDENTIALS',
    404: 'EXPORT_REFUSED',
    408: 'SINK_UNREACHABLE',
    410: 'SINK_GONE',
    429: 'SINK_UNREACHABLE',
    500: 'SINK_UNREACHABLE',
    503: 'SINK_UNREACHABLE',
  };
  for (const [status, code] of Object.entries(meanings)) {
    const { messages, url, stop } = await receiver(() => Number(status));
    try {
      const { sink, log } = sinkAt(url);
      await assert.rejects(sink.write(SESSION, batch([task(0)])), { code }, status);
      // One try, no redirect followed, nothing noted.
      assert.equal(messages.length, 1);
      assert.equal((await digestOf(log.read(SESSION))).rows.session, 0);
    } finally {
      await stop();
    }
  }
});

test('a removal tells the receiver, forgets what was acknowledged, and does so once', async () => {
  const { messages, url, stop } = await receiver();
  try {
    const { sink } = sinkAt(url);
    const rows = batch([task(0)]);
    await sink.write(SESSION, rows);
    const { before, rows: gone } = await sink.remove(SESSION);
    assert.deepEqual([before.rows, marksOf(rows).length], [gone, 6]);
    assert.equal(read(messages.at(-1) as Message).type, 'cortensor.session.removed');
    await sink.remove(SESSION);
    assert.equal(messages.length, 5);
  } finally {
    await stop();
  }
});

test('two sinks, and two sessions, have acknowledgements of their own', async () => {
  const { url, stop } = await receiver();
  try {
    const [one, two] = [sinkAt(url), sinkAt(url)];
    await one.sink.write(SESSION, batch([task(0)]));
    assert.equal((await digestOf(two.sink.readMarks(SESSION))).rows.session, 0);
    assert.equal((await digestOf(one.sink.readMarks('1'))).rows.session, 0);
  } finally {
    await stop();
  }
});

test('a certificate is checked: one that no authority vouches for, and one of another name, are refused', async () => {
  const certificate = (name: string) => {
    const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
    const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`];
    const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
    execFileSync(
      'openssl',
      [...made, '-nodes', '-days', '2', ...subject, '-keyout', key, '-out', cert],
      { stdio: 'pipe' },
    );
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  };
  const own = certificate('localhost');
  const foreign = certificate('sink.example');
  const rows = batch([task(0)]);
  for (const [tls, ca, reason] of [
    [own, null, 'unknown-authority'],
    [foreign, foreign.cert, 'wrong-host'],
    [own, foreign.cert, 'unknown-authority'],
    [undefined, null, 'not-encrypted'],
    [own, own.cert, null],
  ] as const) {
    const { messages, port, stop } = await receiver(undefined, tls);
    try {
      const { sink } = sinkAt(`https://localhost:${port}/`, { tls: true, ca });
      const untrusted = { code: 'SINK_UNTRUSTED', details: { reason } };
      if (reason === null) await sink.write(SESSION, rows);
      else await assert.rejects(sink.write(SESSION, rows), untrusted);
      assert.equal(messages.length, reason === null ? 4 : 0);
    } finally {
      await stop();
    }
  }
});

test('internal addresses are not connected to, by address or by name', async () => {
  const { messages, port, stop } = await receiver();
  try {
    for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]', '2130706433', '0x7f.1']) {
      const { sink } = sinkAt(`http://${host}:${port}/`, { allowPrivate: false });
      await assert.rejects(
        sink.write(SESSION, batch([task(0)])),
        { code: 'ADDRESS_REFUSED' },
        host,
      );
    }
    const { sink } = sinkAt('http://169.254.169.254/latest/meta-data/');
    await assert.rejects(sink.prepare(), { code: 'ADDRESS_REFUSED' });
    assert.equal(messages.length, 0);
  } finally {
    await stop();
  }
});

test('plain HTTP and secrets of another form are refused before anything is sent', () => {
  const open = (url: string, secret: string, tls: boolean) => () =>
    openWebhookSink({
      access: { ...ACCESS, tls, url },
      secret,
      log: openDeliveryLog(pool, 'none'),
    });
  assert.throws(open('http://example.com/', SECRET, true), { code: 'CONFIG_INVALID' });
  assert.throws(open('ftp://example.com/', SECRET, false), { code: 'CONFIG_INVALID' });
  for (const secret of ['', 'hunter2', 'whsec_', 'whsec_c2hvcnQ=']) {
    assert.throws(open('https://example.com/', secret, true), { code: 'CONFIG_INVALID' }, secret);
  }
});
