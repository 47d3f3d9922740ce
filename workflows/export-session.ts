/**
 * `exportSession`: writes a session to its user's own store, page by page, each row once; follows it
 * until it has ended where that is asked for; then reads back what stands there, and leaves a receipt.
 * A sink that is away only delays, one that refuses who we are is waited for until its owner says
 * `retry`. One export of a session and sink runs at a time, so that it is also the place where rows are
 * verified and removed.
 */
import {
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  log,
  setHandler,
} from '@temporalio/workflow';
import type { RetryPolicies } from '../domain/config.js';
import type { ExportMode, ExportView } from '../domain/export.js';
import type { SessionId } from '../domain/ids.js';
import { databaseActivities, readBackActivities } from './activities.js';
import { ExportRun, type CarriedExport } from './export-run.js';
import { codeOf, isFinal } from './failure.js';
import { exportOrderedSignal, exportQuery } from './messages.js';
import { isRunLong } from './run-length.js';

export interface ExportSessionInput {
  readonly sessionId: SessionId;
  /** Of the session's workflow. */
  readonly workflowId: string;
  /** Name of a sink in the configuration; its credentials never enter a workflow. */
  readonly sink: string;
  readonly mode: ExportMode;
  readonly retries: RetryPolicies;
  readonly carried?: CarriedExport;
}

/** Pauses between tries at a sink that is away grow up to this. */
const MAX_PAUSE_MS = 5 * 60_000;
/** An export that gets nowhere for this long is given up. */
const GIVE_UP_MS = 30 * 86_400_000;

/** Codes that somebody's hands mend, and those that pass or are mended elsewhere. */
const CREDENTIALS: ReadonlySet<string> = new Set(['SINK_CREDENTIALS']);
const AWAY: ReadonlySet<string> = new Set(['SINK_UNREACHABLE', 'SINK_UNTRUSTED']);

export async function exportSession(input: ExportSessionInput): Promise<ExportView> {
  const { sessionId, workflowId, sink, retries } = input;
  const run = new ExportRun(input);
  setHandler(exportQuery, () => run.view());
  setHandler(exportOrderedSignal, (ask) => run.take(ask));
  const database = databaseActivities(retries);
  const readBack = readBackActivities();
  const place = { sessionId, sink };

  while (!run.isOver) {
    if (isRunLong()) {
      return await continueAsNew<typeof exportSession>({ ...input, ...run.carry() });
    }
    if (run.isStopped) {
      run.end('Stopped');
    } else if (run.isPaused && !run.hasSideTask) {
      await condition(() => !run.isPaused || run.hasSideTask || run.isStopped);
    } else if (!run.isPrepared) {
      const prepare = () => database.prepareSink({ sink });
      if ((await attempt(run, prepare, 'side')) !== null) run.isPrepared = true;
    } else if (run.removing !== null) {
      const asked = run.removing;
      const removal = await attempt(run, () => database.removeExport(place), 'side');
      if (removal !== null) run.noteRemoval(asked, removal);
    } else if (run.verifying !== null) {
      const asked = run.verifying;
      const verify = () => readBack.verifyExport({ ...place, workflowId });
      const found = await attempt(run, verify, 'side');
      if (found !== null) run.noteVerification(asked, found);
    } else if (run.isCaughtUp && (run.mode === 'once' || run.isSessionEnded)) {
      const receipt = await attempt(run, () => readBack.sealExport(place), 'page');
      if (receipt !== null) run.noteReceipt(receipt);
    } else if (run.isCaughtUp) {
      // As the session was when the pages began: what came meanwhile is found at once.
      const { mark } = run;
      const now = await attempt(run, () => database.awaitTasks({ workflowId, mark }), 'idle');
      if (now !== null) run.noteMark(now);
    } else {
      const { cursor: from } = run;
      const write = () => database.exportPage({ ...place, workflowId, from });
      const page = await attempt(run, write, 'page');
      if (page !== null) run.notePage(page);
    }
  }
  return run.view();
}

/** Tries once. A failure that may pass is waited out, until somebody orders something.
 * @param what - `idle` is ended by any order, a `page` by those that make it useless, and what was
 *   ordered itself, `side`, by nothing but a stop.
 * @returns `null` when it has not come about yet.
 * @throws ApplicationFailure — no retry can mend it. */
async function attempt<T>(
  run: ExportRun,
  work: () => Promise<T>,
  what: 'page' | 'idle' | 'side',
): Promise<T | null> {
  const scope = new CancellationScope();
  const { orders } = run;
  let isOver = false;
  const isUnwanted = () =>
    run.isStopped ||
    (what === 'idle' && run.orders !== orders) ||
    (what === 'page' && run.removing !== null);
  condition(() => isOver || isUnwanted()).then(
    () => isOver || scope.cancel(),
    () => {
      // The workflow itself is cancelled, and the scope with it.
    },
  );
  try {
    const result = await scope.run(work);
    run.noteSuccess();
    return result;
  } catch (error) {
    if (isCancellation(error)) {
      if (isUnwanted()) return null;
      throw error;
    }
    const code = codeOf(error);
    const canPass = CREDENTIALS.has(code) || AWAY.has(code) || !isFinal(error);
    if (!canPass || run.failingMs >= GIVE_UP_MS) {
      run.fail(code);
      throw ApplicationFailure.nonRetryable('the export cannot go on', code);
    }
    const { sessionId, sink } = run;
    log.warn('export not yet', { sessionId, sink, code });
    const firstMs = run.retries.database.initialIntervalMs;
    const pauseMs = CREDENTIALS.has(code)
      ? GIVE_UP_MS
      : Math.min(firstMs * 2 ** Math.min(run.failures, 20), MAX_PAUSE_MS);
    run.noteFailure(code, CREDENTIALS.has(code) ? null : pauseMs, AWAY.has(code));
    const { orders: before } = run;
    await condition(() => run.orders !== before, pauseMs);
    run.noteRetry();
    return null;
  } finally {
    isOver = true;
  }
}
