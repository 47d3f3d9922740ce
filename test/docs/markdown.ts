/** The project's pages, and what the tests read out of them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT_FOLDER } from '../../cli/project.js';

export interface Page {
  /** From the project's folder. */
  readonly path: string;
  readonly text: string;
}

/** Reads one page. */
export function readPage(path: string): Page {
  return { path, text: readFileSync(join(PROJECT_FOLDER, path), 'utf8') };
}

/** The README and everything in `docs/`. */
export function allPages(): Page[] {
  const docs = readdirSync(join(PROJECT_FOLDER, 'docs')).filter((name) => name.endsWith('.md'));
  return ['README.md', ...docs.map((name) => `docs/${name}`)].map(readPage);
}

/** The text under a heading, up to the next one of any level. */
export function section({ path, text }: Page, heading: string): string {
  const found = text.split(/^#+ /m).find((part) => part.startsWith(`${heading}\n`));
  if (found === undefined) throw new Error(`${path} has no section "${heading}"`);
  return found;
}

/** Fenced blocks in a language. */
export function blocks({ text }: Page, language: string): string[] {
  return [...text.matchAll(/^```(\w*)\n([^]*?)^```$/gm)].flatMap(([, found, body]) =>
    found === language && body !== undefined ? [body] : [],
  );
}

/** Spans of inline code outside of fenced blocks. */
export function codeSpans(text: string): string[] {
  const prose = text.replaceAll(/^```[^]*?^```$/gm, '');
  return [...prose.matchAll(/`([^`\n]+)`/g)].flatMap(([, span]) => span ?? []);
}

/** Rows of all tables, without their heads, as cells. */
export function rows(text: string): string[][] {
  const lines = text.split('\n');
  return lines.flatMap((line, i) => {
    const isHead = lines[i + 1]?.startsWith('| -') === true;
    if (!line.startsWith('| ') || isHead || line.startsWith('| -')) return [];
    return [line.slice(2, -2).split(' | ')];
  });
}

/** A heading's anchor, as GitHub makes it. */
export function anchorsOf({ text }: Page): Set<string> {
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].flatMap(([, heading]) => heading ?? []);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    ),
  );
}
