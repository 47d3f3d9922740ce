/**
 * HTTP to a router: one place for the key, the deadline and the errors. Every error of the router
 * comes out as the `EngineError` that it was there.
 */
import { createParser } from 'eventsource-parser';
import type { ErrorBody } from '../domain/api.js';
import { EngineError, isErrorCode, type ErrorDetails } from '../domain/errors.js';

/** Milliseconds for an answer that is no stream. */
const ANSWER_MS = 60_000;
/** Milliseconds a stream may be silent; routers give a sign of life every ten seconds. */
const SILENCE_MS = 45_000;
const MAX_EVENT_CHARS = 8 * 1024 * 1024;

export interface RouterOptions {
  readonly baseUrl: string;
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

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** Asks for JSON.
   * @throws ROUTER_UNREACHABLE — no answer, or none that can be read.
   * @throws EngineError — the router's. */
  async json<T>(path: string, options: CallOptions = {}): Promise<T> {
    return this.#within(ANSWER_MS, options.signal, async (signal) => {
      const response = await this.#call(path, { ...options, signal });
      return (await response.json()) as T;
    });
  }

  /** Asks for bytes; throws as `json`. */
  async bytes(path: string, options: CallOptions = {}): Promise<Uint8Array> {
    return this.#within(ANSWER_MS, options.signal, async (signal) => {
      const response = await this.#call(path, { ...options, signal });
      return new Uint8Array(await response.arrayBuffer());
    });
  }

  /** Asks for server-sent events and hands each one's data to `onData`, in order.
   * @throws ROUTER_UNREACHABLE — the connection was lost, or silent for too long; else as `json`. */
  async events(
    path: string,
    options: CallOptions,
    onData: (data: string) => Promise<void>,
  ): Promise<void> {
    const silence = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const heard = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
    };
    const signal = merge(silence.signal, options.signal);
    heard();
    try {
      const { body } = await this.#call(path, { ...options, signal });
      const pending: string[] = [];
      const parser = createParser({
        maxBufferSize: MAX_EVENT_CHARS,
        onEvent: ({ data }) => pending.push(data),
      });
      const reader = (body ?? new ReadableStream<Uint8Array>()).getReader();
      const decoder = new TextDecoder();
      try {
        for (;;) {
          const { done, value } = await reader.read();
          heard();
          if (!done) parser.feed(decoder.decode(value, { stream: true }));
          for (const data of pending.splice(0)) await onData(data);
          if (done) return;
        }
      } finally {
        // A stream that is left early must not go on in the background.
        reader.cancel().catch(() => undefined);
      }
    } catch (error) {
      throw this.#translate(error, options.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async #within<T>(
    ms: number,
    outer: AbortSignal | undefined,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), ms);
    try {
      return await run(merge(deadline.signal, outer));
    } catch (error) {
      throw this.#translate(error, outer);
    } finally {
      clearTimeout(timer);
    }
  }

  async #call(path: string, options: CallOptions): Promise<Response> {
    const { baseUrl, apiKey, fetch: send = fetch } = this.#options;
    const { method = 'GET', body, headers, signal } = options;
    const response = await send(new URL(path, baseUrl), {
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

  /** What is no error of ours is the connection's, unless the caller itself gave up. */
  #translate(error: unknown, outer: AbortSignal | undefined): unknown {
    if (outer?.aborted === true) return outer.reason;
    if (error instanceof EngineError) return error;
    const { host } = new URL(this.#options.baseUrl);
    return new EngineError('ROUTER_UNREACHABLE', { host }, { cause: error });
  }
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

function merge(own: AbortSignal, outer: AbortSignal | undefined): AbortSignal {
  return outer === undefined ? own : AbortSignal.any([own, outer]);
}
