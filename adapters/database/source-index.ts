/**
 * Chunks that can be found: by vector, and by blinded words (BM25). One schema for the engine's
 * PostgreSQL and a user's own; where that has pgvector, vectors get an HNSW index, else every vector
 * of a source is compared.
 * @see https://github.com/pgvector/pgvector#hnsw, Robertson and Zaragoza 2009, 3.1 (BM25)
 */
import type pg from 'pg';
import { findEngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import { migrate, type MigrationSet } from './migrate.js';
import { inTransaction, query } from './pool.js';
import type { SourceId } from './source-catalogue.js';

const INDEX_SCHEMA: MigrationSet = { folder: 'source-index', schema: 'cortensor_index' };
const CHUNK = 'cortensor_index.chunk';
const TERM = 'cortensor_index.term';

/** Where a chunk stands now. */
export interface ChunkPlace {
  readonly digest: string;
  readonly title: string;
  readonly page: number | null;
  readonly offset: number;
}

export interface IndexedChunk extends ChunkPlace {
  readonly cid: Cid;
  /** Of unit length. */
  readonly vector: Float32Array;
  /** Blinded words in hex, and how often each comes. */
  readonly terms: ReadonlyMap<string, number>;
}

/** A chunk that was found. */
export interface ChunkHit {
  readonly source: string;
  readonly cid: Cid;
  readonly digest: string;
  readonly title: string;
  readonly page: number | null;
  readonly offset: number;
  /** Cosine similarity to the question. */
  readonly similarity: number;
  /** BM25 of the question's words; 0 where none is in it. */
  readonly relevance: number;
}

export interface SourceIndex {
  /** Brings the schema up to date; with pgvector, makes its index. */
  prepare(): Promise<void>;
  /** @returns those of the digests that the source has a chunk of. */
  known(id: SourceId, digests: readonly string[]): Promise<Set<string>>;
  /** Takes chunks over into a revision, at their places of now. */
  keep(id: SourceId, revision: number, places: readonly ChunkPlace[]): Promise<void>;
  /** Adds chunks; those that are there already stay as they are. */
  add(id: SourceId, revision: number, chunks: readonly IndexedChunk[]): Promise<void>;
  /** Chunks that a revision has no more, some at a time; `null`: all chunks of the source.
   * @returns `isShared`: a chunk that stays has the same block. */
  stale(
    id: SourceId,
    revision: number | null,
    limit: number,
  ): Promise<{ readonly digest: string; readonly cid: Cid; readonly isShared: boolean }[]>;
  drop(id: SourceId, digests: readonly string[]): Promise<void>;
  count(id: SourceId): Promise<number>;
  /** Digests of all chunks, sorted. */
  digests(id: SourceId): Promise<string[]>;
  /** True when a block is a chunk of the source. */
  holds(id: SourceId, cid: Cid): Promise<boolean>;
  /** The chunks nearest to a vector, and those that share the most telling words with the question.
   * @param terms - blinded under the source's own key.
   * @param limit - of each of the two kinds. */
  search(
    id: SourceId,
    question: { readonly vector: Float32Array; readonly terms: readonly string[] },
    limit: number,
  ): Promise<ChunkHit[]>;
  close(): Promise<void>;
}

/** Saturation of a word's count, and how much a chunk's length matters: the textbook's values. */
const BM25 = { k: 1.2, b: 0.75 } as const;

/** Opens an index on a database.
 * @param dimensions - of the embedding model.
 * @throws of every call: DATABASE_UNREACHABLE, DATABASE_REFUSED. */
export function openSourceIndex(pool: pg.Pool, dimensions: number): SourceIndex {
  /** `undefined` until asked. */
  let hasVectors: Promise<boolean> | undefined;
  const usesVectors = () => {
    hasVectors ??= readExtension(pool);
    hasVectors.catch(() => (hasVectors = undefined));
    return hasVectors;
  };
  const cast = (expression: string) => `(${expression}::vector(${dimensions}))`;

  return {
    async prepare() {
      await migrate(pool, INDEX_SCHEMA);
      await createExtension(pool);
      hasVectors = undefined;
      if (!(await usesVectors())) return;
      await alone(
        pool,
        `create index if not exists chunk_vector on ${CHUNK}
           using hnsw (${cast('vector')} vector_cosine_ops)`,
      );
    },

    async known({ owner, source }, digests) {
      const rows = await query<{ digest: string }>(
        pool,
        `select digest from ${CHUNK} where owner = $1 and source = $2 and digest = any($3)`,
        [owner, source, digests],
      );
      return new Set(rows.map(({ digest }) => digest));
    },

    async keep({ owner, source }, revision, places) {
      await query(
        pool,
        `update ${CHUNK} as chunk set revision = $3, title = place.title, page = place.page,
           text_offset = place.text_offset
         from unnest($4::text[], $5::text[], $6::integer[], $7::integer[])
           as place (digest, title, page, text_offset)
         where owner = $1 and source = $2 and chunk.digest = place.digest`,
        [owner, source, revision, ...columnsOf(places)],
      );
    },

    async add({ owner, source }, revision, chunks) {
      await inTransaction(pool, async (client) => {
        for (const chunk of chunks) {
          const { digest, cid, title, page, offset, vector, terms } = chunk;
          const length = [...terms.values()].reduce((sum, count) => sum + count, 0);
          const [row] = await query<{ id: string }>(
            client,
            `insert into ${CHUNK} (owner, source, digest, revision, cid, title, page, text_offset,
               length, vector)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict (owner, source, digest) do nothing returning id`,
            [owner, source, digest, revision, cid, title, page, offset, length, [...vector]],
          );
          if (row === undefined) continue;
          await query(
            client,
            `insert into ${TERM} (owner, source, term, chunk_id, frequency)
             select $1, $2, term, $3, frequency
             from unnest($4::text[], $5::integer[]) as word (term, frequency)`,
            [owner, source, row.id, [...terms.keys()], [...terms.values()]],
          );
        }
      });
    },

    async stale({ owner, source }, revision, limit) {
      const rows = await query<{ digest: string; cid: string; is_shared: boolean }>(
        pool,
        `select digest, cid, exists (
           select 1 from ${CHUNK} as other
           where other.cid = chunk.cid and other.id <> chunk.id
             and ((other.owner, other.source) <> ($1, $2) or other.revision = $3)) as is_shared
         from ${CHUNK} as chunk
         where owner = $1 and source = $2 and ($3::integer is null or revision <> $3)
         order by digest limit $4`,
        [owner, source, revision, limit],
      );
      return rows.map(({ digest, cid, is_shared: isShared }) => ({ digest, cid, isShared }));
    },

    async drop({ owner, source }, digests) {
      await query(
        pool,
        `delete from ${CHUNK} where owner = $1 and source = $2 and digest = any($3)`,
        [owner, source, digests],
      );
    },

    async count({ owner, source }) {
      const [row] = await query<{ count: number }>(
        pool,
        `select count(*)::integer as count from ${CHUNK} where owner = $1 and source = $2`,
        [owner, source],
      );
      return row?.count ?? 0;
    },

    async digests({ owner, source }) {
      const rows = await query<{ digest: string }>(
        pool,
        `select digest from ${CHUNK} where owner = $1 and source = $2 order by digest`,
        [owner, source],
      );
      return rows.map(({ digest }) => digest);
    },

    async holds({ owner, source }, cid) {
      const rows = await query(
        pool,
        `select 1 from ${CHUNK} where owner = $1 and source = $2 and cid = $3 limit 1`,
        [owner, source, cid],
      );
      return rows.length > 0;
    },

    async search({ owner, source }, { vector, terms }, limit) {
      const isApproximate = await usesVectors();
      const asked = '$3::real[]';
      const distance = `${cast('vector')} <=> ${cast(asked)}`;
      const similarity = isApproximate
        ? `1 - (${distance})`
        : `cortensor_index.similarity(vector, ${asked})`;
      const order = isApproximate ? distance : `${similarity} desc, id`;
      const rows = await inTransaction(pool, async (client) => {
        if (isApproximate) await query(client, 'set local hnsw.iterative_scan = strict_order');
        return query<HitRow>(
          client,
          `with total as (
             select count(*) as chunks, greatest(avg(length), 1) as length from ${CHUNK}
             where owner = $1 and source = $2
           ), rare as (
             select term, ln(1 + (max(chunks) - count(*) + 0.5) / (count(*) + 0.5)) as weight
             from ${TERM}, total where owner = $1 and source = $2 and term = any($4) group by term
           ), worded as (
             select chunk.id, sum(weight * frequency * (${BM25.k} + 1) / (frequency + ${BM25.k} *
               (1 - ${BM25.b} + ${BM25.b} * chunk.length / total.length)))::double precision
               as relevance
             from ${TERM} as term join rare using (term)
               join ${CHUNK} as chunk on chunk.id = chunk_id, total
             where term.owner = $1 and term.source = $2 group by chunk.id
             order by relevance desc, chunk.id limit $5
           ), nearest as (
             select id from ${CHUNK} where owner = $1 and source = $2 order by ${order} limit $5
           )
           select cid, digest, title, page, text_offset, ${similarity} as similarity,
             coalesce(relevance, 0) as relevance
           from ${CHUNK} as chunk left join worded on worded.id = chunk.id
           where chunk.id in (select id from nearest union select id from worded)`,
          [owner, source, [...vector], terms, limit],
        );
      });
      return rows.map(({ text_offset: offset, ...row }) => ({ ...row, offset, source }));
    },

    close: () => pool.end(),
  };
}

type HitRow = Omit<ChunkHit, 'offset' | 'source'> & { readonly text_offset: number };

function columnsOf(places: readonly ChunkPlace[]): unknown[] {
  return [
    places.map(({ digest }) => digest),
    places.map(({ title }) => title),
    places.map(({ page }) => page),
    places.map(({ offset }) => offset),
  ];
}

/** From 0.8 on, a scan of the index goes on until a source's own chunks are enough. */
async function readExtension(pool: pg.Pool): Promise<boolean> {
  const [row] = await query<{ version: string }>(
    pool,
    `select extversion as version from pg_extension where extname = 'vector'`,
  );
  const [major = 0, minor = 0] = row?.version.split('.').map(Number) ?? [];
  return major > 0 || minor >= 8;
}

/** A database without the extension, or a role that may not create it, is searched exactly. */
async function createExtension(pool: pg.Pool): Promise<void> {
  const offered = await query(pool, `select 1 from pg_available_extensions where name = 'vector'`);
  if (offered.length === 0) return;
  try {
    await alone(pool, 'create extension if not exists vector');
  } catch (error) {
    if (findEngineError(error)?.code !== 'DATABASE_REFUSED') throw error;
  }
}

/** `if not exists` does not keep two processes from creating at once. */
async function alone(pool: pg.Pool, statement: string): Promise<void> {
  await inTransaction(pool, async (client) => {
    await query(client, `select pg_advisory_xact_lock(hashtext('cortensor_index'))`);
    await query(client, statement);
  });
}
