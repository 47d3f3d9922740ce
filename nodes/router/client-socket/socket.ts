/** One client's WebSocket: who it is, the requests that are under way on it, and its end. */
import type { WebSocket } from 'ws';
import { EngineError } from '../../../domain/errors.js';
import {
  STREAM_CLOSES,
  STREAM_LIMITS,
  type ClientMessage,
  type ServerMessage,
} from '../../../domain/stream.js';
import { errorBody, publicError } from '../errors.js';
import { namedIn, parseClientMessage } from './messages.js';
import { Outbox } from './outbox.js';
import { ClientRequest, type CallRoute, type RequestMessage } from './request.js';

/** A client that does not answer the closing handshake is cut off. */
const CLOSE_MS = 1_000;
/** A client with too many requests at once had better wait so long. */
const RETRY_MS = 1_000;
/** What it says before it has shown who it is, is short. */
const MAX_AUTH_BYTES = 8 * 1024;

export interface SocketDeps {
  /** The first message, once the caller is known. */
  readonly ready: Extract<ServerMessage, { type: 'ready' }>;
  /** @throws API_KEY_INVALID */
  readonly identify: (authorization: string) => void;
  readonly callAs: (authorization: string) => CallRoute;
  readonly isDraining: () => boolean;
  readonly authMs: number;
  readonly stalledMs: number;
  readonly onKnown: (socket: ClientSocket) => void;
  readonly onClosed: (socket: ClientSocket) => void;
}

export class ClientSocket {
  readonly #ws: WebSocket;
  readonly #deps: SocketDeps;
  readonly #outbox: Outbox;
  readonly #requests = new Map<string, ClientRequest>();
  readonly #authTimer: NodeJS.Timeout;
  #call: CallRoute | null = null;
  #heardAt = Date.now();
  #faults = 0;

  /** @param authorization - header of the upgrade, which has been looked at; `null`: an `auth`
   *   message comes first. */
  constructor(ws: WebSocket, authorization: string | null, deps: SocketDeps) {
    this.#ws = ws;
    this.#deps = deps;
    const hear = () => void (this.#heardAt = Date.now());
    this.#outbox = new Outbox(ws, hear);
    ws.on('pong', hear);
    ws.on('ping', hear);
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      hear();
      this.#receive(data, isBinary);
    });
    ws.on('close', () => this.#forget());
    // An error is always followed by `close`: a message that is too long, or no UTF-8, ends here too.
    ws.on('error', () => undefined);
    this.#authTimer = setTimeout(() => this.#refuse('authentication'), deps.authMs);
    this.#authTimer.unref();
    if (authorization !== null) this.#know(authorization);
  }

  /** Requests under way. */
  get requests(): number {
    return this.#requests.size;
  }

  /** Milliseconds since the client has given a sign of life. */
  get silentMs(): number {
    return Date.now() - this.#heardAt;
  }

  /** Asks for a sign of life. */
  ping(): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.ping();
  }

  /** Says that the router is being stopped, and closes when what is under way has ended. */
  drain(): void {
    this.#outbox.post({ type: 'draining' });
    this.#closeWhenDone();
  }

  /** Closes, whatever is under way. */
  close(code: number, reason: string): void {
    // Whatever it still says is not heard: a client that floods costs nothing from here on.
    this.#ws.removeAllListeners('message');
    if (this.#ws.isPaused) this.#ws.resume();
    this.#ws.close(code, reason);
    setTimeout(() => this.#ws.terminate(), CLOSE_MS).unref();
  }

  /** Cuts the connection of a client that is not there any more. */
  cut(): void {
    this.#ws.terminate();
  }

  #know(authorization: string): void {
    clearTimeout(this.#authTimer);
    this.#call = this.#deps.callAs(authorization);
    this.#outbox.post(this.#deps.ready);
    this.#deps.onKnown(this);
    if (this.#deps.isDraining()) this.drain();
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (isBinary) return this.close(STREAM_CLOSES.notText, 'text only');
    if (this.#call === null && data.length > MAX_AUTH_BYTES) return this.#refuse('authentication');
    const text = data.toString('utf8');
    try {
      this.#handle(parseClientMessage(text));
    } catch (error) {
      const known = publicError(error);
      const { id, isFirst } = namedIn(text);
      this.#say(known, id, isFirst && id !== null && !this.#requests.has(id));
      if (this.#call === null) return this.#refuse('authentication');
      if (known.code !== 'REQUEST_INVALID') return;
      if (++this.#faults >= STREAM_LIMITS.faults) this.#refuse('too many faults');
    }
  }

  /** @throws REQUEST_INVALID — not the moment for it.
   * @throws API_KEY_INVALID
   * @throws RATE_LIMITED — as many requests as a socket may have are under way. */
  #handle(message: ClientMessage): void {
    if (message.type === 'auth') {
      if (this.#call !== null) throw unexpected('type', 'one authentication');
      const authorization = `Bearer ${message.token}`;
      this.#deps.identify(authorization);
      return this.#know(authorization);
    }
    if (this.#call === null) throw unexpected('type', 'auth');
    if (message.type === 'ping') return this.#outbox.post({ type: 'pong' });
    if (message.type === 'ask' || message.type === 'resume') {
      return this.#start(message, this.#call);
    }
    const request = this.#requests.get(message.id);
    // It may have ended while this was on its way.
    if (request === undefined) {
      return this.#say(unexpected('id', 'a request under way'), message.id, false);
    }
    if (message.type === 'credit') request.grant(message.more);
    else void request.cancel(message.keepTask === true);
  }

  #start(message: RequestMessage, call: CallRoute): void {
    const { id } = message;
    if (this.#requests.has(id)) throw unexpected('id', 'an id that is not in use');
    if (this.#deps.isDraining()) return this.#say(new EngineError('ROUTER_DRAINING'), id, true);
    if (this.#requests.size >= STREAM_LIMITS.requests) {
      const limit = `${STREAM_LIMITS.requests} requests at once on a socket`;
      return this.#say(
        new EngineError('RATE_LIMITED', { limit, retryAfterMs: RETRY_MS }),
        id,
        true,
      );
    }
    const request = new ClientRequest(message, {
      call,
      outbox: this.#outbox,
      stalledMs: this.#deps.stalledMs,
      onEnd: () => {
        this.#requests.delete(id);
        if (this.#deps.isDraining()) this.#closeWhenDone();
      },
    });
    this.#requests.set(id, request);
    void request.run();
  }

  /** Refuses a message.
   * @param ends - it was a request's first: there is none of that id now. */
  #say(error: EngineError, id: string | null, ends: boolean): void {
    const { retryAfterMs } = error.details;
    const retry = typeof retryAfterMs === 'number' ? { retryAfterMs } : {};
    this.#outbox.post({ type: 'error', id, ends, ...errorBody(error, ''), ...retry });
  }

  #closeWhenDone(): void {
    if (this.#requests.size > 0) return;
    this.close(STREAM_CLOSES.goingAway, 'the router is being stopped');
  }

  #refuse(reason: string): void {
    this.close(STREAM_CLOSES.policy, reason);
  }

  #forget(): void {
    clearTimeout(this.#authTimer);
    for (const request of this.#requests.values()) request.leave();
    this.#requests.clear();
    this.#deps.onClosed(this);
  }
}

function unexpected(field: string, expected: string): EngineError {
  return new EngineError('REQUEST_INVALID', { field, expected });
}
