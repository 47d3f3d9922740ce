/**
 * The clients' WebSockets: whom the router lets in at the upgrade, whether they are still there, and
 * how they learn that it is being stopped. What they ask for passes the same door as over HTTP.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { EngineError } from '../../../domain/errors.js';
import type { Log } from '../../../domain/log.js';
import { STREAM_CLOSES, STREAM_LIMITS, STREAM_PROTOCOL } from '../../../domain/stream.js';
import type { RouterApp } from '../app.js';
import { publicError } from '../errors.js';
import type { Guard } from '../guard/guard.js';
import { refuseUpgrade } from '../upgrades.js';
import { ClientSocket } from './socket.js';

/** Open at once; those that have not shown who they are yet are a part of them. */
const MAX_SOCKETS = 4_096;
const MAX_UNKNOWN = 256;
const HEARTBEAT_MS = 20_000;
/** A client that neither says anything nor takes anything for so long is not there any more. */
const SILENCE_MS = 60_000;
/** Around the body of a request. */
const ENVELOPE_BYTES = 1_024;
/** Requests within a socket have no host of their own. */
const ORIGIN = 'http://router';

export interface ClientSocketsDeps {
  readonly routerId: string;
  readonly app: RouterApp;
  readonly guard: Guard;
  readonly limits: { readonly cors: readonly string[]; readonly maxBodyBytes: number };
  readonly log: Log;
  /** @defaultValue HEARTBEAT_MS, SILENCE_MS and those of STREAM_LIMITS */
  readonly times?: Partial<SocketTimes>;
}

/** Milliseconds. */
export interface SocketTimes {
  readonly heartbeatMs: number;
  readonly silenceMs: number;
  readonly authMs: number;
  readonly stalledMs: number;
}

export class ClientSockets {
  readonly #deps: ClientSocketsDeps;
  readonly #times: SocketTimes;
  readonly #server: WebSocketServer;
  readonly #known = new Set<ClientSocket>();
  readonly #unknown = new Set<ClientSocket>();
  readonly #heart: NodeJS.Timeout;

  constructor(deps: ClientSocketsDeps) {
    this.#deps = deps;
    const { authMs, stalledMs } = STREAM_LIMITS;
    this.#times = {
      heartbeatMs: HEARTBEAT_MS,
      silenceMs: SILENCE_MS,
      authMs,
      stalledMs,
      ...deps.times,
    };
    this.#server = new WebSocketServer({
      noServer: true,
      maxPayload: deps.limits.maxBodyBytes + ENVELOPE_BYTES,
      // Each would take memory of its own, for messages that are mostly shorter than a packet.
      perMessageDeflate: false,
      clientTracking: false,
      handleProtocols: () => STREAM_PROTOCOL,
    });
    this.#heart = setInterval(() => this.#beat(), this.#times.heartbeatMs);
    this.#heart.unref();
  }

  /** Sockets that are open. */
  get count(): number {
    return this.#known.size + this.#unknown.size;
  }

  /** Takes an upgrade on, or refuses it with an error of the API. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    try {
      this.#admit(request);
    } catch (error) {
      return refuseUpgrade(socket, publicError(error));
    }
    this.#server.handleUpgrade(request, socket, head, (ws) => {
      const authorization = request.headers.authorization ?? null;
      const { guard, app, limits, routerId } = this.#deps;
      // Before the socket itself: it may be known at once.
      const client: ClientSocket = new ClientSocket(ws, authorization, {
        ready: {
          type: 'ready',
          router: routerId,
          maxRequests: STREAM_LIMITS.requests,
          maxMessageBytes: limits.maxBodyBytes + ENVELOPE_BYTES,
          heartbeatMs: this.#times.heartbeatMs,
        },
        identify: (header) => guard.identify(header),
        callAs: (header) => async (path, init, sent) => {
          const headers = new Headers(init.headers);
          headers.set('authorization', header);
          return app.fetch(new Request(new URL(path, ORIGIN), { ...init, headers }), { sent });
        },
        isDraining: () => guard.gate.isDraining,
        authMs: this.#times.authMs,
        stalledMs: this.#times.stalledMs,
        onKnown: (known) => {
          this.#unknown.delete(known);
          this.#known.add(known);
        },
        onClosed: (closed) => {
          this.#unknown.delete(closed);
          this.#known.delete(closed);
        },
      });
      if (authorization === null) this.#unknown.add(client);
    });
  }

  /** Tells every client that the router is being stopped; each is closed when its requests have
   * ended. */
  drain(): void {
    for (const client of [...this.#unknown, ...this.#known]) client.drain();
  }

  /** Closes every socket. */
  close(): void {
    clearInterval(this.#heart);
    for (const client of [...this.#unknown, ...this.#known]) {
      client.close(STREAM_CLOSES.goingAway, 'the router is being stopped');
    }
    this.#server.close();
  }

  /** @throws REQUEST_INVALID — not this protocol, or a page of an origin that may not call.
   * @throws API_KEY_INVALID — a header that names nobody. Without one, `auth` comes first.
   * @throws ROUTER_DRAINING, ROUTER_BUSY */
  #admit({ headers }: IncomingMessage): void {
    const { guard, limits } = this.#deps;
    if (guard.gate.isDraining) throw new EngineError('ROUTER_DRAINING');
    const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    if (!offered.includes(STREAM_PROTOCOL)) {
      const expected = STREAM_PROTOCOL;
      throw new EngineError('REQUEST_INVALID', { field: 'sec-websocket-protocol', expected });
    }
    if (!isAllowed(headers.origin, headers.host, limits.cors)) {
      throw new EngineError('REQUEST_INVALID', { field: 'origin', expected: 'one of router.cors' });
    }
    if (headers.authorization !== undefined) guard.identify(headers.authorization);
    else if (this.#unknown.size >= MAX_UNKNOWN) throw new EngineError('ROUTER_BUSY');
    if (this.count >= MAX_SOCKETS) throw new EngineError('ROUTER_BUSY', { sockets: MAX_SOCKETS });
  }

  #beat(): void {
    for (const client of [...this.#unknown, ...this.#known]) {
      if (client.silentMs > this.#times.silenceMs) {
        this.#deps.log('info', 'client socket cut', { silentMs: client.silentMs });
        client.cut();
      } else {
        client.ping();
      }
    }
  }
}

/** As CORS: pages of the router's own origin, and of those that are configured. */
function isAllowed(
  origin: string | undefined,
  host: string | undefined,
  cors: readonly string[],
): boolean {
  if (origin === undefined || cors.includes('*') || cors.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}
