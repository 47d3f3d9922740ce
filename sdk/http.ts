/**
 * HTTP to a network's routers: one place for the key, the deadline and the errors. It keeps to one
 * router, and goes to the next when that one is gone, full or being stopped. Every error of a router
 * comes out as the `EngineError` that it was there.
 */
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import type { ErrorBody } from '../domain/api.js';
import { anyOf } from '../domain/deadline.js';
import {
  EngineError,
  findEngineError,
  isErrorCode,
  type ErrorCode,
  type ErrorDetails,
} from '../domain/errors.js';

/** Milliseconds for an answer that is no stream. */
const ANSWER_MS = 60_000;
/** Milliseconds a stream may be silent; routers give a sign of life every ten seconds. */
const SILENCE_MS = 45_000;
const MAX_EVENT_CHARS = 8 * 1024 * 1024;

/** A router that says so has begun nothing, and the next one may do it. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set([
  'ROUTER_BUSY',
  'ROUTER_DRAINING',
  'ROUTER_LEASE_LOST',
]);
/** A stream that breaks off this often is not gone on with: whoever asked for it begins again. */
const MAX_RESUMES = 16;
/** What is ordered below it has a reference of its own: put twice, it is one order. */
const ORDERS = '/api/v1/sessions';

export interface RouterOptions {
  readonly baseUrl: string;
  /** More routers of the same network, for when the one before them is gone or being stopped. */
  readonly urls?: readonly string[] | undefined;
  readonly apiKey: string;
  /** @defaultValue the global `fetch` */
  readonly fetch?: typeof fetch | undefined;
}

export interface CallOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

export class RouterHttp {
  readonly #options: RouterOptions;
  readonly #urls: readonly string[];
  #at = 0;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#urls = [...new Set([options.baseUrl, ...(options.urls ?? [])])];
  }

  /** The router that is asked next. */
  protected get url(): string {
    return this.#urls[this.#at] ?? this.#options.baseUrl;
  }

  /** Goes to the next router, where there is one, unless somebody has done so already. */
  protected leave(url: string): void {
    if (url === this.url) this.#at = (this.#at + 1) % this.#urls.length;
  }

  /** Asks for JSON.
   * @throws ROUTER_UNREACHABLE — no answer, or none that can be read.
   * @throws EngineError — the router's. */
  json<T>(path: string, options: CallOptions = {}): Promise<T> {
    return this.#anywhere(path, options, (url) =>
      this.#within(url, ANSWER_MS, options.signal, async (signal) => {
        const response = await this.#call(url, path, { ...options, signal });
        return (await response.json()) as T;
      }),
    );
  }

  /** Asks for bytes; throws as `json`. */
  bytes(path: string, options: CallOptions = {}): Promise<Uint8Array> {
    return this.#anywhere(path, options, (url) =>
      this.#within(url, ANSWER_MS, options.signal, async (signal) => {
        const response = await this.#call(url, path, { ...options, signal });
        return new Uint8Array(await response.arrayBuffer());
      }),
    );
  }

  /** Asks for server-sent events and hands each one's data to `onData`, in order. A stream that breaks
   * off goes on after its last event, at the next router where there is one.
   * @throws ROUTER_UNREACHABLE — the connection was lost, or silent for too long; else as `json`. */
  async events(
    path: string,
    options: CallOptions,
    onData: (data: string) => Promise<void>,
  ): Promise<void> {
    let after: string | undefined;
    let resumes = 0;
    for (let left = this.#urls.length - 1; ; left--) {
      const { url } = this;
      const place = after === undefined ? {} : { 'last-event-id': after };
      const had = after;
      try {
        const headers = { ...options.headers, ...place };
        await this.#read(url, path, { ...options, headers }, async ({ data, id }) => {
          await onData(data);
          after = id ?? after;
        });
        return;
      } catch (error) {
        if (!isMoving(error)) throw error;
        this.leave(url);
        // Wherever there was something new there may be more.
        if (after !== had && ++resumes <= MAX_RESUMES) left = this.#urls.length;
        if (left <= 0 || !isRepeatable(path, options)) throw error;
      }
    }
  }

  /** Puts a call to one router after the other, as long as asking again is no second order. */
  async #anywhere<T>(
    path: string,
    options: CallOptions,
    call: (url: string) => Promise<T>,
  ): Promise<T> {
    for (let left = this.#urls.length - 1; ; left--) {
      const { url } = this;
      try {
        return await call(url);
      } catch (error) {
        if (!isMoving(error)) throw error;
        this.leave(url);
        if (left <= 0 || !(isRefusal(error) || isRepeatable(path, options))) throw error;
      }
    }
  }

  async #read(
    url: string,
    path: string,
    options: CallOptions,
    onEvent: (event: EventSourceMessage) => Promise<void>,
  ): Promise<void> {
    const silence = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const heard = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
    };
    const signal = anyOf(silence.signal, options.signal);
    heard();
    try {
      const { body } = await this.#call(url, path, { ...options, signal });
      const pending: EventSourceMessage[] = [];
      const parser = createParser({
        maxBufferSize: MAX_EVENT_CHARS,
        onEvent: (event) => pending.push(event),
      });
      const reader = (body ?? new ReadableStream<Uint8Array>()).getReader();
      const decoder = new TextDecoder();
      try {
        for (;;) {
          const { done, value } = await reader.read();
          heard();
          if (!done) parser.feed(decoder.decode(value, { stream: true }));
          for (const event of pending.splice(0)) await onEvent(event);
          if (done) return;
        }
      } finally {
        // A stream that is left early must not go on in the background.
        reader.cancel().catch(() => undefined);
      }
    } catch (error) {
      throw translate(error, url, options.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async #within<T>(
    url: string,
    ms: number,
    outer: AbortSignal | undefined,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), ms);
    try {
      return await run(anyOf(deadline.signal, outer));
    } catch (error) {
      throw translate(error, url, outer);
    } finally {
      clearTimeout(timer);
    }
  }

  async #call(url: string, path: string, options: CallOptions): Promise<Response> {
    const { apiKey, fetch: send = fetch } = this.#options;
    const { method = 'GET', body, headers, signal } = options;
    const response = await send(new URL(path, url), {
      method,
      headers: {
        authorization: `Bearer ${apiKey}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: bodyOf(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
    if (response.ok) return response;
    throw errorOf(await response.json().catch(() => null), response.status);
  }
}

/** What is no error of ours is the connection's, unless the caller itself gave up. */
function translate(error: unknown, url: string, outer: AbortSignal | undefined): unknown {
  if (outer?.aborted === true) return outer.reason;
  if (error instanceof EngineError) return error;
  const { host } = new URL(url);
  return new EngineError('ROUTER_UNREACHABLE', { host }, { cause: error });
}

/** Whether another router might answer what this one did not. */
function isMoving(error: unknown): boolean {
  return isRefusal(error) || findEngineError(error)?.code === 'ROUTER_UNREACHABLE';
}

function isRefusal(error: unknown): boolean {
  const code = findEngineError(error)?.code;
  return code !== undefined && REFUSALS.has(code);
}

/** Whether a request that may have arrived can be put again. */
function isRepeatable(path: string, { method = 'GET', headers = {} }: CallOptions): boolean {
  const isNamed = headers['idempotency-key'] !== undefined || path.startsWith(ORDERS);
  return method === 'GET' || method === 'PUT' || (method === 'POST' && isNamed);
}

/** Bytes go as they are, everything else as JSON. */
function bodyOf(body: unknown): string | Uint8Array<ArrayBuffer> {
  return body instanceof Uint8Array ? new Uint8Array(body) : JSON.stringify(body);
}

/** Reads a router's error, of a response or inside a stream. */
export function errorOf(body: unknown, status: number): EngineError {
  const error = (body as Partial<ErrorBody> | null)?.error;
  if (isErrorCode(error?.code)) return new EngineError(error.code, detailsOf(error.details));
  // A proxy in between answers in its own words.
  return new EngineError(status >= 500 ? 'ROUTER_UNREACHABLE' : 'REQUEST_INVALID', { status });
}

function detailsOf(value: unknown): ErrorDetails {
  return typeof value === 'object' && value !== null ? (value as ErrorDetails) : {};
}
