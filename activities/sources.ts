/**
 * Users' sources, step by step: a document or table becomes chunks, what is new of them is embedded,
 * sealed and indexed, what is gone is dropped. Every step finds what it has done before, so it may
 * stop anywhere.
 */
import { Context } from '@temporalio/activity';
import type { SourceCatalogue, SourceRecord } from '../adapters/database/source-catalogue.js';
import type { IndexedChunk, SourceIndex } from '../adapters/database/source-index.js';
import type { TextRow, VectorRow } from '../adapters/database/user/table.js';
import type { BlockStore } from '../adapters/ipfs/block-store.js';
import type { TextChunk } from '../adapters/source/chunks.js';
import type { SourceKey, SourceKeys } from '../adapters/source/keys.js';
import type { Section } from '../adapters/source/sections.js';
import { EngineError, findEngineError } from '../domain/errors.js';
import type { Cid } from '../domain/ids.js';
import {
  SOURCE_LIMITS,
  type DocumentType,
  type IngestCounts,
  type RemovalReceipt,
  type SourceSpec,
} from '../domain/source.js';
import { translated } from './failure.js';

export interface SourceRef {
  readonly owner: string;
  readonly source: string;
}

export interface IngestPlan {
  readonly revision: number;
  readonly isRemoved: boolean;
  /** Documents; 1 for a table or vectors. */
  readonly items: number;
}

export interface SourceActivities {
  /** Says what is wanted of a source now. */
  planIngest(source: SourceRef): Promise<IngestPlan>;
  /** Brings one document, or all rows, into the index.
   * @param input - `item`: from 0. A later revision makes it do nothing. */
  ingestItem(
    input: SourceRef & { readonly revision: number; readonly item: number },
  ): Promise<Omit<IngestCounts, 'removed'>>;
  /** Drops what the revision has no more, and calls the source ready.
   * @returns how many chunks it dropped. */
  finishIngest(
    input: SourceRef & { readonly revision: number; readonly counts: IngestCounts },
  ): Promise<number>;
  /** Notes how far a run is, or why it ended. */
  noteIngest(
    input: SourceRef & {
      readonly revision: number;
      readonly counts: IngestCounts;
      readonly failure?: { readonly code: string; readonly text: string };
    },
  ): Promise<void>;
  /** Destroys the key, then chunks, vectors and blocks. */
  removeSource(source: SourceRef): Promise<RemovalReceipt>;
}

export interface SourceActivityDeps {
  readonly catalogue: SourceCatalogue;
  /** The index that a source is in, its schema up to date.
   * @throws SOURCE_INVALID — no such database, or it is not the owner's. */
  readonly openIndex: (source: Pick<SourceRecord, 'owner' | 'index'>) => Promise<SourceIndex>;
  readonly keys: SourceKeys;
  readonly store: Pick<BlockStore, 'put' | 'unpin'>;
  /** Reads a document, hashed. */
  readonly readContent: (cid: Cid, maxBytes: number, signal: AbortSignal) => Promise<Uint8Array>;
  readonly extract: (
    bytes: Uint8Array,
    type: DocumentType,
    signal: AbortSignal,
  ) => Promise<readonly Section[]>;
  readonly chunk: (sections: readonly Section[]) => readonly TextChunk[];
  readonly embed: (texts: readonly string[]) => Promise<readonly Float32Array[]>;
  readonly termsOf: (text: string, key: Uint8Array) => Map<string, number>;
  /** Reads rows of a user's database.
   * @throws SOURCE_INVALID — it is not the owner's, or as `readTable` and `readVectors`. */
  readonly readRows: (
    owner: string,
    spec: Exclude<SourceSpec, { kind: 'documents' }>,
  ) => Promise<readonly (TextRow | VectorRow)[]>;
  /** SHA-256 over lines, with 0x. */
  readonly digestOf: (lines: readonly string[]) => `0x${string}`;
}

/** Chunks that are embedded and written at once; after each such batch the activity is heard of. */
const BATCH = 16;
/** Chunks that are dropped at once. */
const DROP = 200;

/** What is to be indexed: a chunk with its title, and its vector where there is one already. */
interface Entry extends TextChunk {
  readonly title: string;
  readonly vector?: Float32Array;
}

export function createSourceActivities(deps: SourceActivityDeps): SourceActivities {
  const { catalogue, store } = deps;

  const required = async ({ owner, source }: SourceRef): Promise<SourceRecord> => {
    const record = await catalogue.read({ owner, source });
    if (record === undefined) throw new EngineError('SOURCE_NOT_FOUND', { source });
    return record;
  };

  return translated<SourceActivities>({
    async planIngest(source) {
      const { revision, isRemoved, spec, state } = await required(source);
      if (!isRemoved && state !== 'ready')
        await catalogue.note(source, revision, { state: 'ingesting' });
      const items = spec.kind === 'documents' ? spec.documents.length : 1;
      return { revision, isRemoved, items };
    },

    async ingestItem({ owner, source, revision, item }) {
      const record = await required({ owner, source });
      if (record.revision !== revision) return { items: 0, added: 0, unchanged: 0 };
      const key = await deps.keys.open(record.keyFile);
      const index = await deps.openIndex(record);
      const { entries, items } = await readEntries(deps, record, item, key);
      const counts = await indexEntries(deps, record, index, key, entries);
      return { items, ...counts };
    },

    async finishIngest({ owner, source, revision, counts }) {
      const record = await required({ owner, source });
      if (record.revision !== revision) return 0;
      const index = await deps.openIndex(record);
      const removed = await dropStale(index, record, revision);
      await catalogue.note(record, revision, { state: 'ready', counts: { ...counts, removed } });
      return removed;
    },

    async noteIngest({ owner, source, revision, counts, failure }) {
      await catalogue.note({ owner, source }, revision, {
        state: failure === undefined ? 'ingesting' : 'failed',
        counts,
        ...(failure === undefined ? {} : { failure: failure.code, failureText: failure.text }),
      });
    },

    async removeSource({ owner, source }) {
      const record = await required({ owner, source });
      if (!record.isRemoved)
        throw new EngineError('SOURCE_INVALID', { source, expected: 'removed' });
      const index = await deps.openIndex(record);
      const digests = await index.digests(record);
      const documents = record.spec.kind === 'documents' ? (record.spec.documents ?? []) : [];
      const receipt = await catalogue.receipt(record, {
        chunks: digests.length,
        vectors: digests.length,
        blocks: digests.length + documents.length,
        digest: deps.digestOf(digests),
        removedAt: new Date().toISOString(),
      });
      // First of all: from here on nobody opens what copies there may be.
      await catalogue.forget(record);
      await dropStale(index, record, null);
      for (const { cid } of documents) {
        if (!(await catalogue.usesDocument(cid))) await store.unpin(cid);
      }
      await catalogue.clear(record);
      return receipt;
    },
  });

  /** Gives chunks' blocks up, then forgets the chunks: the other way round nobody would know them. */
  async function dropStale(
    index: SourceIndex,
    record: SourceRecord,
    revision: number | null,
  ): Promise<number> {
    let dropped = 0;
    for (;;) {
      const stale = await index.stale(record, revision, DROP);
      if (stale.length === 0) return dropped;
      for (const { cid, isShared } of stale) if (!isShared) await store.unpin(cid);
      await index.drop(
        record,
        stale.map(({ digest }) => digest),
      );
      dropped += stale.length;
      Context.current().heartbeat(dropped);
    }
  }
}

async function readEntries(
  deps: SourceActivityDeps,
  { owner, spec }: SourceRecord,
  item: number,
  key: SourceKey,
): Promise<{ readonly entries: readonly Entry[]; readonly items: number }> {
  if (spec.kind !== 'documents') {
    const rows = await deps.readRows(owner, spec);
    Context.current().heartbeat(rows.length);
    return { entries: rows.flatMap((row) => entriesOfRow(deps, row)), items: rows.length };
  }
  const document = spec.documents[item];
  if (document === undefined) return { entries: [], items: 0 };
  const { cid, type, title } = document;
  const signal = Context.current().cancellationSignal;
  // Sealed, it is a little longer.
  const sealed = await deps.readContent(cid, SOURCE_LIMITS.documentBytes * 1.01, signal);
  const bytes = await key.open(sealed);
  try {
    const sections = await deps.extract(bytes, type, signal);
    return { entries: deps.chunk(sections).map((chunk) => ({ ...chunk, title })), items: 1 };
  } catch (error) {
    const known = findEngineError(error);
    if (known?.code !== 'SOURCE_UNREADABLE') throw error;
    throw new EngineError(known.code, { ...known.details, document: cid }, { cause: error });
  }
}

/** A row with a vector is one chunk, whatever its length: the vector is of all of it. */
function entriesOfRow(deps: SourceActivityDeps, row: TextRow | VectorRow): readonly Entry[] {
  const { title, text } = row;
  if ('vector' in row) {
    const vector = Float32Array.from(row.vector);
    return [{ headings: [], page: null, offset: 0, text, title, vector }];
  }
  const section = { headings: [], page: null, offset: 0, text };
  return deps.chunk([section]).map((chunk) => ({ ...chunk, title }));
}

async function indexEntries(
  deps: SourceActivityDeps,
  record: SourceRecord,
  index: SourceIndex,
  key: SourceKey,
  entries: readonly Entry[],
): Promise<Pick<IngestCounts, 'added' | 'unchanged'>> {
  const { revision } = record;
  const byDigest = new Map(entries.map((entry) => [key.digest(wordingOf(entry)), entry]));
  const all = [...byDigest];
  let [added, unchanged] = [0, 0];
  if ((await index.count(record)) + all.length > SOURCE_LIMITS.chunks * 2) {
    throw new EngineError('SOURCE_INVALID', { expected: `at most ${SOURCE_LIMITS.chunks} chunks` });
  }
  for (let from = 0; from < all.length; from += BATCH) {
    Context.current().heartbeat(from);
    Context.current().cancellationSignal.throwIfAborted();
    const batch = all.slice(from, from + BATCH);
    const known = await index.known(
      record,
      batch.map(([digest]) => digest),
    );
    const kept = batch.filter(([digest]) => known.has(digest));
    const fresh = batch.filter(([digest]) => !known.has(digest));
    await index.keep(record, revision, kept.map(placeOf));
    await index.add(record, revision, await indexed(deps, key, fresh));
    added += fresh.length;
    unchanged += kept.length;
  }
  return { added, unchanged };
}

async function indexed(
  deps: SourceActivityDeps,
  key: SourceKey,
  fresh: readonly (readonly [string, Entry])[],
): Promise<IndexedChunk[]> {
  const unknown = fresh.filter(([, { vector }]) => vector === undefined);
  const embedded = await deps.embed(unknown.map(([, entry]) => wordingOf(entry)));
  const vectors = new Map(unknown.map(([digest], i) => [digest, embedded[i]]));
  return Promise.all(
    fresh.map(async ([digest, entry]) => {
      const vector = entry.vector ?? vectors.get(digest);
      if (vector === undefined) throw new EngineError('INVARIANT_BROKEN', { what: 'vector' });
      const cid = await deps.store.put(await key.seal(new TextEncoder().encode(entry.text)));
      const terms = deps.termsOf(wordingOf(entry), key.termKey);
      return { ...placeOf([digest, entry]), cid, vector, terms };
    }),
  );
}

function placeOf([digest, { title, headings, page, offset }]: readonly [string, Entry]) {
  return { digest, title: [title, ...headings].join(' › ').slice(0, 500), page, offset };
}

/** What a chunk is found by: its words under its title and headings. */
function wordingOf({ title, headings, text }: Entry): string {
  return `${[title, ...headings].join(' › ').slice(0, 200)}\n${text}`;
}
