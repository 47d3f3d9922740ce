/**
 * Text out of what people write: UTF-8 text, Markdown and HTML, cut at its headings. Runs inside the
 * child process of extract.ts, on bytes that nobody has looked at yet.
 * @see https://spec.commonmark.org/0.31.2/#atx-headings
 */
import { compile } from 'html-to-text';
import type { DocumentType } from '../../domain/source.js';

/** A part of a document: what stands under one heading, or on one page. */
export interface Section {
  /** Headings that it is under, outermost first; empty before the first one. */
  readonly headings: readonly string[];
  /** From 1; `null` where the document has no pages. */
  readonly page: number | null;
  /** Characters before it in the document's text; 0 at the start of a page. */
  readonly offset: number;
  readonly text: string;
}

/** Why a document gives no text, as its owner is told. */
export type Unreadable =
  | 'not-utf-8'
  | 'wrong-type'
  | 'encrypted'
  | 'broken'
  | 'no-text'
  | 'too-much-text'
  | 'too-much-memory'
  | 'too-slow';

/** Thrown inside the child process; its message is all that leaves it. */
export class UnreadableError extends Error {
  readonly reason: Unreadable;

  constructor(reason: Unreadable) {
    super(reason);
    this.reason = reason;
  }
}

/** Decodes text and cuts it at its headings.
 * @throws UnreadableError — `not-utf-8`, or `wrong-type` where it is no text at all. */
export function sectionsOf(bytes: Uint8Array, type: Exclude<DocumentType, 'application/pdf'>) {
  const text = decode(bytes);
  if (type === 'text/plain') return [{ headings: [], page: null, offset: 0, text }];
  return splitMarkdown(type === 'text/html' ? fromHtml(text) : text);
}

/** True for bytes that begin as a PDF does: the header may come after other bytes.
 * @see ISO 32000-1, 7.5.2 */
export function looksLikePdf(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, 1_024)).includes('%PDF-');
}

function decode(bytes: Uint8Array): string {
  if (looksLikePdf(bytes)) throw new UnreadableError('wrong-type');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new UnreadableError('not-utf-8');
  }
  // No text has them; archives, images and other programs' files do.
  if (text.includes('\u0000')) throw new UnreadableError('wrong-type');
  return text;
}

/** Headings become Markdown's, so that one cut serves both; links and images leave their words. */
const toMarkdown = compile({
  wordwrap: false,
  limits: { maxDepth: 200, maxInputLength: 16 * 1024 * 1024, ellipsis: '' },
  formatters: {
    heading: (element, walk, builder, options) => {
      const { level } = options as { readonly level?: number };
      builder.openBlock({ leadingLineBreaks: 2 });
      builder.addLiteral(`${'#'.repeat(level ?? 1)} `);
      walk(element.children, builder);
      builder.closeBlock({ trailingLineBreaks: 2 });
    },
  },
  selectors: [
    ...[1, 2, 3, 4, 5, 6].map((level) => ({
      selector: `h${level}`,
      format: 'heading',
      options: { level },
    })),
    { selector: 'a', options: { ignoreHref: true } },
    { selector: 'img', format: 'skip' },
    { selector: 'script', format: 'skip' },
    { selector: 'style', format: 'skip' },
    { selector: 'template', format: 'skip' },
  ],
});

function fromHtml(html: string): string {
  return toMarkdown(html);
}

const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$/;
const FENCE = /^ {0,3}(```+|~~~+)/;

/** Cuts Markdown at its headings, those inside code aside. A heading's line is in its section's
 * headings and not in its text. */
export function splitMarkdown(text: string): Section[] {
  const sections: Section[] = [];
  const path: { readonly level: number; readonly heading: string }[] = [];
  let fence: string | null = null;
  let start = 0;
  let at = 0;
  const close = (end: number) => {
    const body = text.slice(start, end);
    if (body.trim() === '') return;
    const headings = path.map(({ heading }) => heading);
    sections.push({ headings, page: null, offset: start, text: body });
  };
  for (const line of text.split('\n')) {
    const [, marks] = FENCE.exec(line) ?? [];
    if (marks !== undefined) {
      if (fence === null) fence = marks;
      else if (marks.startsWith(fence)) fence = null;
    }
    const [, level, heading] = (fence === null ? HEADING.exec(line) : null) ?? [];
    if (level !== undefined && heading !== undefined) {
      close(at);
      while ((path.at(-1)?.level ?? 0) >= level.length) path.pop();
      path.push({ level: level.length, heading });
      start = at + line.length + 1;
    }
    at += line.length + 1;
  }
  close(text.length);
  return sections;
}
