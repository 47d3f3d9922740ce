/** `/api/v1/sources`: what a caller lets its requests draw on. A source is its owner's alone: to any
 * other caller there is none of that name. */
import type { Context } from 'hono';
import { z } from 'zod';
import type { SourceRecord } from '../../../adapters/database/source-catalogue.js';
import { parseContentCid } from '../../../adapters/ipfs/cid.js';
import { EngineError, findEngineError } from '../../../domain/errors.js';
import type { Cid } from '../../../domain/ids.js';
import {
  DOCUMENT_TYPES,
  parseSourceName,
  SOURCE_LIMITS,
  VECTOR_METRICS,
  type ContextAsk,
  type SourceDeclaration,
  type SourceView,
} from '../../../domain/source.js';
import type { AppDeps, AppEnv, RouterApp } from '../app.js';
import { readJson } from '../body.js';
import { contextSchema, readCited, requireSource, retrieve, type ContextDeps } from '../context.js';
import type { SourceGateway } from '../source-gateway.js';
import { limitsOf } from './signed.js';

/** What the routes of sources need beside the context of requests. */
export interface SourceDesk extends ContextDeps {
  readonly gateway: SourceGateway;
  /** Lets an owner use a configured database.
   * @throws SOURCE_INVALID — there is none of that name, or it is not the owner's. */
  readonly allowDatabase: (owner: string, database: string) => void;
  /** Lets an owner keep chunks in a configured database.
   * @throws SOURCE_INVALID — as `allowDatabase`; or it is no PostgreSQL. */
  readonly allowIndex: (owner: string, database: string) => Promise<void>;
  /** Stores bytes of any size on IPFS, pinned. */
  readonly addContent: (bytes: Uint8Array, signal: AbortSignal) => Promise<Cid>;
  readonly unpin: (cid: Cid) => Promise<void>;
}

const title = z.string().min(1).max(300);
const column = z.string().min(1).max(63);
const database = z.string().min(1).max(64);

export const sourceSchema = z.strictObject({
  level: z.enum(['open', 'link', 'sealed', 'sealed-pq']).default('link'),
  index: database.optional(),
  spec: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('documents'),
      documents: z
        .array(z.strictObject({ cid: z.string().max(100), type: z.enum(DOCUMENT_TYPES), title }))
        .max(SOURCE_LIMITS.documents)
        .default([]),
    }),
    z.strictObject({
      kind: z.literal('table'),
      database,
      query: z.string().min(1).max(10_000),
      title: column.optional(),
    }),
    z.strictObject({
      kind: z.literal('vectors'),
      database,
      table: z.string().min(1).max(127),
      columns: z.strictObject({ id: column, text: column, vector: column }),
      metric: z.enum(VECTOR_METRICS).default('cosine'),
    }),
  ]),
});

export const searchSchema = z.strictObject({
  query: z.string().min(1).max(10_000),
  context: contextSchema,
});

/** @throws FEATURE_UNSUPPORTED — this router has no embedding model, and so no sources. */
export function requireSources({ sources }: Pick<AppDeps, 'sources'>): SourceDesk {
  if (sources !== undefined) return sources;
  throw new EngineError('FEATURE_UNSUPPORTED', { field: 'context', expected: 'none' });
}

export function addSourceRoutes(app: RouterApp, deps: AppDeps): void {
  const limits = limitsOf(deps);
  const record = (c: Context<AppEnv, '/:source'>) =>
    requireSource(requireSources(deps).catalogue, c.get('apiKey').id, nameOf(c));

  app.get('/api/v1/sources', async (c) => {
    const desk = requireSources(deps);
    const records = await desk.catalogue.list(c.get('apiKey').id);
    return c.json(await Promise.all(records.map((source) => viewOf(desk, source))));
  });

  app.put('/api/v1/sources/:source', async (c) => {
    const desk = requireSources(deps);
    const id = { owner: c.get('apiKey').id, source: nameOf(c) };
    const declaration = checked(await readJson(c.req.raw, sourceSchema, limits));
    const { spec, index } = declaration;
    if (index !== undefined) await desk.allowIndex(id.owner, index);
    if (spec.kind !== 'documents') desk.allowDatabase(id.owner, spec.database);
    const known = await desk.catalogue.declare(id, declaration, () => desk.keys.create());
    await desk.gateway.changed(id.owner, id.source);
    return c.json(await viewOf(desk, known), 202);
  });

  app.get('/api/v1/sources/:source', async (c) => {
    const desk = requireSources(deps);
    const id = { owner: c.get('apiKey').id, source: nameOf(c) };
    const known = await desk.catalogue.read(id);
    if (known === undefined) throw new EngineError('SOURCE_NOT_FOUND', { source: id.source });
    return c.json(await viewOf(desk, known));
  });

  app.post('/api/v1/sources/:source/documents', async (c) => {
    const desk = requireSources(deps);
    const source = await record(c);
    const type = typeOf(c.req.header('content-type'));
    const named = title.safeParse(c.req.query('title'));
    if (!named.success) {
      throw new EngineError('REQUEST_INVALID', { field: 'title', expected: '1 to 300 characters' });
    }
    const { signal } = c.req.raw;
    const bytes = await readBytes(c.req.raw, SOURCE_LIMITS.documentBytes);
    const key = await desk.keys.open(source.keyFile);
    const cid = await desk.addContent(await key.seal(bytes), signal);
    const known = await desk.catalogue.addDocument(source, { cid, type, title: named.data });
    const before = source.spec.kind === 'documents' ? source.spec.documents : [];
    for (const old of before.filter((one) => one.title === named.data && one.cid !== cid)) {
      if (!(await desk.catalogue.usesDocument(old.cid))) await desk.unpin(old.cid);
    }
    await desk.gateway.changed(source.owner, source.source);
    return c.json(await viewOf(desk, known), 202);
  });

  app.post('/api/v1/sources/:source/cancel', async (c) => {
    const desk = requireSources(deps);
    const source = await record(c);
    await desk.gateway.cancel(source.owner, source.source);
    return c.json(await viewOf(desk, source), 202);
  });

  app.delete('/api/v1/sources/:source', async (c) => {
    const desk = requireSources(deps);
    const id = { owner: c.get('apiKey').id, source: nameOf(c) };
    const known = await desk.catalogue.remove(id);
    await desk.gateway.changed(id.owner, id.source);
    return c.json(await viewOf(desk, known), 202);
  });

  app.get('/api/v1/sources/:source/chunks/:cid', async (c) => {
    const text = await readCited(requireSources(deps), await record(c), c.req.param('cid'));
    return c.text(text, 200, { 'cache-control': 'private, no-store' });
  });

  app.post('/api/v1/context', async (c) => {
    const { query, context } = await readJson(c.req.raw, searchSchema, limits);
    const ask: ContextAsk = context;
    const passages = await retrieve(requireSources(deps), c.get('apiKey').id, ask, query, null);
    return c.json({ passages });
  });
}

function nameOf(c: Context<AppEnv, '/:source'>): string {
  return parseSourceName(c.req.param('source'));
}

/** @throws CONTEXT_SEALED — at that level only the client may hold what is retrieved.
 * @throws SOURCE_INVALID — titles that are not unique, or what is no CID. */
function checked(body: z.infer<typeof sourceSchema>): SourceDeclaration {
  const { level, spec, index } = body;
  if (level !== 'open' && level !== 'link') throw new EngineError('CONTEXT_SEALED', { level });
  if (spec.kind === 'documents') {
    const titles = new Set(spec.documents.map((document) => document.title));
    if (titles.size < spec.documents.length) {
      throw new EngineError('SOURCE_INVALID', { field: 'title', expected: 'each title once' });
    }
    for (const { cid } of spec.documents) parseContentCid(cid);
  }
  const { title: named, ...rest } = { title: undefined, ...spec };
  const declared = named === undefined ? rest : { ...rest, title: named };
  return {
    level,
    spec: declared as SourceDeclaration['spec'],
    ...(index === undefined ? {} : { index }),
  };
}

function typeOf(header: string | undefined) {
  const [named = ''] = (header ?? '').split(';');
  const type = DOCUMENT_TYPES.find((known) => known === named.trim().toLowerCase());
  if (type !== undefined) return type;
  throw new EngineError('REQUEST_INVALID', {
    field: 'content-type',
    expected: DOCUMENT_TYPES.join(' | '),
  });
}

/** Reads a body within a limit: one that says that it is longer is not read at all, and one that
 * turns out to be is not read on.
 * @throws CONTENT_TOO_LARGE */
async function readBytes(request: Request, maxBytes: number): Promise<Uint8Array> {
  const refuse = () => new EngineError('CONTENT_TOO_LARGE', { maxBytes });
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw refuse();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > maxBytes) throw refuse();
    chunks.push(chunk);
  }
  if (length === 0) throw new EngineError('REQUEST_INVALID', { field: 'body', expected: 'bytes' });
  return Buffer.concat(chunks);
}

async function viewOf(desk: SourceDesk, record: SourceRecord): Promise<SourceView> {
  const { source, spec, level, state, revision, counts, failure, failureText, receipt } = record;
  const documents = spec.kind === 'documents' ? (spec.documents ?? []) : [];
  const isGone = state === 'removed';
  const chunks = isGone ? 0 : await chunksOf(desk, record);
  return {
    source,
    kind: spec.kind,
    level,
    state,
    revision,
    documents,
    chunks,
    counts,
    failure,
    failureText,
    receipt,
  };
}

/** An index may be in its owner's own database: while that is away, what the engine knows is still told. */
async function chunksOf(desk: SourceDesk, record: SourceRecord): Promise<number | null> {
  try {
    return await (await desk.openIndex(record)).count(record);
  } catch (error) {
    if (record.index === null || findEngineError(error) === undefined) throw error;
    return null;
  }
}
