/**
 * Retrieval over a public set that ships in a package: the 698 documents of a bank's knowledge base
 * and the 97 tasks of τ²-bench, each with the documents that it needs. Documents go through the same
 * chunks, vectors and index as a user's own; the sides are a plain keyword search, vectors alone, and
 * both fused, which is what the router does.
 * @see https://github.com/sierra-research/tau2-bench (MIT), as in the PyPI wheel inspect_evals 0.26.0
 */
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { dirname, join } from 'node:path';
import { openPool } from '../adapters/database/pool.js';
import {
  openSourceIndex,
  type ChunkHit,
  type SourceIndex,
} from '../adapters/database/source-index.js';
import { EMBEDDING_DIMENSIONS, openEmbedder } from '../adapters/embedding/embedder.js';
import { openTokenCounter } from '../adapters/embedding/token-counter.js';
import { cidOf } from '../adapters/ipfs/cid.js';
import { chunkSections } from '../adapters/source/chunks.js';
import { fuse } from '../adapters/source/fuse.js';
import { createSourceKeys } from '../adapters/source/keys.js';
import { splitMarkdown } from '../adapters/source/sections.js';
import { termsOf } from '../adapters/source/terms.js';
import { embeddingModel, obtain, questionSet } from '../servers/obtain/index.js';
import { startPostgres } from '../servers/start/index.js';
import type { Bench, BenchContext, Metrics } from './bench.js';

interface KnowledgeDocument {
  readonly id: string;
  readonly title: string;
  readonly content: string;
}
interface Question {
  readonly text: string;
  readonly needed: ReadonlySet<string>;
}

const SOURCE = { owner: 'bench', source: 'knowledge' };
/** Chunks that are looked at for five documents. */
const CANDIDATES = 40;
const RECALL_AT = 5;

export const retrieval: Bench = {
  name: 'retrieval',
  what: 'documents that a question needs among the first five: keywords, vectors, and both',
  target: { recall_at_5_gain: { min: 1 } },
  run,
};

async function run({ data, say, defer }: BenchContext): Promise<Metrics> {
  const { documents, questions } = await readSet();
  const { path } = await obtain(embeddingModel);
  const embedder = await openEmbedder(dirname(path));
  defer(() => embedder.close());
  const postgres = await startPostgres({ data });
  defer(() => postgres.stop());
  const pool = openPool(postgres.engineUrl);
  defer(() => pool.end());
  const index = openSourceIndex(pool, EMBEDDING_DIMENSIONS);
  await index.prepare();
  const key = await createSourceKeys('').open(null);

  const countTokens = await openTokenCounter(dirname(path));
  const size = { maxTokens: 200, overlapTokens: 40, countTokens };
  const startedAt = performance.now();
  let chunks = 0;
  for (const { id, title, content } of documents) {
    const cut = chunkSections(splitMarkdown(content), size);
    const wordings = cut.map(
      ({ headings, text }) => `${[title, ...headings].join(' › ')}\n${text}`,
    );
    const vectors = await embedder.embed(wordings);
    await index.add(
      SOURCE,
      1,
      wordings.map((wording, i) => ({
        digest: key.digest(`${id}\n${wording}`),
        cid: cidOf(Buffer.from(wording)),
        title: id,
        page: null,
        offset: 0,
        vector: vectors[i] ?? new Float32Array(EMBEDDING_DIMENSIONS),
        terms: termsOf(wording, key.termKey),
      })),
    );
    chunks += cut.length;
  }
  const ingestSeconds = (performance.now() - startedAt) / 1_000;
  say(`${documents.length} documents, ${chunks} chunks, ${questions.length} questions`);

  const sums = { keyword: 0, vector: 0, hybrid: 0 };
  const hits = { ...sums };
  let searchMs = 0;
  for (const { text, needed } of questions) {
    const [vector = new Float32Array(EMBEDDING_DIMENSIONS)] = await embedder.embed([text]);
    const before = performance.now();
    const found = await search(index, vector, [...termsOf(text, key.termKey).keys()]);
    searchMs += performance.now() - before;
    for (const side of ['keyword', 'vector', 'hybrid'] as const) {
      const first = documentsOf(found[side]);
      const right = first.filter((id) => needed.has(id)).length;
      sums[side] += right / Math.min(needed.size, RECALL_AT);
      hits[side] += right > 0 ? 1 : 0;
    }
  }
  const share = (sum: number) => sum / questions.length;
  return {
    questions: questions.length,
    documents: documents.length,
    chunks,
    recall_at_5_keyword: share(sums.keyword),
    recall_at_5_vector: share(sums.vector),
    recall_at_5_hybrid: share(sums.hybrid),
    hit_at_5_keyword: share(hits.keyword),
    hit_at_5_vector: share(hits.vector),
    hit_at_5_hybrid: share(hits.hybrid),
    recall_at_5_gain: sums.hybrid / sums.keyword,
    search_ms: searchMs / questions.length,
    chunks_per_s: chunks / ingestSeconds,
  };
}

async function search(index: SourceIndex, vector: Float32Array, terms: readonly string[]) {
  const all = await index.search(SOURCE, { vector, terms }, CANDIDATES);
  const by = (value: (hit: ChunkHit) => number) => [...all].sort((a, b) => value(b) - value(a));
  return {
    keyword: by(({ relevance }) => relevance),
    vector: by(({ similarity }) => similarity),
    hybrid: fuse(all),
  };
}

/** The first five documents of a ranking of chunks. */
function documentsOf(ranked: readonly ChunkHit[]): string[] {
  return [...new Set(ranked.map(({ title }) => title))].slice(0, RECALL_AT);
}

async function readSet(): Promise<{
  readonly documents: readonly KnowledgeDocument[];
  readonly questions: readonly Question[];
}> {
  const { path } = await obtain(questionSet);
  const documents = JSON.parse(gunzipSync(await readFile(path)).toString()) as KnowledgeDocument[];
  const tasks = JSON.parse(await readFile(join(dirname(path), 'tasks.json'), 'utf8')) as {
    readonly user_scenario: { readonly instructions: string };
    readonly required_documents: readonly string[] | null;
  }[];
  const known = new Set(documents.map(({ id }) => id));
  const questions = tasks
    .map(({ user_scenario: { instructions }, required_documents: needed }) => ({
      text: instructions,
      needed: new Set((needed ?? []).filter((id) => known.has(id))),
    }))
    .filter(({ needed }) => needed.size > 0);
  return { documents, questions };
}
