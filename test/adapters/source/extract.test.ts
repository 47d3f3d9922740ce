import assert from 'node:assert/strict';
import test from 'node:test';
import { extractSections } from '../../../adapters/source/extract.js';
import { splitMarkdown } from '../../../adapters/source/sections.js';
import type { DocumentType } from '../../../domain/source.js';
import { lockedPdf, pdfBomb, pdfOf } from '../../support/pdf.js';

const bytes = (text: string) => new TextEncoder().encode(text);

async function refusal(content: Uint8Array, type: DocumentType, limits = {}): Promise<unknown> {
  try {
    await extractSections(content, type, limits);
    return null;
  } catch (error) {
    const { code, details } = error as { code: string; details: Record<string, unknown> };
    assert.equal(code, 'SOURCE_UNREADABLE');
    return details['reason'];
  }
}

test('Markdown is cut at its headings, with the headings above and the place in the text', () => {
  const text = 'Intro.\n# One\nA.\n## Two ##\nB.\n```\n# no heading\n```\n# Three\nC.\n';
  const sections = splitMarkdown(text);
  assert.deepEqual(
    sections.map(({ headings }) => headings),
    [[], ['One'], ['One', 'Two'], ['Three']],
  );
  for (const { offset, text: body } of sections) assert.ok(text.startsWith(body, offset));
  assert.match(sections[2]?.text ?? '', /# no heading/);
});

test('HTML gives its words under its headings, and nothing of its scripts', async () => {
  const html =
    '<html><head><style>p{}</style><script>alert(1)</script></head><body><h1>Rules</h1>' +
    '<p>No <b>smoking</b>. <a href="https://example.org">More</a></p></body></html>';
  const [section] = await extractSections(bytes(html), 'text/html');
  assert.deepEqual(section?.headings, ['Rules']);
  assert.match(section?.text ?? '', /No smoking\. More/);
  assert.doesNotMatch(JSON.stringify(section), /alert|p\{\}|example/);
});

test('a PDF gives its text page by page', async () => {
  const sections = await extractSections(
    pdfOf(['First page.', 'Second (page).']),
    'application/pdf',
  );
  assert.deepEqual(
    sections.map(({ page, text }) => [page, text.trim()]),
    [
      [1, 'First page.'],
      [2, 'Second (page).'],
    ],
  );
});

test('what cannot be read is refused, each with its own reason', async () => {
  const invalidUtf8 = Uint8Array.of(0x61, 0xff, 0xfe);
  assert.equal(await refusal(invalidUtf8, 'text/plain'), 'not-utf-8');
  assert.equal(await refusal(pdfOf(['x']), 'text/markdown'), 'wrong-type');
  assert.equal(await refusal(bytes('PK\u0003\u0004\u0000'), 'text/plain'), 'wrong-type');
  assert.equal(await refusal(bytes('just text'), 'application/pdf'), 'wrong-type');
  assert.equal(await refusal(lockedPdf(), 'application/pdf'), 'encrypted');
  assert.equal(await refusal(bytes('%PDF-1.4\nnothing more'), 'application/pdf'), 'broken');
  assert.equal(await refusal(bytes(' \n '), 'text/plain'), 'no-text');
  assert.equal(await refusal(pdfOf(['']), 'application/pdf'), 'no-text');
  assert.equal(await refusal(bytes('a '.repeat(4_100_000)), 'text/plain'), 'too-much-text');
});

test('a PDF bomb ends its own process, at its bound of memory, and nothing else', async () => {
  const bomb = pdfBomb(1_500 * 1024 * 1024);
  assert.ok(bomb.length < 100_000);
  const before = process.memoryUsage().rss;
  const reason = await refusal(bomb, 'application/pdf', { maxMemoryBytes: 256 * 1024 * 1024 });
  assert.ok(reason === 'too-much-memory' || reason === 'too-slow', String(reason));
  assert.ok(process.memoryUsage().rss - before < 200 * 1024 * 1024);
});

test('a document that takes too long is given up, and so is one that nobody waits for', async () => {
  const limits = { timeoutMs: 1 };
  assert.equal(await refusal(pdfOf(['x']), 'application/pdf', limits), 'too-slow');
  const gone = AbortSignal.abort(new Error('gone'));
  await assert.rejects(extractSections(bytes('x'), 'text/plain', { signal: gone }), /gone/);
});
