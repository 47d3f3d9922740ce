import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import type { Summary } from '../../cli/job/summary.js';
import { PROJECT_CONFIG, PROJECT_FOLDER } from '../../cli/project.js';
import { dispatch } from '../../cli/command.js';
import { COMMANDS } from '../../cli/table.js';
import { ERRORS } from '../../domain/errors.js';
import { HEALTHY_SCORE_BPS, sampleSize, scoreNode } from '../../domain/health.js';
import { SEALING_LEVELS } from '../../domain/sealing.js';
import { SESSION_STATES } from '../../domain/session.js';
import { TASK_OUTCOMES } from '../../domain/task.js';
import { OUTLIER_DISTANCE } from '../../domain/verdict.js';
import { BEHAVIOURS } from '../../nodes/miner/behaviours.js';
import { SEARCH_ATTRIBUTES } from '../../workflows/messages.js';
import { written } from '../cli/written.js';
import { allPages, anchorsOf, blocks, codeSpans, readPage, rows, section } from './markdown.js';

const pages = allPages();
const readme = readPage('README.md');
const operations = readPage('docs/operations.md');

const helps = new Map<string, string>();
/** What `cortensor <command> --help` prints; rejects unless it exits with 0.
 * @param command - with its group: `session open`. */
async function helpOf(command: string): Promise<string> {
  const known = helps.get(command);
  if (known !== undefined) return known;
  const help = await written(async () => {
    assert.equal(await dispatch(COMMANDS, [], [...command.split(' '), '--help']), 0);
  });
  helps.set(command, help);
  return help;
}

test('every command that is shown exists and has the options it is shown with', async () => {
  const shown = pages.flatMap((page) => {
    const lines = blocks(page, 'sh').flatMap((block) => block.split('\n'));
    return [...lines, ...codeSpans(page.text)].filter((line) => line.startsWith('cortensor '));
  });
  assert.ok(shown.length > 10, 'commands are found at all');
  for (const line of shown) {
    const help = await helpOf(commandOf(line));
    for (const [option] of line.matchAll(/--[a-z-]+/g)) {
      assert.ok(help.includes(option), `${line}: ${option} is not in its help`);
    }
  }
});

/** The command that a line calls, with its group. */
function commandOf(line: string): string {
  const [, name = '', sub = ''] = line.split(' ');
  const isGrouped = Object.hasOwn(COMMANDS[name]?.commands ?? {}, sub);
  return isGrouped ? `${name} ${sub}` : name;
}

test('every command that the program has is in the table of the README', async () => {
  const usage = await written(() => dispatch(COMMANDS, [], ['help']));
  const commands = [...usage.matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name);
  const listed = rows(section(readme, 'Commands')).map(([cell]) => cell?.split(/[ `]/)[2]);
  assert.deepEqual(listed, commands);
});

test('every relative link leads to a file, and to a heading in it', () => {
  for (const page of pages) {
    for (const [, link = ''] of page.text.matchAll(/\]\(([^)]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [file = '', anchor] = link.split('#');
      const path = file === '' ? page.path : join(dirname(page.path), file);
      assert.ok(existsSync(join(PROJECT_FOLDER, path)), `${page.path}: ${link}`);
      if (anchor === undefined) continue;
      assert.ok(anchorsOf(readPage(path)).has(anchor), `${page.path}: ${link}`);
    }
  }
});

test('every file of the project that is named exists', () => {
  const folders = readdirSync(PROJECT_FOLDER);
  const named = pages.flatMap(({ path, text }) =>
    codeSpans(text)
      .filter(
        (span) => /^[\w.-]+\/[\w./-]*$/.test(span) && folders.includes(span.split('/')[0] ?? ''),
      )
      .map((span) => ({ path, span })),
  );
  assert.ok(named.length > 30, 'files are found at all');
  for (const { path, span } of named) {
    assert.ok(existsSync(join(PROJECT_FOLDER, span)), `${path}: ${span}`);
  }
});

test('the table of folders in the README is the list of top-level folders', () => {
  const listed = rows(section(readme, 'Folders')).map(([cell]) => cell?.replaceAll(/[`/]/g, ''));
  const there = readdirSync(PROJECT_FOLDER, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !/^(\..*|node_modules|dist)$/.test(entry.name))
    .map((entry) => entry.name);
  assert.deepEqual(new Set(listed), new Set(there));
  assert.equal(listed.length, there.length);
});

test('every dependency is named in the README, and nothing else is', () => {
  const file = readFileSync(join(PROJECT_FOLDER, 'package.json'), 'utf8');
  const declared = JSON.parse(file) as Record<string, Record<string, string>>;
  const names = ['dependencies', 'devDependencies'].flatMap((kind) =>
    Object.keys(declared[kind] ?? {}),
  );
  const tables = rows(section(readme, 'Dependencies'));
  const named = tables.flatMap(([cell = '']) => codeSpans(cell));
  assert.deepEqual(new Set(named), new Set(names));
  assert.equal(named.length, names.length);
});

test('the page of errors is the table of domain/errors.ts', () => {
  const listed = rows(readPage('docs/errors.md').text);
  const expected = Object.entries(ERRORS).map(([code, { status, retryable, fault, text }]) => {
    return [`\`${code}\``, String(status), retryable ? 'yes' : 'no', fault, text];
  });
  assert.deepEqual(listed, expected);
});

test('the errors that operators are told about exist', () => {
  const listed = rows(section(operations, 'When something fails')).flatMap(([cell = '']) =>
    codeSpans(cell),
  );
  assert.ok(listed.length > 10, 'codes are found at all');
  for (const code of listed) assert.ok(Object.hasOwn(ERRORS, code), code);
});

test('the sections of temporal.yaml are those that operations name', () => {
  const file = parse(readFileSync(PROJECT_CONFIG, 'utf8')) as object;
  const text = section(operations, 'Configuration and secrets').split('by section:')[1] ?? '';
  assert.deepEqual(codeSpans(text.split('.')[0] ?? ''), Object.keys(file));
});

test('the keys of the summary are those that the README names', () => {
  // Complete, or it does not compile.
  const keys: Record<keyof Summary, true> = {
    miners: true,
    user: true,
    epoch: true,
    session: true,
    tasks: true,
    money: true,
    database: true,
    seconds: true,
  };
  const sentence = /with the keys (.+?), and the/s.exec(section(readme, 'Try it'))?.[1] ?? '';
  assert.deepEqual(codeSpans(sentence), Object.keys(keys));
});

test('figures of the verification page are those of the code', () => {
  const { text } = readPage('docs/verification.md');
  const says = (words: string) => assert.ok(text.replaceAll(/\s+/g, ' ').includes(words), words);
  const part = { livenessBps: 0, poiBps: 0, pouwBps: 0 };
  const share = (one: Partial<typeof part>) =>
    (scoreNode('0x0', { ...part, ...one }).scoreBps / 10_000).toFixed(2);
  says(`\`OUTLIER_DISTANCE\` is ${OUTLIER_DISTANCE}.`);
  says(
    `score = ${share({ livenessBps: 10_000 })} · liveness + ${share({ poiBps: 10_000 })} · PoI + ${share({ pouwBps: 10_000 })} · PoUW`,
  );
  says(`At ${HEALTHY_SCORE_BPS.toLocaleString('en')} or above a miner is healthy.`);
  says(`all of ${sampleSize(4)}, ${sampleSize(1_000)} of 1,000, ${sampleSize(10_000)} of 10,000`);
  for (const behaviour of BEHAVIOURS.filter((name) => name !== 'honest')) says(`\`${behaviour}\``);
});

test('levels, states and outcomes are all on the pages that explain them', () => {
  const levels = rows(readPage('docs/sealing.md').text).slice(0, SEALING_LEVELS.length);
  assert.deepEqual(
    levels,
    levels.filter((row, i) => row[0] === `\`${SEALING_LEVELS[i]}\``),
  );
  const { text } = readPage('docs/architecture.md');
  for (const outcome of TASK_OUTCOMES) assert.ok(text.includes(`\`${outcome}\``), outcome);
  for (const state of SESSION_STATES) assert.ok(text.includes(state), state);
});

test('the search attributes of sessions are those that an operator is told to register', () => {
  const [, ...told] =
    /search-attribute create (.*)/.exec(section(operations, 'Finding sessions')) ?? [];
  const names = [...(told[0] ?? '').matchAll(/--name (\w+) --type Keyword/g)].map(
    ([, name]) => name,
  );
  assert.deepEqual(
    names,
    Object.values(SEARCH_ATTRIBUTES).map((key) => key.name),
  );
});
