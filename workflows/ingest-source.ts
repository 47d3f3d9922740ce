/**
 * `ingestSource`: brings a user's source to what its owner wants of it now: ingested, ingested again,
 * or gone. What that is lies in the catalogue; histories hold names and counts only.
 */
import {
  CancellationScope,
  isCancellation,
  ActivityFailure,
  setHandler,
} from '@temporalio/workflow';
import type { RetryPolicies } from '../domain/config.js';
import { NO_COUNTS, type IngestCounts, type IngestProgress } from '../domain/source.js';
import { sourceActivities } from './activities.js';
import { codeOf } from './failure.js';
import { ingestProgressQuery, sourceChangedSignal } from './messages.js';

export interface IngestSourceInput {
  readonly owner: string;
  readonly source: string;
  readonly retries: RetryPolicies;
}

export async function ingestSource({ owner, source, retries }: IngestSourceInput): Promise<void> {
  const sources = sourceActivities(retries);
  const id = { owner, source };
  let isChanged = false;
  let progress: IngestProgress = { revision: 0, items: 0, done: 0, counts: NO_COUNTS };
  setHandler(sourceChangedSignal, () => void (isChanged = true));
  setHandler(ingestProgressQuery, () => progress);

  do {
    isChanged = false;
    const { revision, isRemoved, items } = await sources.planIngest(id);
    progress = { revision, items, done: 0, counts: NO_COUNTS };
    if (isRemoved) await sources.removeSource(id);
    else await ingest(revision, items);
  } while (isChanged);

  async function ingest(revision: number, items: number): Promise<void> {
    let counts: IngestCounts = NO_COUNTS;
    let failure: { readonly code: string; readonly text: string } | undefined;
    try {
      for (let item = 0; item < items && !isChanged; item++) {
        try {
          counts = sum(counts, await sources.ingestItem({ ...id, revision, item }));
        } catch (error) {
          if (isCancellation(error)) throw error;
          // One document that cannot be read keeps no other from being found.
          failure ??= { code: codeOf(error), text: textOf(error) };
        }
        progress = { revision, items, done: item + 1, counts };
      }
      if (isChanged) return;
      if (failure === undefined) await sources.finishIngest({ ...id, revision, counts });
      else await sources.noteIngest({ ...id, revision, counts, failure });
    } catch (error) {
      const cancelled = isCancellation(error);
      const text = cancelled ? 'the ingestion was cancelled' : textOf(error);
      const code = cancelled ? 'CANCELLED' : codeOf(error);
      await CancellationScope.nonCancellable(() =>
        sources.noteIngest({ ...id, revision, counts, failure: { code, text } }),
      );
      if (cancelled) throw error;
    }
  }
}

function sum(counts: IngestCounts, more: Omit<IngestCounts, 'removed'>): IngestCounts {
  return {
    ...counts,
    items: counts.items + more.items,
    added: counts.added + more.added,
    unchanged: counts.unchanged + more.unchanged,
  };
}

/** Texts of errors hold codes, names and numbers: never what a document says. */
function textOf(error: unknown): string {
  const failure = error instanceof ActivityFailure ? error.cause : error;
  return failure instanceof Error ? failure.message : 'unknown';
}
