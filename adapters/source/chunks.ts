/**
 * Sections cut into chunks that an embedding model takes whole. Deterministic, and never over a
 * heading or a page: what is changed in one section leaves the chunks of all others as they were.
 */
import type { Section } from './sections.js';

export interface TextChunk {
  readonly headings: readonly string[];
  readonly page: number | null;
  /** Characters before it in the document's text, or in its page's. */
  readonly offset: number;
  readonly text: string;
}

export interface ChunkSize {
  /** Most tokens of a chunk. */
  readonly maxTokens: number;
  /** Most tokens that a chunk repeats of the one before, in whole sentences. */
  readonly overlapTokens: number;
  /** Counts a text's tokens, without the model's markers. */
  readonly countTokens: (text: string) => number;
}

/** Where a sentence or a line may end. */
const SENTENCE_END = /(?<=[.!?…。！？]["'”’)\]]*)\s+|\n+/g;

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly tokens: number;
}

/** Cuts sections into chunks of at most `maxTokens`, at ends of sentences where there are any. */
export function chunkSections(sections: readonly Section[], size: ChunkSize): TextChunk[] {
  return sections.flatMap((section) => chunkSection(section, size));
}

function chunkSection(section: Section, size: ChunkSize): TextChunk[] {
  const { text, headings, page } = section;
  const chunks: TextChunk[] = [];
  let pending: Piece[] = [];
  /** Pieces at the head of `pending` that the last chunk had too. */
  let repeated = 0;
  const close = () => {
    const [first, last] = [pending[0], pending.at(-1)];
    if (first === undefined || last === undefined || repeated === pending.length) return;
    const body = text.slice(first.start, last.end);
    chunks.push({ headings, page, offset: section.offset + first.start, text: body });
    pending = tailOf(pending, size.overlapTokens);
    repeated = pending.length;
  };
  for (const piece of piecesOf(text, size)) {
    if (sumOf(pending) + piece.tokens > size.maxTokens) {
      close();
      // What is repeated must leave room for the piece.
      while (pending.length > 0 && sumOf(pending) + piece.tokens > size.maxTokens) {
        pending.shift();
        repeated = Math.max(0, repeated - 1);
      }
    }
    pending.push(piece);
  }
  close();
  return chunks;
}

/** Sentences and lines, in order; what is too long for a chunk is cut between words, and a word that
 * is too long anywhere. */
function* piecesOf(text: string, size: ChunkSize): Generator<Piece> {
  let start = 0;
  const ends = [...text.matchAll(SENTENCE_END)].map(({ index, 0: gap }) => [index, gap.length]);
  for (const [end = 0, gap = 0] of [...ends, [text.length, 0]]) {
    yield* fitting(text, start, end, size);
    start = end + gap;
  }
}

function* fitting(text: string, start: number, end: number, size: ChunkSize): Generator<Piece> {
  const first = text.slice(start, end).search(/\S/);
  if (first < 0) return;
  const from = start + first;
  const to = from + text.slice(from, end).trimEnd().length;
  const tokens = size.countTokens(text.slice(from, to));
  if (tokens <= size.maxTokens || to - from < 2) {
    yield { start: from, end: to, tokens: Math.min(tokens, size.maxTokens) };
    return;
  }
  const half = from + Math.floor((to - from) / 2);
  const space = text.lastIndexOf(' ', half);
  let middle = space > from ? space : half;
  // Never between the two halves of a character.
  if (/[\udc00-\udfff]/.test(text[middle] ?? '')) middle += 1;
  if (middle >= to) return yield { start: from, end: to, tokens: size.maxTokens };
  yield* fitting(text, from, middle, size);
  yield* fitting(text, middle, to, size);
}

function tailOf(pieces: readonly Piece[], maxTokens: number): Piece[] {
  let tokens = 0;
  const tail: Piece[] = [];
  for (const piece of pieces.toReversed()) {
    tokens += piece.tokens;
    if (tokens > maxTokens) break;
    tail.unshift(piece);
  }
  // All of a chunk again would be the same chunk again.
  return tail.length === pieces.length ? tail.slice(1) : tail;
}

function sumOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { tokens }) => sum + tokens, 0);
}
