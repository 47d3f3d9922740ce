/**
 * The far side of extract.ts: a process of its own, without the engine's environment, that may be
 * killed at any moment. Its one thread that parses is watched by the other, because memory outside of
 * V8's heap, where unpacked streams lie, is bounded by nothing else.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { DocumentType } from '../../domain/source.js';
import { SOURCE_LIMITS } from '../../domain/source.js';
import { sectionsOf, UnreadableError, type Section, type Unreadable } from './sections.js';

/** What the parent sends, once. */
export interface ExtractJob {
  readonly bytes: Uint8Array;
  readonly type: DocumentType;
  /** Of the whole process. */
  readonly maxMemoryBytes: number;
}
export type ExtractAnswer =
  | { readonly sections: readonly Section[] }
  | { readonly reason: Unreadable };

/** How often the memory is looked at: a stream unpacks some 5 MB in that time. */
const WATCH_MS = 20;

if (isMainThread) process.once('message', watch);
else void parse(workerData as ExtractJob).then((answer) => parentPort?.postMessage(answer));

function watch(job: ExtractJob): void {
  const heapMb = Math.round(job.maxMemoryBytes / 2 / 1024 / 1024);
  const thread = new Worker(new URL(import.meta.url), {
    workerData: job,
    resourceLimits: { maxOldGenerationSizeMb: heapMb },
    // What a parser prints is not for the log: it may quote the document.
    stdout: true,
    stderr: true,
  });
  const answer = (value: ExtractAnswer) => process.send?.(value, () => process.exit(0));
  thread.once('message', answer);
  thread.once('error', (error: Error & { code?: string }) => {
    const isFull = error.code === 'ERR_WORKER_OUT_OF_MEMORY';
    answer({ reason: isFull ? 'too-much-memory' : 'broken' });
  });
  setInterval(() => {
    if (process.memoryUsage.rss() > job.maxMemoryBytes) answer({ reason: 'too-much-memory' });
  }, WATCH_MS);
}

// Whoever asked is gone.
if (isMainThread) process.once('disconnect', () => process.exit(1));

async function parse({ bytes, type }: ExtractJob): Promise<ExtractAnswer> {
  try {
    // Loaded where it is needed: it takes longer than most texts.
    const sections =
      type === 'application/pdf'
        ? await (await import('./pdf.js')).pagesOf(bytes)
        : sectionsOf(bytes, type);
    const chars = sections.reduce((sum, { text }) => sum + text.length, 0);
    if (chars > SOURCE_LIMITS.textChars) return { reason: 'too-much-text' };
    if (sections.every(({ text }) => text.trim() === '')) return { reason: 'no-text' };
    return { sections };
  } catch (error) {
    return { reason: error instanceof UnreadableError ? error.reason : 'broken' };
  }
}
