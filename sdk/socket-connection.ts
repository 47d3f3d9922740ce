/** One WebSocket to one router, from its authentication to its loss. */
import { EngineError } from '../domain/errors.js';
import {
  STREAM_PATH,
  STREAM_PROTOCOL,
  type ClientMessage,
  type ServerMessage,
} from '../domain/stream.js';
import { errorOf } from './http.js';

/** Milliseconds to be let in. */
const CONNECT_MS = 15_000;
const PING_MS = 15_000;
/** A connection that is silent for longer, with a request under way, is lost. */
const SILENCE_MS = 45_000;
/** Messages of a request that may wait to be worked on. */
const WINDOW = 128;
const NORMAL_CLOSE = 1000;

/** What is used of a WebSocket: that of browsers, of Node, or of the `ws` package. */
export interface SocketLike {
  send(data: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: 'open' | 'close' | 'error', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
}
export type SocketConstructor = new (url: string, protocols: string[]) => SocketLike;

type Ask = Extract<ClientMessage, { type: 'ask' }>;

/** Messages of one request that have come and are not worked on yet. */
interface Inbox {
  readonly messages: ServerMessage[];
  wake: () => void;
}

export class SocketConnection {
  readonly #socket: SocketLike;
  /** Of the router, as it was given. */
  readonly url: string;
  readonly #requests = new Map<string, Inbox>();
  /** Requests beyond what the router takes of one socket. */
  readonly #waiting: (() => void)[] = [];
  #maxRequests = 1;
  #onReady: (refusal: EngineError | null) => void = () => undefined;
  #heardAt = Date.now();
  #watch: ReturnType<typeof setInterval> | undefined;
  #isLost = false;
  #isDraining = false;

  private constructor(socket: SocketLike, url: string) {
    this.#socket = socket;
    this.url = url;
  }

  /** Connects, and shows the key in a first message: browsers cannot set a header.
   * @param url - `http` or `https`, of a router.
   * @throws ROUTER_UNREACHABLE — not let in within fifteen seconds.
   * @throws EngineError — why the router did not let it in. */
  static async open(
    url: string,
    apiKey: string,
    create: SocketConstructor,
  ): Promise<SocketConnection> {
    const address = new URL(STREAM_PATH, url);
    address.protocol = address.protocol.replace('http', 'ws');
    const socket = new create(address.href, [STREAM_PROTOCOL]);
    const connection = new SocketConnection(socket, url);
    await connection.#begin(apiKey);
    return connection;
  }

  /** Whether it takes new requests. */
  get isUsable(): boolean {
    return !this.#isLost && !this.#isDraining;
  }

  /** The router is being stopped. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Puts a request, and yields its messages up to the last one; the router sends only as many ahead as
   * fit the window. A reader that stops early ends the request, and not its task.
   * @throws ROUTER_UNREACHABLE — the connection was lost.
   * @throws the signal's reason. */
  async *request(ask: Ask, signal: AbortSignal | undefined): AsyncGenerator<ServerMessage> {
    const { id } = ask;
    const inbox: Inbox = { messages: [], wake: () => undefined };
    const wake = () => inbox.wake();
    await this.#enter(id, inbox, signal);
    signal?.addEventListener('abort', wake);
    let isOver = false;
    try {
      this.#send({ ...ask, credit: WINDOW });
      for (let taken = 0; !isOver;) {
        signal?.throwIfAborted();
        const message = inbox.messages.shift();
        if (message === undefined) {
          if (this.#isLost) throw this.#lost();
          await new Promise<void>((resolve) => (inbox.wake = resolve));
          continue;
        }
        isOver = message.type === 'ended' || (message.type === 'error' && message.ends);
        yield message;
        if (!('index' in message) || ++taken < WINDOW / 2) continue;
        this.#send({ type: 'credit', id, more: taken });
        taken = 0;
      }
    } finally {
      signal?.removeEventListener('abort', wake);
      this.#requests.delete(id);
      this.#admit();
      if (!isOver && !this.#isLost) this.#send({ type: 'cancel', id, keepTask: true });
    }
  }

  close(): void {
    this.#socket.close(NORMAL_CLOSE);
    this.#lose();
  }

  async #begin(apiKey: string): Promise<void> {
    const socket = this.#socket;
    const refusal = await new Promise<EngineError | null>((resolve) => {
      const timer = setTimeout(() => this.#lose(), CONNECT_MS);
      this.#onReady = (error) => {
        clearTimeout(timer);
        resolve(error);
      };
      socket.addEventListener('open', () => this.#send({ type: 'auth', token: apiKey }));
      socket.addEventListener('message', ({ data }) => this.#receive(data));
      socket.addEventListener('close', () => this.#lose());
      socket.addEventListener('error', () => this.#lose());
    });
    if (refusal !== null) {
      this.close();
      throw refusal;
    }
    this.#watch = setInterval(() => this.#look(), PING_MS);
  }

  /** Waits until there may be one more request, which this is. */
  async #enter(id: string, inbox: Inbox, signal: AbortSignal | undefined): Promise<void> {
    while (this.#requests.size >= this.#maxRequests && !this.#isLost) {
      signal?.throwIfAborted();
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        signal?.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    // In the same step as the look at how many there are: others wait as well.
    this.#requests.set(id, inbox);
  }

  #admit(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #receive(data: unknown): void {
    this.#heardAt = Date.now();
    const message = parse(data);
    if (message === null) return this.#lose();
    if (message.type === 'ready') {
      this.#maxRequests = message.maxRequests;
      this.#onReady(null);
    } else if (message.type === 'draining') this.#isDraining = true;
    else if ('id' in message && message.id !== null) {
      const inbox = this.#requests.get(message.id);
      inbox?.messages.push(message);
      inbox?.wake();
    } else if (message.type === 'error') this.#onReady(errorOf(message, 200));
  }

  /** Browsers do not show a server's pings, so that a lost connection is found by pings of its own. */
  #look(): void {
    if (this.#requests.size === 0) return;
    if (Date.now() - this.#heardAt > SILENCE_MS) this.close();
    else this.#send({ type: 'ping' });
  }

  #send(message: ClientMessage): void {
    try {
      this.#socket.send(JSON.stringify(message));
    } catch {
      // Closing already: its listeners are told.
    }
  }

  #lose(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    clearInterval(this.#watch);
    this.#onReady(this.#lost());
    for (const inbox of this.#requests.values()) inbox.wake();
    this.#admit();
  }

  #lost(): EngineError {
    const { host } = new URL(this.url);
    return new EngineError('ROUTER_UNREACHABLE', { host, reason: 'connection lost' });
  }
}

function parse(data: unknown): ServerMessage | null {
  try {
    const value: unknown = typeof data === 'string' ? JSON.parse(data) : null;
    const isMessage = typeof value === 'object' && value !== null && 'type' in value;
    return isMessage ? (value as ServerMessage) : null;
  } catch {
    return null;
  }
}
