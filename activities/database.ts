/** Persistence to a user's own store: prepared, written page by page, read back, compared, removed. */
import { Context } from '@temporalio/activity';
import type { Sink } from '../adapters/database/sink/sink.js';
import type { BlockStore } from '../adapters/ipfs/block-store.js';
import { ARCHIVE_PAGE_TASKS, parseArchivePage } from '../domain/archive.js';
import {
  EXPORT_START,
  isDue,
  MAX_FAULTS,
  noteWritten,
  writtenTasks,
  type ExportCursor,
  type ExportDigest,
  type ExportReceipt,
  type ExportRows,
  type ExportVerification,
  type RemovalReceipt,
  type RowFault,
  type RowMark,
} from '../domain/export.js';
import type { Cid, SessionId } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import type { SessionView } from '../domain/session.js';
import { beatingWhile } from './beat.js';
import { collectRows, type Opener } from './export-rows.js';
import { translated } from './failure.js';

interface Place {
  readonly sessionId: SessionId;
  readonly sink: string;
}
interface Source extends Place {
  /** Of the session's workflow. */
  readonly workflowId: string;
}

/** What one page of an export came to. */
export interface ExportPage {
  readonly next: ExportCursor;
  /** False when nothing is due any more, as the session was when it was read. */
  readonly isMore: boolean;
  /** True when the session had ended by then. */
  readonly isEnded: boolean;
  readonly tasks: number;
  readonly rows: number;
  /** Ended tasks that are not written yet. */
  readonly lag: number;
}

export interface DatabaseActivities {
  /** Creates or updates what rows need in the user's store. */
  prepareSink(input: { readonly sink: string }): Promise<void>;
  /** Writes the session's row and the next tasks that are due; rows that are there already stay one. */
  exportPage(input: Source & { readonly from: ExportCursor }): Promise<ExportPage>;
  /** Waits until the session is no longer as `mark` says, some minutes at most.
   * @returns what it is like now; by nothing but comparison is anything told from it. */
  awaitTasks(input: { readonly workflowId: string; readonly mark: string }): Promise<string>;
  /** Reads back what the sink holds of the session, and keeps the receipt. */
  sealExport(input: Place): Promise<ExportReceipt>;
  /** Compares what the sink holds with the session's records and its evidence on IPFS. */
  verifyExport(input: Source): Promise<ExportVerification>;
  /** Deletes the session's rows in the sink, in one transaction. An export that runs is stopped first,
   * unless it is the one that asks. Repeating it deletes what is there by then. */
  removeExport(input: Place): Promise<RemovalReceipt>;
}

/** Reads a session's workflow. @throws SESSION_NOT_FOUND, TEMPORAL_UNREACHABLE */
export interface SessionReader {
  view(workflowId: string): Promise<SessionView>;
  /** Tasks that the workflow holds, by ordinal. */
  tasks(workflowId: string): Promise<readonly TaskRecord[]>;
  /** Pages of its archive, oldest first. Read after `tasks`, it holds what moved meanwhile. */
  archive(workflowId: string): Promise<readonly Cid[]>;
}

export interface DatabaseActivityDeps {
  /** @throws CONFIG_INVALID — no sink of that name. @throws SINK_CREDENTIALS */
  readonly openSink: (name: string) => Promise<Sink>;
  /** Opens what the sink's user wants opened, of one session.
   * @throws SEAL_NOT_RECIPIENT — the sink's identity is not a reader of the session. */
  readonly openerOf: (sink: string, view: SessionView) => Promise<Opener>;
  readonly session: SessionReader;
  readonly store: BlockStore;
  /** Reads a JSON document by CID; its bytes are re-hashed, its shape is `parse`'s to check. */
  readonly readJson: <T>(cid: Cid, parse: (value: unknown) => T) => Promise<T>;
  readonly saveReceipt: (receipt: ExportReceipt) => Promise<void>;
  readonly forgetReceipt: (sessionId: SessionId, sink: string) => Promise<void>;
  /** Stops an export and waits for its end; none that runs is no error. */
  readonly stopExport: (sessionId: SessionId, sink: string, signal: AbortSignal) => Promise<void>;
  /** The export's own workflow id, which is not stopped by what it asks for. */
  readonly exportId: (sessionId: SessionId, sink: string) => string;
  readonly marksOf: (rows: ExportRows) => readonly RowMark[];
  readonly digestOf: (marks: AsyncIterable<RowMark>) => Promise<ExportDigest>;
}

/** Tasks a page: a page's payloads are in memory at once. */
const PAGE_TASKS = 100;
/** Between two looks at a session that goes on. */
const LOOK_MS = 1_000;
/** An export that waits for its session asks it for this long at a time. */
const AWAIT_MS = 4 * 60_000;

export function createDatabaseActivities(deps: DatabaseActivityDeps): DatabaseActivities {
  const { session, store, openSink, openerOf } = deps;

  return translated<DatabaseActivities>({
    async prepareSink({ sink }) {
      await (await openSink(sink)).prepare();
    },

    exportPage: ({ sessionId, workflowId, sink, from }) =>
      beatingWhile(async () => {
        // First the view: a session that has ended by then has no more to come.
        const view = await session.view(workflowId);
        const { page, next, isMore } = await pageAt(deps, workflowId, from);
        const rows = await collectRows(store, view, page, await openerOf(sink, view));
        await (await openSink(sink)).write(sessionId, rows);
        return {
          next,
          isMore,
          isEnded: isEnded(view),
          tasks: page.length,
          rows: Object.values(rows).reduce((sum, list) => sum + list.length, 0),
          lag: Math.max(0, view.tasks.ended - writtenTasks(next)),
        };
      }),

    async awaitTasks({ workflowId, mark }) {
      const deadline = Date.now() + AWAIT_MS;
      for (;;) {
        const now = markOf(await session.view(workflowId));
        if (now !== mark || Date.now() > deadline) return now;
        Context.current().heartbeat();
        await Context.current().sleep(LOOK_MS);
      }
    },

    sealExport: ({ sessionId, sink }) =>
      beatingWhile(async () => {
        const digest = await deps.digestOf((await openSink(sink)).readMarks(sessionId));
        const receipt = { ...digest, sessionId, sink, writtenAt: new Date().toISOString() };
        await deps.saveReceipt(receipt);
        return receipt;
      }),

    verifyExport: ({ sessionId, workflowId, sink }) =>
      beatingWhile(async () => {
        const view = await session.view(workflowId);
        const opener = await openerOf(sink, view);
        const expected = new Map<string, RowMark>();
        let cursor = EXPORT_START;
        for (let isMore = true; isMore;) {
          const at = await pageAt(deps, workflowId, cursor);
          const rows = await collectRows(store, view, at.page, opener);
          for (const mark of deps.marksOf(rows)) expected.set(`${mark.table} ${mark.key}`, mark);
          ({ next: cursor, isMore } = at);
        }
        const found = (await openSink(sink)).readMarks(sessionId);
        return await compare({ sessionId, sink }, expected, found, deps.digestOf);
      }),

    removeExport: ({ sessionId, sink }) =>
      beatingWhile(async () => {
        const { info, cancellationSignal } = Context.current();
        if (info.workflowExecution?.workflowId !== deps.exportId(sessionId, sink)) {
          await deps.stopExport(sessionId, sink, cancellationSignal);
        }
        const open = await openSink(sink);
        await open.prepare();
        const { before, rows } = await open.remove(sessionId);
        await deps.forgetReceipt(sessionId, sink);
        const removedAt = new Date().toISOString();
        return { sessionId, sink, rows, digest: before.digest, removedAt };
      }),
  });
}

/** The next records that are due, and the cursor once they are written: those of the archive first. */
async function pageAt(
  { session, readJson }: Pick<DatabaseActivityDeps, 'session' | 'readJson'>,
  workflowId: string,
  from: ExportCursor,
): Promise<{
  readonly page: readonly TaskRecord[];
  readonly next: ExportCursor;
  readonly isMore: boolean;
}> {
  let cursor = from;
  let held: readonly TaskRecord[] | null = null;
  for (;;) {
    const archive = await session.archive(workflowId);
    const cid = archive[Math.floor(cursor.archived / ARCHIVE_PAGE_TASKS)];
    if (cid !== undefined) {
      const { records } = await readJson(cid, parseArchivePage);
      const due = records.filter((record) => isDue(cursor, record));
      const page = due.slice(0, PAGE_TASKS);
      // A closed session's last page may be short: the next one, if any, starts at a full one's end.
      const isRead = page.length === due.length;
      const archived = cursor.archived + (isRead ? ARCHIVE_PAGE_TASKS : 0);
      cursor = { ...cursor, archived };
      if (page.length > 0) return { page, next: noteWritten(cursor, page), isMore: true };
      continue;
    }
    if (held === null) {
      // What moves into the archive after this is found there, when it is asked once more.
      held = await session.tasks(workflowId);
      continue;
    }
    const due = held.filter((record) => isDue(cursor, record));
    const page = due.slice(0, PAGE_TASKS);
    return { page, next: noteWritten(cursor, page), isMore: due.length > page.length };
  }
}

async function compare(
  place: Place,
  expected: Map<string, RowMark>,
  found: AsyncIterable<RowMark>,
  digestOf: DatabaseActivityDeps['digestOf'],
): Promise<ExportVerification> {
  const faults: Record<RowFault, number> = { missing: 0, extra: 0, altered: 0 };
  const first: ExportVerification['found'][number][] = [];
  const note = (fault: RowFault, { table, key }: RowMark): void => {
    faults[fault]++;
    if (first.length < MAX_FAULTS) first.push({ fault, table, key });
  };
  async function* compared(): AsyncGenerator<RowMark> {
    for await (const mark of found) {
      const name = `${mark.table} ${mark.key}`;
      const wanted = expected.get(name);
      if (wanted === undefined) note('extra', mark);
      else if (wanted.hash !== mark.hash) note('altered', mark);
      expected.delete(name);
      yield mark;
    }
  }
  const digest = await digestOf(compared());
  for (const mark of expected.values()) note('missing', mark);
  return { ...place, ...digest, faults, found: first, verifiedAt: new Date().toISOString() };
}

function isEnded({ state }: SessionView): boolean {
  return state === 'Closed' || state === 'Failed';
}

/** What an export would write of it differs when this does. */
function markOf({ state, policyCid, keyring, budget, tasks }: SessionView): string {
  const { depositedWei, chargedWei, refundedWei } = budget;
  const money = [depositedWei, chargedWei, refundedWei];
  const { ended, settled } = tasks;
  return JSON.stringify([state, policyCid, keyring?.cid ?? null, ...money, ended, settled]);
}
