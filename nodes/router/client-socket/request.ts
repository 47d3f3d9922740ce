/**
 * One request of a client's WebSocket. It goes through the same door and to the same routes as over
 * HTTP, so that it is checked, counted and answered alike; its stream is read as fast as the client
 * takes it, and no faster.
 */
import { randomUUID } from 'node:crypto';
import { taskIdOf } from '../../../adapters/seal/task-id.js';
import type { ErrorBody } from '../../../domain/api.js';
import { EngineError } from '../../../domain/errors.js';
import type { TaskId } from '../../../domain/ids.js';
import type { TaskRecord } from '../../../domain/lease.js';
import type { ClientMessage, ServerMessage } from '../../../domain/stream.js';
import { errorBody, publicError } from '../errors.js';
import { Credit } from './credit.js';
import type { Outbox } from './outbox.js';
import { chatTranslator, eventsOf, sealedTranslator } from './translate.js';

export type RequestMessage = Extract<ClientMessage, { type: 'ask' | 'resume' }>;

/** Puts a request to the router's own routes, as the socket's caller.
 * @param sent - aborts when nobody waits for the answer any more. */
export type CallRoute = (path: string, init: RequestInit, sent: AbortSignal) => Promise<Response>;

export interface RequestDeps {
  readonly call: CallRoute;
  readonly outbox: Outbox;
  readonly stalledMs: number;
  /** Its last message is on its way. */
  readonly onEnd: () => void;
}

export class ClientRequest {
  readonly #message: RequestMessage;
  readonly #deps: RequestDeps;
  readonly #credit: Credit;
  readonly #idempotencyKey: string;
  /** Ends the reading of the answer. */
  readonly #reading = new AbortController();
  /** Gives its place among the router's requests back. */
  readonly #sent = new AbortController();
  /** Settled when the route has taken the request on, or refused it. */
  readonly #answered: Promise<Response>;
  #isOver = false;

  /** Puts the request at once. */
  constructor(message: RequestMessage, deps: RequestDeps) {
    this.#message = message;
    this.#deps = deps;
    this.#credit = new Credit(message.credit);
    this.#idempotencyKey = keyOf(message);
    this.#answered = this.#put();
  }

  /** Answers it, up to its last message; never rejects. */
  async run(): Promise<void> {
    const { id } = this.#message;
    let requestId = '';
    try {
      const response = await this.#answered;
      requestId = response.headers.get('x-request-id') ?? '';
      if (!response.ok || response.body === null) {
        this.#end({ type: 'error', id, ends: true, ...(await refusalOf(response)) });
      } else {
        await this.#relay(response, response.body, requestId);
      }
    } catch (error) {
      // Whoever stopped the reading says how it ends.
      if (this.#reading.signal.aborted) return;
      this.#end({ type: 'error', id, ends: true, ...errorBody(publicError(error), requestId) });
    }
  }

  /** Lets more messages out. */
  grant(more: number): void {
    this.#credit.add(more);
  }

  /** Ends it: the task too, free, where its answer has not begun; else it goes on without a reader.
   * @param keepTask - it goes on in any case. */
  async cancel(keepTask: boolean): Promise<void> {
    if (this.#reading.signal.aborted) return;
    this.#reading.abort();
    const { id } = this.#message;
    try {
      const end = keepTask ? underWay() : await this.#cancelTask();
      this.#end({ type: 'error', id, ends: true, ...end });
    } catch (error) {
      this.#end({ type: 'error', id, ends: true, ...errorBody(publicError(error), '') });
    }
  }

  /** The client has gone; the task goes on, and may be resumed. */
  leave(): void {
    this.#isOver = true;
    this.#reading.abort();
    this.#sent.abort();
  }

  async #relay(
    response: Response,
    body: ReadableStream<Uint8Array>,
    requestId: string,
  ): Promise<void> {
    const { id, kind } = this.#message;
    const { outbox, stalledMs } = this.#deps;
    const { signal } = this.#reading;
    const taskId = (response.headers.get('x-cortensor-task') ?? '') as TaskId;
    if (!signal.aborted) outbox.post({ type: 'accepted', id, taskId });
    const head = { id, taskId, requestId };
    const translate = kind === 'chat' ? chatTranslator(head) : sealedTranslator(head);
    for await (const event of eventsOf(body, signal)) {
      const message = translate(event);
      if (message === null) continue;
      if (message.type === 'ended' || message.type === 'error') return this.#end(message);
      await this.#credit.take(stalledMs, signal);
      await outbox.send(message);
    }
    if (!signal.aborted) throw new EngineError('ROUTER_LEASE_LOST');
  }

  /** Its last message; only the first counts. */
  #end(message: ServerMessage): void {
    if (this.#isOver) return;
    this.leave();
    void this.#deps.outbox.send(message).then(this.#deps.onEnd);
  }

  #put(): Promise<Response> {
    const message = this.#message;
    const { session, kind, after } = message;
    const path = `/api/v1/sessions/${session}/tasks`;
    const headers = new Headers({ 'content-type': 'application/json' });
    if (after !== undefined) headers.set('last-event-id', String(after));
    const init = { headers, signal: this.#reading.signal };
    if (message.type === 'resume') {
      const what = kind === 'chat' ? 'answer' : 'events';
      return this.#deps.call(`${path}/${message.taskId}/${what}`, init, this.#sent.signal);
    }
    let body: object = message.body;
    if (message.kind === 'chat') {
      headers.set('x-cortensor-session', session);
      headers.set('idempotency-key', this.#idempotencyKey);
      body = streamed(message.body);
    }
    const post = { ...init, method: 'POST', body: JSON.stringify(body) };
    const route = kind === 'chat' ? '/v1/chat/completions' : path;
    return this.#deps.call(route, post, this.#sent.signal);
  }

  async #cancelTask(): Promise<Refusal> {
    const { session } = this.#message;
    const taskId =
      this.#message.type === 'resume'
        ? this.#message.taskId
        : await taskIdOf(session, this.#idempotencyKey);
    const path = `/api/v1/sessions/${session}/tasks/${taskId}/cancel`;
    // Of its own: the request's place may be the last one that there is.
    const done = new AbortController();
    const ask = () => this.#deps.call(path, { method: 'POST' }, done.signal);
    try {
      let response = await ask();
      if (response.status === 404) {
        // It was on its way to being accepted.
        const answer = await this.#answered;
        if (!answer.ok) return await refusalOf(answer);
        response = await ask();
      }
      if (!response.ok) return await refusalOf(response);
      const { outcome } = (await response.json()) as TaskRecord;
      const code = outcome === 'cancelled' ? 'TASK_CANCELLED' : 'TASK_UNDER_WAY';
      const requestId = response.headers.get('x-request-id') ?? '';
      return errorBody(new EngineError(code, { taskId }), requestId);
    } finally {
      done.abort();
    }
  }
}

type Refusal = Pick<Extract<ServerMessage, { type: 'error' }>, 'error' | 'retryAfterMs'>;

function underWay(): Refusal {
  return errorBody(new EngineError('TASK_UNDER_WAY'), '');
}

async function refusalOf(response: Response): Promise<Refusal> {
  const { error } = (await response.clone().json()) as ErrorBody;
  const retryAfterMs = response.headers.get('retry-after-ms');
  return retryAfterMs === null ? { error } : { error, retryAfterMs: Number(retryAfterMs) };
}

/** Of a request that is not sound, any: its route refuses it. */
function keyOf(message: RequestMessage): string {
  if (message.type === 'resume') return '';
  const key: unknown =
    message.kind === 'chat' ? message.idempotencyKey : message.body.idempotencyKey;
  return typeof key === 'string' ? key : randomUUID();
}

/** A chat's body, as a stream with its usage. What is not an object is left for the route to refuse. */
function streamed(body: Readonly<Record<string, unknown>>): object {
  const options = body['stream_options'] ?? {};
  const isObject = typeof options === 'object' && !Array.isArray(options);
  const stream_options = isObject ? { ...options, include_usage: true } : options;
  return { ...body, stream: true, stream_options };
}
