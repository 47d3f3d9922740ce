/**
 * An oracle over HTTP: it answers anyone, since it signs only what is true and shows only verdicts.
 * Bodies are small, work is bounded, and every request has a deadline.
 */
import { randomUUID } from 'node:crypto';
import { Hono, type Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import PQueue from 'p-queue';
import type { ErrorBody } from '../../domain/api.js';
import { EngineError, findEngineError } from '../../domain/errors.js';
import { Attester } from './attest.js';
import { judgeTask } from './judge.js';
import type { OracleDeps } from './ports.js';
import { asRefusal } from './refusal.js';
import { parseAttestation, parseJudgeRequest, parseScoreRequest } from './schema.js';

const DEADLINE_MS = 120_000;
const MAX_BODY_BYTES = 64 * 1024;
const REQUESTS_AT_ONCE = 4;
/** More waiting requests than this are turned away; their callers ask again. */
const MAX_WAITING = 256;

/** Builds the routes of an oracle. */
export function createOracleApp(deps: OracleDeps): Hono {
  const { wallet, log, deadlineMs = DEADLINE_MS } = deps;
  const attester = new Attester(deps);
  const queue = new PQueue({ concurrency: REQUESTS_AT_ONCE });
  const app = new Hono();

  app.use('/v1/*', bodyLimit({ maxSize: MAX_BODY_BYTES, onError: tooLarge }));
  app.get('/healthz', (c) => c.json({ status: 'ok', oracle: wallet.address }));
  app.post('/v1/attest', async (c) => {
    const request = parseAttestation(await readBody(c));
    return c.json(await bounded((signal) => attester.attest(request, signal)));
  });
  app.post('/v1/judge', async (c) => {
    const request = parseJudgeRequest(await readBody(c));
    return c.json(await bounded((signal) => judgeTask(request, attester.results, signal)));
  });
  app.post('/v1/score', async (c) => {
    const { evidenceCid } = parseScoreRequest(await readBody(c));
    const { scores } = await bounded((signal) => attester.score(evidenceCid, signal));
    return c.json({ scores });
  });
  app.notFound((c) => answer(c, new EngineError('REQUEST_INVALID', { path: c.req.path }), 404));
  app.onError((error, c) => {
    const known = translate(error);
    log(known.code === 'INTERNAL' ? 'error' : 'warn', 'request failed', {
      path: c.req.path,
      code: known.code,
      error: error.name,
    });
    return answer(c, known);
  });
  return app;

  /** Runs work in turn, and gives it up at the deadline, which the turn is part of. */
  async function bounded<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (queue.size >= MAX_WAITING) throw new EngineError('RATE_LIMITED', { waiting: queue.size });
    const stop = new AbortController();
    const late = new EngineError('ORACLE_UNREACHABLE', { reason: 'deadline', deadlineMs });
    const timer = setTimeout(() => stop.abort(late), deadlineMs);
    try {
      return await queue.add(() => Promise.race([work(stop.signal), aborted(stop.signal)]), {
        signal: stop.signal,
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

async function readBody(c: Context): Promise<unknown> {
  try {
    return await c.req.json();
  } catch {
    // The parser's own message quotes the body.
    throw new EngineError('REQUEST_INVALID', { expected: 'JSON' });
  }
}

/** A refusal outside an attestation is evidence that the caller must mend. An error of an unknown
 * kind stays unsaid: its text may hold anything. */
function translate(error: unknown): EngineError {
  const known = findEngineError(error);
  if (known !== undefined) return known;
  const refusal = asRefusal(error);
  return refusal === undefined
    ? new EngineError('INTERNAL')
    : new EngineError('REQUEST_INVALID', { reason: refusal.message });
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
