/**
 * A client's one WebSocket to its routers: many requests at once, and a connection that is lost is
 * made again, to the next router where there are more, and every answer goes on where it was. It
 * stands in for `RouterHttp`, so that requests are sealed, checked and answered as over HTTP.
 */
import { EngineError, findEngineError } from '../domain/errors.js';
import type { SessionId } from '../domain/ids.js';
import type { Citation } from '../domain/source.js';
import type { ClientMessage, ServerMessage } from '../domain/stream.js';
import type { SealedTaskRequest } from '../domain/wire.js';
import { RouterHttp, errorOf, type CallOptions, type RouterOptions } from './http.js';
import { pause } from './retry.js';
import { SocketConnection, type SocketConstructor } from './socket-connection.js';

/** Then the request as a whole is put again, which waits longer. */
const ATTEMPTS = 4;
const FIRST_WAIT_MS = 200;
const TASKS_PATH = /^\/api\/v1\/sessions\/(\d+)\/tasks$/;

export interface SocketOptions {
  /** Routers, in the order in which they are tried. @defaultValue the client's own */
  readonly urls?: readonly string[];
  /** @defaultValue the global `WebSocket` */
  readonly WebSocket?: SocketConstructor;
}

type Ask = Extract<ClientMessage, { type: 'ask' }>;
/** An ask before it has a name and a place to go on from. */
type AskBody =
  | Pick<Extract<Ask, { kind: 'chat' }>, 'kind' | 'session' | 'idempotencyKey' | 'body'>
  | Pick<Extract<Ask, { kind: 'sealed' }>, 'kind' | 'session' | 'body'>;

export class RouterSocket extends RouterHttp {
  readonly #apiKey: string;
  readonly #create: SocketConstructor;
  #connection: Promise<SocketConnection> | null = null;
  #asked = 0;
  #isClosed = false;

  /** Made by `CortensorClient.socket`; connects with the first request.
   * @throws USAGE — there is no WebSocket here, and none was given. */
  constructor(options: RouterOptions, { urls, WebSocket }: SocketOptions) {
    const [baseUrl = options.baseUrl, ...more] = urls ?? [];
    super(urls === undefined ? options : { ...options, baseUrl, urls: more });
    const create = WebSocket ?? (globalThis as { WebSocket?: SocketConstructor }).WebSocket;
    if (create === undefined) throw new EngineError('USAGE', { expected: 'a WebSocket' });
    this.#create = create;
    this.#apiKey = options.apiKey;
  }

  /** Puts a request and hands its stream's data to `onData`, as over HTTP, through lost connections.
   * @throws USAGE — it was closed.
   * @throws ROUTER_UNREACHABLE — no router could be reached, a few times in a row.
   * @throws EngineError — the router's. */
  override async events(
    path: string,
    options: CallOptions,
    onData: (data: string) => Promise<void>,
  ): Promise<void> {
    const ask = askOf(path, options);
    if (ask === null) return super.events(path, options, onData);
    const { signal } = options;
    let after: number | undefined;
    for (let tries = 1; ; tries++) {
      let { url } = this;
      try {
        const connection = await this.#connect();
        ({ url } = connection);
        const id = `r${this.#asked++}`;
        const place = after === undefined ? {} : { after };
        for await (const message of connection.request(
          { type: 'ask', id, ...ask, ...place },
          signal,
        )) {
          for (const data of dataOf(message)) await onData(data);
          if (!('index' in message)) continue;
          ({ index: after } = message);
          tries = 1;
        }
        return;
      } catch (error) {
        signal?.throwIfAborted();
        const code = findEngineError(error)?.code;
        const isOfLine = code === 'ROUTER_UNREACHABLE' || code === 'ROUTER_DRAINING';
        if (!isOfLine || tries >= ATTEMPTS || this.#isClosed) throw error;
        if (code === 'ROUTER_DRAINING') this.leave(url);
        await pause(FIRST_WAIT_MS * 2 ** (tries - 1), signal);
      }
    }
  }

  /** Closes it for good. Requests under way are rejected; their tasks go on. */
  close(): void {
    this.#isClosed = true;
    void this.#connection?.then(
      (connection) => connection.close(),
      () => undefined,
    );
    this.#connection = null;
  }

  async #connect(): Promise<SocketConnection> {
    if (this.#isClosed) throw new EngineError('USAGE', { reason: 'the socket was closed' });
    const pending = this.#connection;
    const known = await pending?.catch(() => null);
    if (known?.isUsable === true) return known;
    // Somebody else has begun to make another one meanwhile.
    if (this.#connection !== pending) return this.#connect();
    this.#connection = this.#connectionAfter(known ?? null);
    return this.#connection;
  }

  async #connectionAfter(former: SocketConnection | null): Promise<SocketConnection> {
    if (former?.isDraining === true) this.leave(former.url);
    const { url } = this;
    try {
      return await SocketConnection.open(url, this.#apiKey, this.#create);
    } catch (error) {
      this.leave(url);
      throw error;
    }
  }
}

/** What is put over HTTP, as a message; `null` where it is none of the two that stream. */
function askOf(path: string, { body, headers = {} }: CallOptions): AskBody | null {
  const [, session] = TASKS_PATH.exec(path) ?? [];
  if (session !== undefined) return { kind: 'sealed', session, body: body as SealedTaskRequest };
  if (path !== '/v1/chat/completions') return null;
  return {
    kind: 'chat',
    session: (headers['x-cortensor-session'] ?? '') as SessionId,
    idempotencyKey: headers['idempotency-key'] ?? crypto.randomUUID(),
    body: body as Readonly<Record<string, unknown>>,
  };
}

/** What a message is as data of server-sent events.
 * @throws EngineError — the router's. */
function dataOf(message: ServerMessage): readonly string[] {
  switch (message.type) {
    case 'delta':
      return [chunkOf(message.delta, null)];
    case 'event':
      return [JSON.stringify(message.event)];
    case 'ended':
      return message.kind === 'sealed'
        ? [JSON.stringify(message.event)]
        : [
            ...(message.citations === undefined ? [] : [citedChunkOf(message.citations)]),
            chunkOf({}, message.finishReason),
            '[DONE]',
          ];
    case 'error':
      throw errorOf(message, 200);
    default:
      return [];
  }
}

function citedChunkOf(citations: readonly Citation[]): string {
  return JSON.stringify({ choices: [], cortensor: { citations } });
}

function chunkOf(delta: object, reason: string | null): string {
  return JSON.stringify({ choices: [{ index: 0, delta, finish_reason: reason }] });
}
