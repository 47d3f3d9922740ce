/**
 * A user's own data in requests. At `open` and `link` the router keeps sources and retrieves; at the
 * sealed levels the user's client does, from an index that only the user holds, and the router never
 * sees a word of it.
 */
import {
  contextMessage,
  withinBudget,
  type Citation,
  type ContextAsk,
  type DocumentType,
  type Passage,
  type SourceLevel,
  type SourceName,
  type SourceSpec,
  type SourceView,
} from '../domain/source.js';
import type { ChatRequest } from '../domain/task.js';
import type { AnswerStream } from './answer.js';
import type { RouterHttp } from './http.js';
import type { AskOptions, SessionHandle } from './session.js';

/** A passage as a user's own index has it; its number is given when it is asked with. */
export type OwnPassage = Omit<Passage, 'n'>;

export interface CitedStream {
  readonly answer: AnswerStream;
  /** Where the passages are from, by the numbers that the answer cites. */
  readonly citations: readonly Citation[];
}

/** Asks with passages that this client has retrieved itself, at any level: they are fenced off from
 * instructions here, and sealed with the prompt.
 * @param passages - best first; what is over 16 KiB of text is left out. */
export async function askWithPassages(
  session: Pick<SessionHandle, 'ask'>,
  request: Pick<ChatRequest, 'messages'> & Partial<ChatRequest>,
  passages: readonly OwnPassage[],
  options: AskOptions = {},
): Promise<CitedStream> {
  const { idempotencyKey = crypto.randomUUID() } = options;
  const used = withinBudget(passages.map((passage) => ({ ...passage, n: 0 })));
  const message = contextMessage(used, await markOf(idempotencyKey));
  const grounded = { ...request, messages: [message, ...request.messages] };
  const answer = session.ask(grounded, { ...options, idempotencyKey });
  return { answer, citations: used.map(({ text: _, ...citation }) => citation) };
}

/** Of the key, so that a request that is repeated is the same one. */
async function markOf(idempotencyKey: string): Promise<string> {
  const bytes = new TextEncoder().encode(`passages\n${idempotencyKey}`);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...digest.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The sources of one API key or wallet, as its router keeps them. Made by `CortensorClient`. */
export class SourceClient {
  readonly #http: RouterHttp;

  constructor(http: RouterHttp) {
    this.#http = http;
  }

  /** Lists sources by name. */
  list(): Promise<SourceView[]> {
    return this.#http.json('/api/v1/sources');
  }

  /** Declares a source, or changes what it is; its ingestion goes on by itself.
   * @param declaration - `level`: `link` where not given; `index`: configured database that keeps its
   *   chunks.
   * @throws SOURCE_INVALID, REQUEST_INVALID
   * @throws CONTEXT_SEALED — a sealed level: use `askWithPassages`. */
  declare(
    source: SourceName,
    declaration: {
      readonly spec: SourceSpec | { readonly kind: 'documents' };
      readonly level?: SourceLevel;
      readonly index?: string;
    },
  ): Promise<SourceView> {
    return this.#http.json(pathOf(source), { method: 'PUT', body: declaration });
  }

  /** Shows a source, and how far its ingestion is. @throws SOURCE_NOT_FOUND */
  show(source: SourceName): Promise<SourceView> {
    return this.#http.json(pathOf(source));
  }

  /** Uploads a document of at most 16 MiB, in place of the one with its title.
   * @throws SOURCE_NOT_FOUND, CONTENT_TOO_LARGE */
  upload(
    source: SourceName,
    document: { readonly title: string; readonly type: DocumentType; readonly bytes: Uint8Array },
  ): Promise<SourceView> {
    const query = new URLSearchParams({ title: document.title });
    return this.#http.json(`${pathOf(source)}/documents?${query.toString()}`, {
      method: 'POST',
      body: document.bytes,
      headers: { 'content-type': document.type },
    });
  }

  /** Stops an ingestion; what it has indexed stays. @throws SOURCE_NOT_FOUND */
  cancel(source: SourceName): Promise<SourceView> {
    return this.#http.json(`${pathOf(source)}/cancel`, { method: 'POST' });
  }

  /** Removes a source: its key first. `show` has the receipt when all is gone.
   * @throws SOURCE_NOT_FOUND */
  remove(source: SourceName): Promise<SourceView> {
    return this.#http.json(pathOf(source), { method: 'DELETE' });
  }

  /** Finds the passages that fit a question, best first. @throws SOURCE_NOT_FOUND */
  async passages(
    query: string,
    context: Pick<ContextAsk, 'sources'> & Partial<ContextAsk>,
  ): Promise<Passage[]> {
    const call = { method: 'POST', body: { query, context } } as const;
    return (await this.#http.json<{ passages: Passage[] }>('/api/v1/context', call)).passages;
  }
}

function pathOf(source: SourceName): string {
  return `/api/v1/sources/${encodeURIComponent(source)}`;
}
