/**
 * Text out of documents of unknown origin, in a child process with bounds of memory and time: what a
 * bomb takes down is that process, and the document is refused.
 */
import { fork } from 'node:child_process';
import { EngineError } from '../../domain/errors.js';
import type { DocumentType } from '../../domain/source.js';
import type { ExtractAnswer, ExtractJob } from './extract-child.js';
import type { Section, Unreadable } from './sections.js';

const CHILD = new URL('./extract-child.js', import.meta.url);

export interface ExtractLimits {
  /** Milliseconds for a document. @defaultValue 60_000 */
  readonly timeoutMs?: number;
  /** Memory of the whole child process. @defaultValue 512 MiB */
  readonly maxMemoryBytes?: number;
  /** Gives the document up; its reason is thrown as it is. */
  readonly signal?: AbortSignal;
}

/** Takes the text out of a document.
 * @throws SOURCE_UNREADABLE — with the reason: `not-utf-8`, `wrong-type`, `encrypted`, `broken`,
 *   `no-text`, `too-much-text`, `too-much-memory` or `too-slow`. */
export async function extractSections(
  bytes: Uint8Array,
  type: DocumentType,
  limits: ExtractLimits = {},
): Promise<readonly Section[]> {
  const { timeoutMs = 60_000, maxMemoryBytes = 512 * 1024 * 1024, signal } = limits;
  signal?.throwIfAborted();
  const child = fork(CHILD, { env: {}, execArgv: [], serialization: 'advanced', silent: true });
  // Unread, a full pipe would stop the child.
  child.stdout?.resume();
  child.stderr?.resume();
  const kill = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    kill();
  }, timeoutMs);
  try {
    const answer = await new Promise<ExtractAnswer | null>((resolve) => {
      child.once('message', (value) => resolve(value as ExtractAnswer));
      child.once('exit', () => resolve(null));
      child.once('error', () => resolve(null));
      const job: ExtractJob = { bytes, type, maxMemoryBytes };
      // A child that is gone already ends without an answer.
      child.send(job, () => undefined);
    });
    signal?.throwIfAborted();
    if (answer !== null && 'sections' in answer) return answer.sections;
    const reason: Unreadable = isLate ? 'too-slow' : (answer?.reason ?? 'too-much-memory');
    throw new EngineError('SOURCE_UNREADABLE', { type, reason });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
    kill();
  }
}
