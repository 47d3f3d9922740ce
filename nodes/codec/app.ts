/**
 * Temporal's remote codec: the UI and the `temporal` command send it payloads as they are stored, and
 * it gives them back readable, to whoever holds the token, or sits at this machine where none is set.
 * @see https://docs.temporal.io/codec-server
 */
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { Hono, type Context, type MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { cors } from 'hono/cors';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { z } from 'zod';
import { fromBase64, toBase64 } from '../../adapters/seal/bytes.js';
import type { ErrorBody } from '../../domain/api.js';
import { EngineError, findEngineError } from '../../domain/errors.js';
import type { Log } from '../../domain/log.js';

/** One page of a history in the UI; Temporal's own limit is 4 MiB a message, base64 adds a third. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]']);

export interface CodecDeps {
  readonly codec: PayloadCodec;
  /** The codec's own; payloads of another one would not open. */
  readonly namespace: string;
  /** The page that may call from a browser, as `http://host:port`; `null`: none. */
  readonly origin: string | null;
  /** What callers show as `Authorization: Bearer`; `null` where only this machine can reach it. */
  readonly token: string | null;
  readonly log: Log;
}

/** Temporal's JSON form of `Payloads`: bytes are base64. */
const payloadsSchema = z.object({
  payloads: z.array(
    z.object({
      metadata: z.record(z.string(), z.base64()).optional(),
      data: z.base64().optional(),
    }),
  ),
});
type PayloadJson = z.infer<typeof payloadsSchema>['payloads'][number];

/** Builds `POST /encode` and `POST /decode`. Nothing of a payload is logged, or said in an error. */
export function createCodecApp(deps: CodecDeps): Hono {
  const { codec, origin, log } = deps;
  const app = new Hono();
  if (origin !== null) app.use(cors({ origin, credentials: true, maxAge: 600 }));
  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  app.use(callersOnly(deps), bodyLimit({ maxSize: MAX_BODY_BYTES, onError: tooLarge }));
  app.post('/encode', async (c) => c.json(await onPayloads(c, (list) => codec.encode(list))));
  app.post('/decode', async (c) => c.json(await onPayloads(c, (list) => codec.decode(list))));
  app.notFound((c) => answer(c, new EngineError('REQUEST_INVALID', { path: c.req.path }), 404));
  app.onError((error, c) => {
    const known = findEngineError(error) ?? new EngineError('INTERNAL');
    log(known.code === 'INTERNAL' ? 'error' : 'warn', 'payloads refused', { code: known.code });
    // What a key would say of a payload that it does not open helps nobody but a stranger.
    return answer(c, known.code === 'SEAL_BROKEN' ? new EngineError('SEAL_BROKEN') : known);
  });
  return app;
}

/** Lets in who shows the token; without one, who asked for this machine by a name of its own, so that
 * a page on a name that an attacker points here is turned away. */
function callersOnly({ token, namespace }: CodecDeps): MiddlewareHandler {
  return async (c, next) => {
    if (token === null) {
      const { hostname } = new URL(c.req.url);
      if (!LOOPBACK.has(hostname)) {
        throw new EngineError('API_KEY_INVALID', { expected: 'a request to the loopback address' });
      }
    } else if (!isSame(c.req.header('authorization') ?? '', `Bearer ${token}`)) {
      throw new EngineError('API_KEY_INVALID', { expected: 'the token as Authorization: Bearer' });
    }
    const asked = c.req.header('x-namespace') ?? namespace;
    if (asked !== namespace) {
      throw new EngineError('REQUEST_INVALID', { field: 'x-namespace', expected: namespace });
    }
    await next();
  };
}

async function onPayloads(
  c: Context,
  work: (payloads: Payload[]) => Promise<Payload[]>,
): Promise<{ payloads: PayloadJson[] }> {
  let body: unknown;
  try {
    body = await c.req.json();
  } catch (error) {
    if (findEngineError(error) !== undefined) throw error;
    // The parser's own message quotes the body.
    throw new EngineError('REQUEST_INVALID', { expected: 'JSON' });
  }
  const parsed = payloadsSchema.safeParse(body);
  if (!parsed.success) {
    throw new EngineError('REQUEST_INVALID', {
      expected: 'payloads with base64 metadata and data',
    });
  }
  return { payloads: (await work(parsed.data.payloads.map(toPayload))).map(toJson) };
}

function toPayload({ metadata = {}, data = '' }: PayloadJson): Payload {
  const entries = Object.entries(metadata).map(([key, value]) => [key, fromBase64(value)] as const);
  return { metadata: Object.fromEntries(entries), data: fromBase64(data) };
}

function toJson({ metadata, data }: Payload): PayloadJson {
  const entries = Object.entries(metadata ?? {}).map(([key, value]) => [key, toBase64(value)]);
  return { metadata: Object.fromEntries(entries), data: toBase64(data ?? new Uint8Array()) };
}

/** Digests have one length, so the comparison takes one time. */
function isSame(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

function tooLarge(c: Context): Response {
  return answer(c, new EngineError('CONTENT_TOO_LARGE', { maxBytes: MAX_BODY_BYTES }));
}

function answer(c: Context, error: EngineError, status: number = error.status): Response {
  const { code, message, details, fault } = error;
  const body: ErrorBody = {
    error: { code, message, type: fault, param: null, details, requestId: randomUUID() },
  };
  return c.json(body, status as ContentfulStatusCode);
}
