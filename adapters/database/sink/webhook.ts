/**
 * A webhook as a sink: batches of rows, signed as Standard Webhooks has it, one after the other. A batch
 * counts when the receiver has answered 2xx, so that it may come twice: under the same id, by which the
 * receiver drops repeats. What was acknowledged is kept in a log of our own, which plays the sink's
 * content.
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { createHash, createHmac } from 'node:crypto';
import { request as requestHttp, type RequestOptions } from 'node:http';
import { request as requestHttps } from 'node:https';
import { deadlineIn } from '../../../domain/deadline.js';
import { EngineError } from '../../../domain/errors.js';
import type { ExportRows, ExportTable } from '../../../domain/export.js';
import type { SessionId } from '../../../domain/ids.js';
import { checkHost, findRefusal, guardedLookup } from '../../net/address-guard.js';
import { certificateFault } from '../../net/certificate.js';
import { countRows, digestOf, marksOf, pieces, TABLES, valuesOf } from './columns.js';
import type { DeliveryLog } from './delivery-log.js';
import type { Sink, SinkAccess } from './sink.js';

/** From the first byte sent to the last byte received. */
const ANSWER_MS = 15_000;
/** A message's rows, and bytes of payload before they are base64. */
const MAX_ROWS = 500;
const MAX_BYTES = 1024 * 1024;

export interface WebhookOptions {
  readonly access: Omit<SinkAccess, 'schema'>;
  /** `whsec_` and base64 of 24–64 bytes. */
  readonly secret: string;
  readonly log: DeliveryLog;
  /** @defaultValue `Date.now`, for the time stamps of signatures. */
  readonly now?: () => number;
}

/** Opens a sink; connects when it has rows.
 * @throws CONFIG_INVALID — no `https:` URL, or a secret of another form. */
export function openWebhookSink({ access, secret, log, now = Date.now }: WebhookOptions): Sink {
  const url = urlOf(access);
  const key = keyOf(secret);

  async function send(id: string, body: string): Promise<void> {
    const timestamp = Math.floor(now() / 1_000);
    const status = await post(
      url,
      access,
      {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(timestamp),
        'webhook-signature': signWebhook(key, { id, timestamp, body }),
      },
      body,
    );
    judge(status);
  }

  return {
    async prepare() {
      checkHost(url.hostname, access);
    },
    async write(sessionId, rows) {
      const { fresh, marks } = await unknownRows(sessionId, rows, log);
      if (countRows(count(fresh)) === 0) return;
      for (const message of messagesOf(sessionId, fresh)) await send(message.id, message.body);
      await log.note(sessionId, marks);
    },
    readMarks: (sessionId) => log.read(sessionId),
    async remove(sessionId) {
      const before = await digestOf(log.read(sessionId));
      if (countRows(before.rows) > 0) {
        const body = { type: 'cortensor.session.removed', data: { sessionId } };
        await send(idOf(`${sessionId} ${before.digest}`), JSON.stringify(body));
        await log.forget(sessionId);
      }
      return { before, rows: before.rows };
    },
    async close() {
      // Each message has a connection of its own.
    },
  };
}

/** Signs a message: `v1,` and base64 of HMAC-SHA256 over id, time and body.
 * @param message.timestamp - Unix seconds. */
export function signWebhook(
  key: Uint8Array,
  message: { readonly id: string; readonly timestamp: number; readonly body: string },
): string {
  const { id, timestamp, body } = message;
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}

/** Reads the key out of a secret.
 * @throws CONFIG_INVALID — not `whsec_` and base64 of 24–64 bytes. */
export function keyOf(secret: string): Uint8Array {
  const key = /^whsec_[A-Za-z0-9+/]+={0,2}$/.test(secret)
    ? Buffer.from(secret.slice(6), 'base64')
    : '';
  if (key.length >= 24 && key.length <= 64 && typeof key !== 'string') return key;
  throw new EngineError('CONFIG_INVALID', { what: 'webhook secret', expected: 'whsec_…' });
}

function urlOf({ url: text, tls }: WebhookOptions['access']): URL {
  const expected = tls ? 'https://…' : 'https://… or http://…';
  if (URL.canParse(text)) {
    const url = new URL(text);
    if (url.protocol === 'https:' || (url.protocol === 'http:' && !tls)) return url;
  }
  throw new EngineError('CONFIG_INVALID', { what: 'webhook URL', expected });
}

/** Rows that the receiver has not acknowledged as they are, with their marks. */
async function unknownRows(sessionId: SessionId, rows: ExportRows, log: DeliveryLog) {
  const all = marksOf(rows);
  const known = await log.known(sessionId, all);
  const marks = all.filter((_, i) => !known.has(i));
  const wanted = new Set(marks.map(({ table, key }) => `${table} ${key}`));
  const isWanted = (table: ExportTable, key: string) => wanted.has(`${table} ${key}`);
  const fresh: ExportRows = {
    session: rows.session.filter((r) => isWanted('session', r.sessionId)),
    task: rows.task.filter((r) => isWanted('task', r.taskId)),
    task_result: rows.task_result.filter((r) => isWanted('task_result', `${r.taskId}:${r.miner}`)),
    payload: rows.payload.filter((r) => isWanted('payload', r.cid)),
  };
  return { fresh, marks };
}

function count(rows: ExportRows): Record<ExportTable, number> {
  const { session, task, task_result, payload } = rows;
  return {
    session: session.length,
    task: task.length,
    task_result: task_result.length,
    payload: payload.length,
  };
}

/** Cuts rows into messages; the same rows make the same messages, under the same ids. Tasks come in the
 * order of their ordinals. */
function* messagesOf(
  sessionId: SessionId,
  rows: ExportRows,
): Generator<{ readonly id: string; readonly body: string }> {
  for (const table of TABLES) {
    const names = Object.keys(table.columns);
    const values = valuesOf(rows, table);
    const ordinal = names.indexOf('ordinal');
    if (ordinal >= 0) values.sort((a, b) => Number(a[ordinal]) - Number(b[ordinal]));
    for (const piece of pieces(values, MAX_ROWS, MAX_BYTES)) {
      const data = {
        sessionId,
        table: table.name,
        rows: piece.map((row) => Object.fromEntries(names.map((name, i) => [name, plain(row[i])]))),
      };
      const content = JSON.stringify({ type: 'cortensor.session.rows', data });
      yield { id: idOf(content), body: content };
    }
  }
}

function plain(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
}

function idOf(content: string): string {
  return `msg_${createHash('sha256').update(content).digest('base64url').slice(0, 32)}`;
}

/** Sends one message and reads the status of its answer; redirects are answers like others. */
function post(
  url: URL,
  access: WebhookOptions['access'],
  headers: Readonly<Record<string, string>>,
  body: string,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void => reject(failureOf(cause));
    try {
      checkHost(url.hostname, access);
      const options: RequestOptions & { ca?: string } = {
        method: 'POST',
        headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
        lookup: guardedLookup(access),
        signal: deadlineIn(ANSWER_MS),
        agent: false,
        ...(access.ca === null ? {} : { ca: access.ca }),
      };
      const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, options);
      request.on('error', fail);
      request.on('response', (response) => {
        response.on('error', fail);
        // What it says beside its status is not for us, and may be endless.
        response.destroy();
        resolve(response.statusCode ?? 0);
      });
      request.end(body);
    } catch (error) {
      fail(error);
    }
  });
}

function failureOf(cause: unknown): EngineError {
  const refusal = findRefusal(cause);
  if (refusal !== undefined) return refusal;
  const fault = certificateFault(cause);
  if (fault !== undefined) return new EngineError('SINK_UNTRUSTED', { reason: fault }, { cause });
  const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'no answer';
  return new EngineError('SINK_UNREACHABLE', { reason }, { cause });
}

/** @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
function judge(status: number): void {
  if (status >= 200 && status < 300) return;
  if (status === 401 || status === 403) throw new EngineError('SINK_CREDENTIALS', { status });
  if (status === 410) throw new EngineError('SINK_GONE', { status });
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    throw new EngineError('SINK_UNREACHABLE', { status });
  }
  throw new EngineError('EXPORT_REFUSED', { status });
}
