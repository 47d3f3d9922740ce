/**
 * `context` of a request: passages of the caller's own sources, retrieved, fenced off, and put before
 * the conversation. What is retrieved is sealed with the prompt, and the answer says where it is from.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { SourceCatalogue, SourceRecord } from '../../adapters/database/source-catalogue.js';
import type { SourceIndex } from '../../adapters/database/source-index.js';
import type { BlockStore } from '../../adapters/ipfs/block-store.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { fuse } from '../../adapters/source/fuse.js';
import type { SourceKey, SourceKeys } from '../../adapters/source/keys.js';
import { termsOf } from '../../adapters/source/terms.js';
import { EngineError } from '../../domain/errors.js';
import type { SealingLevel } from '../../domain/sealing.js';
import {
  contextMessage,
  DEFAULT_TOP_K,
  isContextMessage,
  MAX_TOP_K,
  questionOf,
  withinBudget,
  type Citation,
  type ContextAsk,
  type Passage,
} from '../../domain/source.js';
import type { ChatRequest } from '../../domain/task.js';
import type { ServedTask } from './session-host.js';

const sourceName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'expected the name of a source');

/** `context` of a request. */
export const contextSchema = z.strictObject({
  sources: z.array(sourceName).min(1).max(16),
  topK: z.number().int().min(1).max(MAX_TOP_K).default(DEFAULT_TOP_K),
  minScore: z.number().min(-1).max(1).default(0),
});

/** Chunks that are looked at for each passage that is wanted, of each kind of search. */
const CANDIDATES = 4;

export interface ContextDeps {
  readonly catalogue: SourceCatalogue;
  /** @throws SOURCE_INVALID — no such database, or not the owner's. */
  readonly openIndex: (source: Pick<SourceRecord, 'owner' | 'index'>) => Promise<SourceIndex>;
  readonly keys: SourceKeys;
  readonly embed: (text: string) => Promise<Float32Array>;
  readonly blockStore: Pick<BlockStore, 'get'>;
}

/** Finds the passages that fit a question best, by vector and by word, best first.
 * @param level - of the session that they are for, which must be as private as their sources;
 *   `null` where they only go back to their owner.
 * @throws SOURCE_NOT_FOUND — there is none of that name, or it is somebody else's.
 * @throws REQUEST_INVALID — the level is lower than a source's.
 * @throws as `BlockStore.get` */
export async function retrieve(
  deps: ContextDeps,
  owner: string,
  ask: ContextAsk,
  question: string,
  level: SealingLevel | null,
): Promise<Passage[]> {
  const vector = await deps.embed(question);
  const found = await Promise.all(
    [...new Set(ask.sources)].map(async (source) => {
      const record = await requireSource(deps.catalogue, owner, source);
      if (level === 'open' && record.level !== 'open') {
        throw new EngineError('REQUEST_INVALID', {
          field: 'context.sources',
          expected: 'sources at level open, as the session',
          source,
        });
      }
      const [key, index] = await Promise.all([
        deps.keys.open(record.keyFile),
        deps.openIndex(record),
      ]);
      const terms = [...termsOf(question, key.termKey).keys()];
      const hits = await index.search(record, { vector, terms }, ask.topK * CANDIDATES);
      return hits.map((hit) => ({ ...hit, key }));
    }),
  );
  const best = fuse(found.flat())
    .filter(({ similarity }) => similarity >= ask.minScore)
    .slice(0, ask.topK);
  const passages = await Promise.all(
    best.map(async ({ source, cid, title, page, offset, similarity, key }, i) => {
      const text = await readChunk(deps, key, cid);
      const score = Math.round(similarity * 10_000) / 10_000;
      return { n: i + 1, source, cid, title, page, offset, score, text };
    }),
  );
  return withinBudget(passages);
}

/** Finds a source of an owner.
 * @throws SOURCE_NOT_FOUND — also for another's, and for what is removed. */
export async function requireSource(
  catalogue: SourceCatalogue,
  owner: string,
  source: string,
): Promise<SourceRecord> {
  const record = await catalogue.read({ owner, source });
  if (record === undefined || record.isRemoved) {
    throw new EngineError('SOURCE_NOT_FOUND', { source });
  }
  return record;
}

async function readChunk(
  { blockStore }: Pick<ContextDeps, 'blockStore'>,
  key: SourceKey,
  cid: string,
): Promise<string> {
  return new TextDecoder().decode(await key.open(await blockStore.get(cid)));
}

/** Reads the text of a chunk for its owner.
 * @throws CONTENT_MISSING — no chunk of the source; else as `BlockStore.get`. */
export async function readCited(
  deps: ContextDeps,
  record: SourceRecord,
  cid: string,
): Promise<string> {
  const index = await deps.openIndex(record);
  if (!(await index.holds(record, cid))) throw new EngineError('CONTENT_MISSING', { cid });
  return readChunk(deps, await deps.keys.open(record.keyFile), cid);
}

/** A request with its context, as it is put to miners and recorded. */
export interface Grounded {
  readonly request: ChatRequest;
  /** What its fingerprint covers: the context that is asked for, not the passages of the moment. */
  readonly asked: Uint8Array;
  /** Of the request that was recorded, once that is known. */
  citations: readonly Citation[];
}

/** By task: one that is asked for again keeps the context that it began with. */
const begun = new WeakMap<ServedTask, Grounded>();

/** Notes what a task is begun with; what it was begun with here before stays. */
export function begin(task: ServedTask, grounded: Grounded): void {
  if (!begun.has(task)) begun.set(task, grounded);
}

/** What a task was begun with here; `undefined` where it has no context, or was begun elsewhere. */
export function groundOf(task: ServedTask): Grounded | undefined {
  return begun.get(task);
}

/** Puts a context before a request. */
export async function ground(
  deps: ContextDeps,
  caller: { readonly owner: string; readonly level: SealingLevel },
  request: ChatRequest,
  ask: ContextAsk,
): Promise<Grounded> {
  const question = questionOf(request.messages);
  const passages = await retrieve(deps, caller.owner, ask, question, caller.level);
  const citations = passages.map(({ text: _, ...citation }) => citation);
  // What no document can know: the mark is drawn when all that it could be in is written.
  const message = contextMessage(passages, randomUUID().replaceAll('-', ''));
  const grounded = { ...request, messages: [message, ...request.messages], citations };
  return { request: grounded, asked: encodeJson({ request, context: ask }), citations };
}

/** Compares a recorded request with the one that is asked for now, whatever passages there were then,
 * and takes those over.
 * @param plain - the recorded request's bytes. */
export function isSameGrounded(grounded: Grounded, plain: Uint8Array): boolean {
  const [, ...rest] = grounded.request.messages;
  const recorded = JSON.parse(new TextDecoder().decode(plain)) as ChatRequest & {
    readonly citations?: readonly Citation[];
  };
  const { citations, messages, ...others } = recorded;
  const [first] = messages;
  if (citations === undefined || first === undefined || !isContextMessage(first)) return false;
  const { citations: _, ...now } = { ...grounded.request, messages: rest } as typeof recorded;
  const then = { ...others, messages: messages.slice(1) };
  if (Buffer.compare(encodeJson(then), encodeJson(now)) !== 0) return false;
  grounded.citations = citations;
  return true;
}
