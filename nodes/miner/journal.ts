/**
 * A miner's journal: the ended tasks that it committed to, so that it can claim what was never
 * settled. One JSON object a line; what a crash cut short is skipped.
 */
import { appendFile, mkdir, readFile, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { EngineError } from '../../domain/errors.js';
import type { Cid, Hex, SessionId, TaskId } from '../../domain/ids.js';
import { TASK_OUTCOMES, type TaskOutcome } from '../../domain/task.js';

/** At this size the journal becomes `PATH.1`, in place of the one before it: about forty thousand
 * tasks stay known, long after any of them should have been settled. */
const MAX_BYTES = 8 * 1024 * 1024;

/** An ended task, as its router told of it; the evidence proves it or does not. */
export interface JournalEntry {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  /** Number of the task in its session, from 0. */
  readonly ordinal: number;
  readonly outcome: TaskOutcome;
  /** `null` where nobody had committed in time. */
  readonly evidenceCid: Cid | null;
  /** Of this miner's own commitment; the evidence has it too, or this miner is not in it. */
  readonly resultDigest: Hex;
  /** Unix milliseconds. */
  readonly endedAtMs: number;
}

/** Where a desk puts down what it has done. */
export interface TaskJournal {
  /** Appends an entry; resolves when it is on disk. The file system's own errors come through. */
  append(entry: JournalEntry): Promise<void>;
}

/** Opens a journal, which need not exist; it is readable by its owner alone.
 * @param path - of the file; missing folders are made.
 * @param maxBytes - size at which it is rotated. */
export function openJournal(path: string, maxBytes: number = MAX_BYTES): TaskJournal {
  let tail: Promise<void> = Promise.resolve();
  async function write(entry: JournalEntry): Promise<void> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    if ((await sizeOf(path)) >= maxBytes) await rename(path, `${path}.1`);
    // Begun with a line break, so that a line which a crash cut short spoils no other.
    const line = `\n${JSON.stringify(entry)}\n`;
    await appendFile(path, line, { mode: 0o600, flush: true });
  }
  return {
    append(entry) {
      const written = tail.then(() => write(entry));
      // One after the other; whoever appended hears of a failure, the next one starts afresh.
      tail = written.catch(() => undefined);
      return written;
    },
  };
}

/** Reads a journal and its rotated part, oldest first, each task once as it was last told of.
 * @throws CONTENT_MISSING — there is no journal at `path`. */
export async function readJournal(path: string): Promise<readonly JournalEntry[]> {
  const [older, newer] = await Promise.all([textOf(`${path}.1`), textOf(path)]);
  if (older === null && newer === null) throw new EngineError('CONTENT_MISSING', { path });
  const entries = new Map<TaskId, JournalEntry>();
  for (const line of `${older ?? ''}\n${newer ?? ''}`.split('\n')) {
    const entry = parseEntry(line);
    if (entry === null) continue;
    entries.delete(entry.taskId);
    entries.set(entry.taskId, entry);
  }
  return [...entries.values()];
}

function parseEntry(line: string): JournalEntry | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const entry = value as Partial<Record<keyof JournalEntry, unknown>>;
  const isEntry =
    isText(entry.sessionId, /^\d{1,19}$/) &&
    isText(entry.taskId, HEX_32) &&
    Number.isInteger(entry.ordinal) &&
    TASK_OUTCOMES.some((outcome) => outcome === entry.outcome) &&
    (entry.evidenceCid === null || isText(entry.evidenceCid, /^\w{1,128}$/)) &&
    isText(entry.resultDigest, HEX_32) &&
    Number.isInteger(entry.endedAtMs);
  return isEntry ? (value as JournalEntry) : null;
}

const HEX_32 = /^0x[0-9a-f]{64}$/i;

function isText(value: unknown, pattern: RegExp): boolean {
  return typeof value === 'string' && pattern.test(value);
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}

async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
