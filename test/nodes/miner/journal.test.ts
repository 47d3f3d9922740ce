import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { EngineError } from '../../../domain/errors.js';
import { openJournal, readJournal, type JournalEntry } from '../../../nodes/miner/journal.js';

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'journal-'));
  path = join(folder, 'data', 'miner.journal');
});
afterEach(() => rmSync(folder, { recursive: true }));

function entry(number: number, changes: Partial<JournalEntry> = {}): JournalEntry {
  return {
    sessionId: '4242',
    taskId: `0x${number.toString(16).padStart(64, '0')}`,
    ordinal: number,
    outcome: 'completed',
    evidenceCid: 'bafkevidence',
    resultDigest: `0x${'ab'.repeat(32)}`,
    endedAtMs: 1_700_000_000_000 + number,
    ...changes,
  };
}

test('what is appended is read back in order, by its owner alone', async () => {
  const journal = openJournal(path);
  await Promise.all([1, 2, 3].map((number) => journal.append(entry(number))));
  assert.deepEqual(await readJournal(path), [entry(1), entry(2), entry(3)]);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(join(folder, 'data')).mode & 0o777, 0o700);
});

test('a task that was told of twice is read once, as it was last', async () => {
  const journal = openJournal(path);
  await journal.append(entry(1, { evidenceCid: null, outcome: 'failed' }));
  await journal.append(entry(2));
  await openJournal(path).append(entry(1));
  assert.deepEqual(await readJournal(path), [entry(2), entry(1)]);
});

test('a line that a crash cut short costs no other line', async () => {
  await openJournal(path).append(entry(1));
  appendFileSync(path, JSON.stringify(entry(2)).slice(0, 70));
  await openJournal(path).append(entry(3));
  appendFileSync(path, '{"taskId":"0x1"}\n');
  assert.deepEqual(await readJournal(path), [entry(1), entry(3)]);
});

test('it is rotated at its size, and both parts are read', async () => {
  const journal = openJournal(path, 700);
  for (let number = 1; number <= 9; number++) await journal.append(entry(number));
  assert.ok(existsSync(`${path}.1`));
  // Three entries reach the size; the first three went with the part before the last.
  assert.deepEqual(
    (await readJournal(path)).map(({ ordinal }) => ordinal),
    [4, 5, 6, 7, 8, 9],
  );
});

test('a failure is told to whoever appended, and the next entry is written', async () => {
  const journal = openJournal(folder);
  await assert.rejects(journal.append(entry(1)), { code: 'EISDIR' });
  await assert.rejects(journal.append(entry(2)), { code: 'EISDIR' });
});

test('a journal that does not exist is said to be missing', async () => {
  await assert.rejects(readJournal(path), (error) => {
    return error instanceof EngineError && error.code === 'CONTENT_MISSING';
  });
});
