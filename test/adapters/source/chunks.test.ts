import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { chunkSections, type ChunkSize } from '../../../adapters/source/chunks.js';
import { splitMarkdown } from '../../../adapters/source/sections.js';
import { termsOf, wordsOf } from '../../../adapters/source/terms.js';

const countTokens = (text: string) => text.split(/\s+/).filter(Boolean).length;
const LONE = /\p{Surrogate}/u;
const size: ChunkSize = { maxTokens: 12, overlapTokens: 4, countTokens };
const chunk = (text: string) => chunkSections(splitMarkdown(text), size);

test('chunks keep whole sentences, and repeat the last ones of the chunk before', () => {
  const chunks = chunk(
    'One two three four. Five six seven eight. Nine ten. Eleven twelve thirteen.',
  );
  assert.deepEqual(
    chunks.map(({ text }) => text),
    ['One two three four. Five six seven eight. Nine ten.', 'Nine ten. Eleven twelve thirteen.'],
  );
});

test('any text is cut into chunks within the limit, at their places, with no word lost', () => {
  const word = fc.stringMatching(/^[a-z😀é]{1,9}[.!?]?$/u);
  const text = fc.array(
    fc.oneof({ weight: 8, arbitrary: word }, fc.constant('\n'), fc.constant('\n# H\n')),
    {
      maxLength: 120,
    },
  );
  fc.assert(
    fc.property(text, (words) => {
      const document = words.join(' ');
      const chunks = chunk(document);
      for (const { text: body, offset } of chunks) {
        assert.ok(document.startsWith(body, offset));
        assert.ok(!LONE.test(body));
        assert.ok(countTokens(body) <= size.maxTokens);
      }
      const found = new Set(chunks.flatMap(({ text: body }) => body.split(/\s+/)));
      const sections = splitMarkdown(document);
      for (const { text: body } of sections)
        for (const one of body.split(/\s+/)) assert.ok(one === '' || found.has(one), one);
      assert.deepEqual(chunk(document), chunks);
    }),
  );
});

test('a change in one section leaves the chunks of the others as they were', () => {
  const section = (name: string, words: number) => `# ${name}\n${`word${name}. `.repeat(words)}\n`;
  const before = chunk(section('A', 40) + section('B', 40) + section('C', 40));
  const after = chunk(section('A', 40) + section('B', 41) + section('C', 40));
  const texts = new Set(before.map(({ headings, text }) => `${headings[0]}:${text}`));
  const changed = after.filter(({ headings, text }) => !texts.has(`${headings[0]}:${text}`));
  assert.ok(changed.every(({ headings }) => headings[0] === 'B'));
});

test('a word without an end is cut, and never through a character', () => {
  const long: ChunkSize = { maxTokens: 10, overlapTokens: 0, countTokens: (text) => text.length };
  const chunks = chunkSections(
    [{ headings: [], page: null, offset: 0, text: '😀'.repeat(50) }],
    long,
  );
  assert.equal(chunks.map(({ text }) => text).join(''), '😀'.repeat(50));
  assert.ok(chunks.every(({ text }) => !LONE.test(text) && text.length <= 10));
});

test('words are found in other forms, and their blinded names differ by key', () => {
  assert.deepEqual(wordsOf('The Libraries were closing; closed!'), ['library', 'clos', 'clos']);
  const [a, b] = [termsOf('library', Buffer.from('a')), termsOf('library', Buffer.from('b'))];
  assert.notDeepEqual([...a.keys()], [...b.keys()]);
  assert.match([...a.keys()][0] ?? '', /^[0-9a-f]{24}$/);
});
