import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import {
  drawReaders,
  openSession,
  READERS,
  REQUEST,
  sealRequest,
  type RequestBytes,
} from '../../bench/seal/work.js';
import { SEALING_LEVELS, type SealingLevel } from '../../domain/sealing.js';
import { readPage, rows, section } from '../docs/markdown.js';

const COST = section(readPage('docs/sealing.md'), 'What it costs');

const measured = new Map<SealingLevel, RequestBytes & { readonly keyring: number }>();
before(async () => {
  const readers = await drawReaders();
  for (const level of SEALING_LEVELS) {
    const { keys, keyringBytes } = await openSession(level, readers);
    measured.set(level, { ...(await sealRequest(keys)), keyring: keyringBytes });
  }
});

test('the page of sealing says how many bytes each level adds to a request', () => {
  const open = measured.get('open') ?? assert.fail();
  const expected = [...measured].flatMap(([level, { rest, wire }]) =>
    level === 'open' ? [] : [[`\`${level}\``, rest - open.rest, wire - open.wire]],
  );
  const said = rows(COST).map(([level, , rest = '', wire = '']) => [
    level,
    Number(rest.replace(',', '')),
    Number(wire.replace(',', '')),
  ]);
  assert.deepEqual(said, expected);
});

test('the page of sealing says what a request and a keyring were measured with', () => {
  const text = COST.replaceAll(/\s+/g, ' ');
  const says = (words: string) => assert.ok(text.includes(words), words);
  says(`A request of ${REQUEST.promptBytes / 1024} KiB that three miners answer`);
  assert.equal(REQUEST.miners, 3);
  says(`a stream of ${REQUEST.tokens} tokens`);
  const sizes = [...measured].flatMap(([level, { keyring }]) =>
    level === 'open' ? [] : [keyring],
  );
  for (const bytes of sizes) {
    says(`for ${READERS} readers with hybrid identities is ${(bytes / 1000).toFixed(1)} kB`);
  }
});
