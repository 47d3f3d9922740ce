/**
 * A request for a session that another router holds is answered by that router, through this one: a
 * client behind a plain load balancer need not know who serves it. The caller's own credentials go
 * along, so the other router lets in whom it would let in. Where that router has died, this one takes
 * the session over and goes on with the answer, also in the middle of a stream.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Context } from 'hono';
import type { ErrorBody } from '../../domain/api.js';
import { anyOf } from '../../domain/deadline.js';
import { EngineError, findEngineError, type ErrorCode } from '../../domain/errors.js';
import type { SessionId } from '../../domain/ids.js';
import type { Log } from '../../domain/log.js';
import type { AppEnv } from './app.js';
import { bodyTextOf } from './body.js';
import type { Held } from './peers.js';
import { HeldElsewhere, type Sessions } from './sessions.js';
import { SseTail } from './sse-tail.js';

/** On a relayed request: the router that is meant. It passes nothing on. */
export const RELAY_HEADER = 'x-cortensor-relay';
/** On its answer: the router that answers. */
export const ROUTER_HEADER = 'x-cortensor-router';
/** A holder is looked for so long: a router that vanished has lost its leases by then. */
const SEARCH_MS = 20_000;
const PAUSE_MS = 150;
/** Beyond this a router that does not answer is one that cannot be reached. */
const HEAD_MS = 120_000;
/** What the asked router says when it does not serve the session (any more). */
const MOVED: ReadonlySet<ErrorCode> = new Set(['ROUTER_LEASE_LOST', 'ROUTER_DRAINING']);
const FORWARDED = [
  'authorization',
  'content-type',
  'accept',
  'idempotency-key',
  'last-event-id',
  'x-cortensor-session',
  'x-request-id',
] as const;
/** Of the connection, not of the answer. */
const HOP_HEADERS = ['connection', 'keep-alive', 'transfer-encoding', 'content-length', 'date'];

/** `gone`: nobody is there, or somebody else. `away`: it cannot be told. */
type Miss = 'moved' | 'gone' | 'away';

export interface RelayDeps {
  readonly routerId: string;
  readonly sessions: Sessions;
  /** Answers a request here. */
  readonly fetch: (request: Request, env: AppEnv['Bindings']) => Response | Promise<Response>;
  readonly log: Log;
}

/** What is needed to put one request again. */
interface Put {
  readonly sessionId: SessionId;
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly body: string | null;
  readonly signal: AbortSignal;
  readonly env: AppEnv['Bindings'];
}

export class Relay {
  readonly #deps: RelayDeps;

  constructor(deps: RelayDeps) {
    this.#deps = deps;
  }

  /** Answers a request whose session is not held here, or was not any more when its task should begin.
   * @throws ROUTER_LEASE_LOST — it was relayed already, or no router that serves it was found.
   * @throws as `Sessions.require` */
  async answer(c: Context<AppEnv>, lost: EngineError, sessionId: SessionId): Promise<Response> {
    if (c.req.header(RELAY_HEADER) !== undefined) throw lost;
    const headers = new Headers();
    for (const name of FORWARDED) {
      const value = c.req.header(name);
      if (value !== undefined) headers.set(name, value);
    }
    headers.set('x-request-id', c.get('requestId'));
    // Asked twice, it must be one task.
    if (!headers.has('idempotency-key')) headers.set('idempotency-key', randomUUID());
    const { raw } = c.req;
    const { signal, method } = raw;
    const url = new URL(c.req.url);
    const put: Put = { sessionId, url, method, headers, body: bodyTextOf(raw), signal, env: c.env };
    const held = lost instanceof HeldElsewhere ? lost.held : null;
    return this.#resumable(await this.#serve(put, held), put);
  }

  /** Puts a request to whoever holds its session, until somebody has answered it. */
  async #serve(put: Put, first: Held | null): Promise<Response> {
    const { sessions } = this.#deps;
    const { sessionId, signal } = put;
    let held = first;
    let miss: Miss = 'moved';
    for (const deadline = Date.now() + SEARCH_MS; ;) {
      if (held !== null) {
        const answer = await this.#forward(put, held);
        if (typeof answer !== 'string') return answer;
        miss = answer;
      }
      if (signal.aborted || Date.now() > deadline) {
        throw new EngineError('ROUTER_LEASE_LOST', { sessionId });
      }
      if (miss !== 'gone') await delay(PAUSE_MS);
      try {
        await sessions.retake(sessionId, held, miss);
      } catch (error) {
        // Who is on the way to its lease may be stopped before it comes there.
        if (findEngineError(error)?.code !== 'ROUTER_LEASE_LOST') throw error;
        held = error instanceof HeldElsewhere ? error.held : null;
        miss = 'moved';
        continue;
      }
      const answer = await this.#here(put);
      if (!(await isMoved(answer))) return answer;
      held = null;
      miss = 'moved';
    }
  }

  /** Puts the request to this router itself, which serves the session now. */
  async #here({ url, method, headers, body, signal, env }: Put): Promise<Response> {
    const own = new Headers(headers);
    own.set(RELAY_HEADER, this.#deps.routerId);
    return await this.#deps.fetch(new Request(url, { method, headers: own, body, signal }), env);
  }

  async #forward(put: Put, { peer }: Held): Promise<Response | Miss> {
    const { url, method, headers, body, signal } = put;
    const target = new URL(url.pathname + url.search, peer.url);
    const to = new Headers(headers);
    to.set(RELAY_HEADER, peer.routerId);
    // Only until the head is here: a stream may take its time, and has signs of life of its own.
    const head = new AbortController();
    const timer = setTimeout(() => head.abort(), HEAD_MS);
    try {
      const response = await fetch(target, {
        method,
        headers: to,
        body,
        signal: anyOf(signal, head.signal),
      });
      if (response.body !== null && isStream(response)) {
        return new Response(response.body, { status: response.status, headers: kept(response) });
      }
      const text = await response.text();
      const router = response.headers.get(ROUTER_HEADER);
      if (router !== null && router !== peer.routerId) return 'gone';
      if (response.status === 503 && MOVED.has(codeOf(text))) return 'moved';
      return new Response(text, { status: response.status, headers: kept(response) });
    } catch (error) {
      if (signal.aborted) throw error;
      return isRefused(error) ? 'gone' : 'away';
    } finally {
      clearTimeout(timer);
    }
  }

  /** A stream that breaks off before its end is gone on with, after the last event that was given. */
  #resumable(response: Response, put: Put): Response {
    if (response.body === null || !isStream(response)) return response;
    const tail = new SseTail(response.body, async (lastEventId) => {
      const { sessionId, signal } = put;
      if (signal.aborted) throw new EngineError('ROUTER_LEASE_LOST', { sessionId });
      const { log, sessions } = this.#deps;
      log('info', 'stream of another router broke off', { sessionId });
      const headers = new Headers(put.headers);
      if (lastEventId !== null) headers.set('last-event-id', lastEventId);
      const held = sessions.holderOf(sessionId);
      const next = await this.#serve({ ...put, headers }, held);
      if (next.ok && next.body !== null) return next.body;
      const { error } = (await next.json()) as ErrorBody;
      throw new EngineError(error.code as ErrorCode);
    });
    return new Response(tail.body, { status: response.status, headers: response.headers });
  }
}

function isStream(response: Response): boolean {
  return response.headers.get('content-type')?.startsWith('text/event-stream') === true;
}

/** Whether a router says that it does not serve the session. */
async function isMoved(response: Response): Promise<boolean> {
  return response.status === 503 && MOVED.has(codeOf(await response.clone().text()));
}

function kept(response: Response): Headers {
  const headers = new Headers(response.headers);
  for (const name of HOP_HEADERS) headers.delete(name);
  return headers;
}

function codeOf(text: string): ErrorCode {
  try {
    return (JSON.parse(text) as ErrorBody).error.code as ErrorCode;
  } catch {
    // A proxy in between answers in its own words: nothing is known of the session.
    return 'INTERNAL';
  }
}

/** Nobody listens there: the router's process is no more. */
function isRefused(error: unknown): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ECONNREFUSED') return true;
    if (cause instanceof AggregateError) return cause.errors.every(isRefused);
  }
  return false;
}
