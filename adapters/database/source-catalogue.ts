/**
 * The catalogue of users' sources, in the engine's database: what is wanted of each, under which key,
 * and how far its ingestion has come.
 */
import type pg from 'pg';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import {
  SOURCE_LIMITS,
  type IngestCounts,
  type RemovalReceipt,
  type SourceDeclaration,
  type SourceDocument,
  type SourceLevel,
  type SourceName,
  type SourceSpec,
  type SourceState,
} from '../../domain/source.js';
import type { MigrationSet } from './migrate.js';
import { inTransaction, query } from './pool.js';

/** The catalogue's tables. */
export const SOURCE_SCHEMA: MigrationSet = { folder: 'source', schema: 'cortensor_source' };

export interface SourceId {
  /** Who may use it: a caller of the router. */
  readonly owner: string;
  readonly source: SourceName;
}

export interface SourceRecord extends SourceId {
  readonly revision: number;
  readonly level: SourceLevel;
  readonly spec: SourceSpec;
  /** Configured database that keeps the chunks; `null` = the engine's own. */
  readonly index: string | null;
  /** age file of the source's identity; `null` at level `open`, and of what is removed. */
  readonly keyFile: Uint8Array | null;
  readonly isRemoved: boolean;
  readonly state: SourceState;
  readonly counts: IngestCounts;
  readonly failure: string | null;
  readonly failureText: string | null;
  readonly receipt: RemovalReceipt | null;
}

/** What an ingestion has come to. */
export interface IngestNote {
  readonly state: SourceState;
  readonly counts?: IngestCounts;
  readonly failure?: string;
  readonly failureText?: string;
}

export interface SourceCatalogue {
  /** Declares a source, or changes what it is; one that was removed begins anew.
   * @param newKey - draws the key of a source that has none.
   * @throws SOURCE_INVALID — level or index of a source that is there are not those it has. */
  declare(
    id: SourceId,
    declaration: SourceDeclaration,
    newKey: () => Promise<Uint8Array>,
  ): Promise<SourceRecord>;
  /** Adds a document, in place of the one with its title.
   * @throws SOURCE_NOT_FOUND
   * @throws SOURCE_INVALID — it holds no documents, or as many as it may. */
  addDocument(id: SourceId, document: SourceDocument): Promise<SourceRecord>;
  /** Marks a source as not wanted any more. @throws SOURCE_NOT_FOUND */
  remove(id: SourceId): Promise<SourceRecord>;
  /** Also what is removed; `undefined` where there never was one. */
  read(id: SourceId): Promise<SourceRecord | undefined>;
  /** All of an owner but what is removed, by name. */
  list(owner: string): Promise<SourceRecord[]>;
  /** Notes how far the ingestion of a revision is; a later revision's note stands. */
  note(id: SourceId, revision: number, note: IngestNote): Promise<void>;
  /** Keeps the receipt of a removal, before anything is taken away: the first one stands. */
  receipt(id: SourceId, receipt: RemovalReceipt): Promise<RemovalReceipt>;
  /** Destroys the key of a removed source, which nothing of it can be opened without. */
  forget(id: SourceId): Promise<void>;
  /** Leaves nothing of a removed source but its receipt. */
  clear(id: SourceId): Promise<void>;
  /** True when a source that is not removed has the document. */
  usesDocument(cid: Cid): Promise<boolean>;
}

interface Row {
  readonly owner: string;
  readonly name: string;
  readonly revision: number;
  readonly level: SourceLevel;
  readonly spec: SourceSpec;
  readonly index_name: string | null;
  readonly key_file: Buffer | null;
  readonly is_removed: boolean;
  readonly state: SourceState;
  readonly counts: IngestCounts;
  readonly failure: string | null;
  readonly failure_text: string | null;
  readonly receipt: RemovalReceipt | null;
}

const TABLE = 'cortensor_source.source';

/** Opens the catalogue; its schema is `migrate`d by who opens the pool.
 * @throws of every call: DATABASE_UNREACHABLE, DATABASE_REFUSED. */
export function openSourceCatalogue(pool: pg.Pool): SourceCatalogue {
  const lock = async (client: pg.PoolClient, { owner, source }: SourceId) => {
    const [row] = await query<Row>(
      client,
      `select * from ${TABLE} where owner = $1 and name = $2 for update`,
      [owner, source],
    );
    return row === undefined ? undefined : recordOf(row);
  };
  const required = async (client: pg.PoolClient, id: SourceId) => {
    const record = await lock(client, id);
    if (record === undefined || record.isRemoved) {
      throw new EngineError('SOURCE_NOT_FOUND', { source: id.source });
    }
    return record;
  };
  const change = async (client: pg.PoolClient, { owner, source }: SourceId, spec: SourceSpec) => {
    const [row] = await query<Row>(
      client,
      `update ${TABLE} set spec = $3, revision = revision + 1, state = 'waiting', changed_at = now()
       where owner = $1 and name = $2 returning *`,
      [owner, source, JSON.stringify(spec)],
    );
    return recordOf(row);
  };

  return {
    async declare(id, { level, spec, index = null }, newKey) {
      const keyFile = level === 'open' ? null : await newKey();
      return inTransaction(pool, async (client) => {
        const [created] = await query<Row>(
          client,
          `insert into ${TABLE} (owner, name, level, spec, index_name, key_file)
           values ($1, $2, $3, $4, $5, $6) on conflict do nothing returning *`,
          [id.owner, id.source, level, JSON.stringify(spec), index, keyFile],
        );
        if (created !== undefined) return recordOf(created);
        const known = await lock(client, id);
        // What is being removed keeps its key and its place until it is gone.
        if (known?.isRemoved === true && known.state === 'removed') {
          const [row] = await query<Row>(
            client,
            `update ${TABLE} set level = $3, spec = $4, index_name = $5, key_file = $6,
               is_removed = false, state = 'waiting', revision = revision + 1, receipt = null,
               failure = null, failure_text = null, counts = default, changed_at = now()
             where owner = $1 and name = $2 returning *`,
            [id.owner, id.source, level, JSON.stringify(spec), index, keyFile],
          );
          return recordOf(row);
        }
        if (known?.isRemoved === true)
          throw invalid('source', 'a source that is not being removed');
        if (known?.level !== level) throw invalid('level', `${known?.level}, which it has`);
        if (known.index !== index) throw invalid('index', 'the one that it has');
        return change(client, id, spec);
      });
    },

    addDocument: (id, document) =>
      inTransaction(pool, async (client) => {
        const { spec } = await required(client, id);
        if (spec.kind !== 'documents') throw invalid('kind', 'documents');
        const others = spec.documents.filter(({ title }) => title !== document.title);
        if (others.length >= SOURCE_LIMITS.documents) {
          throw invalid('documents', `at most ${SOURCE_LIMITS.documents}`);
        }
        return change(client, id, { kind: 'documents', documents: [...others, document] });
      }),

    remove: (id) =>
      inTransaction(pool, async (client) => {
        await required(client, id);
        const [row] = await query<Row>(
          client,
          `update ${TABLE} set is_removed = true, revision = revision + 1, state = 'waiting',
             changed_at = now()
           where owner = $1 and name = $2 returning *`,
          [id.owner, id.source],
        );
        return recordOf(row);
      }),

    async read({ owner, source }) {
      const [row] = await query<Row>(
        pool,
        `select * from ${TABLE} where owner = $1 and name = $2`,
        [owner, source],
      );
      return row === undefined ? undefined : recordOf(row);
    },

    async list(owner) {
      const rows = await query<Row>(
        pool,
        `select * from ${TABLE} where owner = $1 and not is_removed order by name`,
        [owner],
      );
      return rows.map(recordOf);
    },

    async note({ owner, source }, revision, { state, counts, failure, failureText }) {
      await query(
        pool,
        `update ${TABLE} set state = $4, counts = coalesce($5, counts), failure = $6,
           failure_text = $7
         where owner = $1 and name = $2 and revision = $3`,
        [
          owner,
          source,
          revision,
          state,
          counts === undefined ? null : JSON.stringify(counts),
          failure ?? null,
          failureText ?? null,
        ],
      );
    },

    async receipt({ owner, source }, receipt) {
      const [row] = await query<Pick<Row, 'receipt'>>(
        pool,
        `update ${TABLE} set receipt = coalesce(receipt, $3)
         where owner = $1 and name = $2 and is_removed returning receipt`,
        [owner, source, JSON.stringify(receipt)],
      );
      return row?.receipt ?? receipt;
    },

    async forget({ owner, source }) {
      await query(
        pool,
        `update ${TABLE} set key_file = null where owner = $1 and name = $2 and is_removed`,
        [owner, source],
      );
    },

    async clear({ owner, source }) {
      await query(
        pool,
        `update ${TABLE} set spec = jsonb_build_object('kind', spec->'kind'), state = 'removed',
           counts = default, failure = null, failure_text = null
         where owner = $1 and name = $2 and is_removed`,
        [owner, source],
      );
    },

    async usesDocument(cid) {
      const rows = await query(
        pool,
        `select 1 from ${TABLE}
         where not is_removed and spec->'documents' @> jsonb_build_array(jsonb_build_object('cid', $1::text))
         limit 1`,
        [cid],
      );
      return rows.length > 0;
    },
  };
}

function recordOf(row: Row | undefined): SourceRecord {
  if (row === undefined) throw new EngineError('INVARIANT_BROKEN', { what: 'row of a source' });
  return {
    owner: row.owner,
    source: row.name,
    revision: row.revision,
    level: row.level,
    spec: row.spec,
    index: row.index_name,
    keyFile: row.key_file,
    isRemoved: row.is_removed,
    state: row.state,
    counts: row.counts,
    failure: row.failure,
    failureText: row.failure_text,
    receipt: row.receipt,
  };
}

function invalid(field: string, expected: string): EngineError {
  return new EngineError('SOURCE_INVALID', { field, expected });
}
