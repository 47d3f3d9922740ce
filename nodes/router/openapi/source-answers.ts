/** Answers about sources, each typed by what the router gives out. */
import { z } from 'zod';
import {
  DOCUMENT_TYPES,
  SOURCE_LEVELS,
  SOURCE_STATES,
  type Citation,
  type Passage,
  type SourceView,
} from '../../../domain/source.js';
import { bytes32 } from '../routes/signed.js';
import { component } from './answers.js';

const count = z.number().int().min(0);

export const sourceView = component(
  'Source',
  z.object({
    source: z.string(),
    kind: z.enum(['documents', 'table', 'vectors']),
    level: z.enum(SOURCE_LEVELS),
    state: z.enum(SOURCE_STATES),
    revision: z.number().int().min(1),
    documents: z.array(
      z.object({ cid: z.string(), type: z.enum(DOCUMENT_TYPES), title: z.string() }),
    ),
    chunks: count.nullable(),
    counts: z.object({ items: count, added: count, unchanged: count, removed: count }),
    failure: z.string().nullable(),
    failureText: z.string().nullable(),
    receipt: z
      .object({
        chunks: count,
        vectors: count,
        blocks: count,
        digest: bytes32,
        removedAt: z.iso.datetime(),
      })
      .nullable(),
  }) satisfies z.ZodType<SourceView>,
);

const citation = z.object({
  n: z.number().int().min(1),
  source: z.string(),
  cid: z.string(),
  title: z.string(),
  page: z.number().int().nullable(),
  offset: count,
  score: z.number(),
}) satisfies z.ZodType<Citation>;

/** Of an answer to a request with a context. */
export const cited = component(
  'Cited',
  z.object({ citations: z.array(citation) }) satisfies z.ZodType<{
    readonly citations: readonly Citation[];
  }>,
);

export const sourceList = component('SourceList', z.array(sourceView));

export const passageList = component(
  'PassageList',
  z.object({
    passages: z.array(citation.extend({ text: z.string() })),
  }) satisfies z.ZodType<{ readonly passages: readonly Passage[] }>,
);
