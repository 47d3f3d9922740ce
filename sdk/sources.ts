/** The sources that a router keeps for its caller, at levels `open` and `link`. */
import type {
  DocumentType,
  Passage,
  SourceLevel,
  SourceName,
  SourceSpec,
  SourceView,
} from '../domain/source.js';
import type { RouterHttp } from './http.js';
import type { SourceContext } from './passages.js';

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
   * @throws CONTEXT_SEALED — a sealed level: the client finds passages itself there: `AskOptions.context`. */
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
  async passages(query: string, context: SourceContext): Promise<Passage[]> {
    const call = { method: 'POST', body: { query, context } } as const;
    return (await this.#http.json<{ passages: Passage[] }>('/api/v1/context', call)).passages;
  }
}

function pathOf(source: SourceName): string {
  return `/api/v1/sources/${encodeURIComponent(source)}`;
}
