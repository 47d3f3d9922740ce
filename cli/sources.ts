/** Everything that users' sources need, put together once for the workers and once for the router. */
import { createHash } from 'node:crypto';
import type { Client } from '@temporalio/client';
import type pg from 'pg';
import type { SourceActivityDeps } from '../activities/sources.js';
import { migrate } from '../adapters/database/migrate.js';
import {
  openSourceCatalogue,
  SOURCE_SCHEMA,
  type SourceRecord,
} from '../adapters/database/source-catalogue.js';
import { openSourceIndex, type SourceIndex } from '../adapters/database/source-index.js';
import { readCertificates } from '../adapters/database/user/access.js';
import { openUserDatabase, type UserDatabase } from '../adapters/database/user/database.js';
import { readTable, readVectors } from '../adapters/database/user/table.js';
import { EMBEDDING_DIMENSIONS, openEmbedder } from '../adapters/embedding/embedder.js';
import { openTokenCounter } from '../adapters/embedding/token-counter.js';
import { addContent, cidOfContent } from '../adapters/ipfs/content-store.js';
import type { HeldStore } from '../adapters/ipfs/held-store.js';
import { readContent } from '../adapters/ipfs/read-content.js';
import { readIdentity } from '../adapters/seal/identity-file.js';
import { readSecret } from '../adapters/seal/secret.js';
import { chunkSections } from '../adapters/source/chunks.js';
import { extractSections } from '../adapters/source/extract.js';
import { createSourceKeys } from '../adapters/source/keys.js';
import { termsOf } from '../adapters/source/terms.js';
import type { EngineConfig, UserDatabaseConfig } from '../domain/config.js';
import { SOURCES_HOLDER } from '../domain/content.js';
import { EngineError } from '../domain/errors.js';
import { SOURCE_LIMITS } from '../domain/source.js';
import type { SourceDesk } from '../nodes/router/routes/sources.js';
import { openSourceGateway } from '../nodes/router/source-gateway.js';

/** Tokens of a chunk: with its title it stays within the 256 that the model looks at. */
const CHUNK = { maxTokens: 200, overlapTokens: 40 } as const;
/** Milliseconds for a statement on a user's database. */
const STATEMENT_MS = 30_000;
/** Connections to a user's database. */
const USER_CONNECTIONS = 4;

export interface Sources {
  /** What the workers need. */
  readonly activities: SourceActivityDeps;
  /** What the router needs. */
  desk(client: Client): SourceDesk;
  close(): Promise<void>;
}

/** Opens them; models and users' databases on first use.
 * @param pool - of the engine's own database, whose schema for sources is brought up to date.
 * @throws KEY_FILE_UNSAFE — the engine has no identity to wrap keys for. */
export async function openSources(deps: {
  readonly config: EngineConfig;
  readonly pool: pg.Pool;
  readonly store: HeldStore;
}): Promise<Sources> {
  const { config, pool, store } = deps;
  const engine = await readIdentity(config.temporal.codec.identity);
  await migrate(pool, SOURCE_SCHEMA);
  const catalogue = openSourceCatalogue(pool);
  const keys = createSourceKeys(engine.identity);

  const embedder = once(() => openEmbedder(config.embedding.folder));
  const embed = async (texts: readonly string[]) => (await embedder()).embed(texts);
  const countTokens = await openTokenCounter(config.embedding.folder);

  const databases = new Map<string, UserDatabase>();
  const allowDatabase = (owner: string, name: string): UserDatabaseConfig => {
    const database = Object.hasOwn(config.databases, name) ? config.databases[name] : undefined;
    if (database?.owners.includes(owner) === true) return database;
    throw new EngineError('SOURCE_INVALID', {
      field: 'database',
      expected: 'a configured database of yours',
    });
  };
  /** Secrets are read at every use: one that was mended counts without a restart. What was opened with
   * another keeps its users; its connections end when they are idle. */
  const openDatabase = async (owner: string, name: string): Promise<UserDatabase> => {
    const { url, tls, ca, allowPrivate } = allowDatabase(owner, name);
    const access = {
      url: await readSecret(url),
      tls,
      ca: ca === null ? null : await readCertificates(ca, readSecret),
      allowPrivate,
    };
    const mark = createHash('sha256').update(JSON.stringify(access)).digest('hex');
    const opened =
      databases.get(mark) ??
      openUserDatabase(access, {
        maxConnections: USER_CONNECTIONS,
        statementTimeoutMs: STATEMENT_MS,
      });
    databases.set(mark, opened);
    return opened;
  };
  const openIndexPool = async (owner: string, name: string): Promise<pg.Pool> => {
    const database = await openDatabase(owner, name);
    if (database.kind === 'postgresql') return database.pool;
    throw new EngineError('SOURCE_INVALID', { field: 'index', expected: 'a PostgreSQL' });
  };

  const indexes = new Map<pg.Pool, Promise<SourceIndex>>();
  const openIndex = async ({ owner, index: name }: Pick<SourceRecord, 'owner' | 'index'>) => {
    const on = name === null ? pool : await openIndexPool(owner, name);
    const open = async () => {
      const index = openSourceIndex(on, EMBEDDING_DIMENSIONS);
      await index.prepare();
      return index;
    };
    const opened = indexes.get(on) ?? open();
    indexes.set(on, opened);
    opened.catch(() => indexes.delete(on));
    return opened;
  };

  const limits = {
    rows: SOURCE_LIMITS.rows,
    bytes: SOURCE_LIMITS.rowsBytes,
    statementMs: STATEMENT_MS,
  };
  return {
    activities: {
      catalogue,
      openIndex,
      keys,
      store: {
        put: (bytes, options) => store.put(bytes, { ...options, holder: SOURCES_HOLDER }),
        unpin: (cid, options) => store.unpin(cid, { ...options, holder: SOURCES_HOLDER }),
      },
      readContent: async (cid, maxBytes, signal) => {
        const parts: Uint8Array[] = [];
        for await (const part of readContent(store, cid, { maxBytes, signal })) parts.push(part);
        return Buffer.concat(parts);
      },
      extract: (bytes, type, signal) => extractSections(bytes, type, { signal }),
      chunk: (sections) => chunkSections(sections, { ...CHUNK, countTokens }),
      embed,
      termsOf,
      readRows: async (owner, spec) => {
        const database = await openDatabase(owner, spec.database);
        return spec.kind === 'table'
          ? readTable(database, spec, limits)
          : readVectors(database, spec, EMBEDDING_DIMENSIONS, limits);
      },
      digestOf: (lines) => `0x${createHash('sha256').update(lines.join('\n')).digest('hex')}`,
    },
    desk: (client) => ({
      catalogue,
      openIndex,
      keys,
      blockStore: store,
      embed: async (text) => {
        const [vector] = await embed([text]);
        if (vector === undefined) throw new EngineError('INTERNAL', { reason: 'no vector' });
        return vector;
      },
      gateway: openSourceGateway({ client, retries: config.retries }),
      allowDatabase,
      allowIndex: async (owner, name) => void (await openIndexPool(owner, name)),
      addContent: async (bytes, signal) => {
        const maxBytes = bytes.length;
        await store.hold(await cidOfContent(one(bytes), { maxBytes }), SOURCES_HOLDER);
        return (await addContent(config.ipfs, one(bytes), { maxBytes, signal })).cid;
      },
      unpin: (cid) => store.unpin(cid, { holder: SOURCES_HOLDER }),
    }),
    async close() {
      for (const database of databases.values()) await database.close();
      if (embedder.isOpen()) await (await embedder()).close();
    },
  };
}

/** Opens at the first call; a failure is tried again at the next. */
function once<T>(open: () => Promise<T>): (() => Promise<T>) & { isOpen(): boolean } {
  let opened: Promise<T> | undefined;
  const get = () => {
    opened ??= open();
    opened.catch(() => (opened = undefined));
    return opened;
  };
  return Object.assign(get, { isOpen: () => opened !== undefined });
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
