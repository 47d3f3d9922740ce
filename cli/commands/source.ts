/** `cortensor source`: documents and tables that an API key's requests may draw on. */
import { readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { EngineError } from '../../domain/errors.js';
import {
  DEFAULT_TOP_K,
  SOURCE_LEVELS,
  type SourceLevel,
  type SourceView,
} from '../../domain/source.js';
import { defineCommand } from '../command.js';
import { openClient, ROUTER_OPTIONS } from '../router-access.js';

const FAILURE = 'the router could not be reached';

/** Content types by the endings of files. */
const TYPES: Readonly<
  Record<string, 'text/plain' | 'text/markdown' | 'text/html' | 'application/pdf'>
> = {
  '.txt': 'text/plain',
  '.md': 'text/markdown',
  '.markdown': 'text/markdown',
  '.html': 'text/html',
  '.htm': 'text/html',
  '.pdf': 'application/pdf',
};

type RouterValues = Omit<Parameters<typeof openClient>[0], 'identity'>;

const sourcesOf = async (values: RouterValues) =>
  (await openClient({ ...values, identity: undefined })).sources;

const chunksOf = ({ chunks }: SourceView): string =>
  chunks === null ? 'its database is away' : `${chunks} chunks`;

/** A source in two lines or more. */
function linesOf(view: SourceView): string[] {
  const { items, added, unchanged, removed } = view.counts;
  return [
    `${view.source}: ${view.state}, ${view.kind} at level ${view.level}, ${chunksOf(view)}`,
    `last run: ${items} items, ${added} chunks added, ${unchanged} unchanged, ${removed} removed`,
    ...(view.failure === null ? [] : [`${view.failure}: ${view.failureText ?? ''}`]),
    ...(view.receipt === null
      ? []
      : [
          `removed ${view.receipt.removedAt}: ${view.receipt.chunks} chunks, ${view.receipt.digest}`,
        ]),
  ];
}

const LEVEL_OPTION = {
  level: {
    value: 'LEVEL',
    about: `of a new source: ${SOURCE_LEVELS.join(' | ')}; default: link`,
  },
} as const;

/** @throws USAGE — no level of sources. */
function levelOf(text = 'link'): SourceLevel {
  const level = SOURCE_LEVELS.find((known) => known === text);
  if (level !== undefined) return level;
  throw new EngineError('USAGE', { option: '--level', expected: SOURCE_LEVELS.join(' | ') });
}

export const sourceAdd = defineCommand({
  name: 'source add',
  about:
    'Uploads a file to a source, which is made if need be. A file of the same name is replaced.',
  args: ['SOURCE', 'FILE'],
  options: {
    ...LEVEL_OPTION,
    title: { value: 'TEXT', about: "names the document; default: the file's name" },
    ...ROUTER_OPTIONS,
  },
  failure: FAILURE,
  async run({ args: [source, file], values }) {
    const type = TYPES[extname(file).toLowerCase()];
    if (type === undefined) {
      throw new EngineError('USAGE', {
        expected: `a file that ends with ${Object.keys(TYPES).join(', ')}`,
      });
    }
    const level = levelOf(values.level);
    const bytes = await readFile(file).catch((cause: unknown) => {
      throw new EngineError('USAGE', { expected: 'a file that can be read', file }, { cause });
    });
    const sources = await sourcesOf(values);
    const known = (await sources.list()).some((view) => view.source === source);
    if (!known) await sources.declare(source, { level, spec: { kind: 'documents' } });
    const title = values.title ?? basename(file);
    const view = await sources.upload(source, { title, type, bytes });
    return { lines: linesOf(view), json: { source: view } };
  },
});

export const sourceTable = defineCommand({
  name: 'source table',
  about: `Declares a source of rows, or what its rows are now; they are read at once. DATABASE is one of the
configuration's that the API key may use, QUERY one select.`,
  args: ['SOURCE', 'DATABASE', 'QUERY'],
  options: {
    ...LEVEL_OPTION,
    title: { value: 'COLUMN', about: "titles a row; default: the row's number" },
    ...ROUTER_OPTIONS,
  },
  failure: FAILURE,
  async run({ args: [source, database, query], values }) {
    const level = levelOf(values.level);
    const { title } = values;
    const spec = {
      kind: 'table',
      database,
      query,
      ...(title === undefined ? {} : { title }),
    } as const;
    const view = await (await sourcesOf(values)).declare(source, { level, spec });
    return { lines: linesOf(view), json: { source: view } };
  },
});

export const sourceList = defineCommand({
  name: 'source list',
  about: 'Lists the sources of the API key.',
  args: [],
  options: ROUTER_OPTIONS,
  failure: FAILURE,
  async run({ values }) {
    const sources = await (await sourcesOf(values)).list();
    return { lines: sources.flatMap((view) => linesOf(view).slice(0, 1)), json: { sources } };
  },
});

export const sourceShow = defineCommand({
  name: 'source show',
  about: 'Says how far a source is ingested, or, once it is removed, its receipt.',
  args: ['SOURCE'],
  options: ROUTER_OPTIONS,
  failure: FAILURE,
  async run({ args: [source], values }) {
    const view = await (await sourcesOf(values)).show(source);
    return { lines: linesOf(view), json: { source: view } };
  },
});

export const sourceSearch = defineCommand({
  name: 'source search',
  about: 'Finds the passages that fit a question best, without asking it.',
  args: ['SOURCE', 'QUESTION'],
  options: ROUTER_OPTIONS,
  failure: FAILURE,
  async run({ args: [source, question], values }) {
    const context = { sources: [source], topK: DEFAULT_TOP_K };
    const passages = await (await sourcesOf(values)).passages(question, context);
    const lines = passages.flatMap(({ n, title, page, score, cid, text }) => [
      `[${n}] ${title}${page === null ? '' : `, page ${page}`} (${score}) ${cid}`,
      text.trim(),
    ]);
    return { lines, json: { passages } };
  },
});

export const sourceRemove = defineCommand({
  name: 'source remove',
  about: 'Removes a source: its key first, then its chunks, vectors and documents.',
  args: ['SOURCE'],
  options: ROUTER_OPTIONS,
  failure: FAILURE,
  async run({ args: [source], values }) {
    const view = await (await sourcesOf(values)).remove(source);
    return { lines: linesOf(view), json: { source: view } };
  },
});
