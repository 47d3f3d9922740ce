/** Persistence to a user's own database: prepared, written page by page, compared, receipted. */
import { Context } from '@temporalio/activity';
import type { Sink } from '../adapters/database/sink.js';
import type { BlockStore } from '../adapters/ipfs/block-store.js';
import { ARCHIVE_PAGE_TASKS, parseArchivePage } from '../domain/archive.js';
import type { ExportCursor, ExportReceipt } from '../domain/export.js';
import type { Cid, SessionId } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import type { SessionView } from '../domain/session.js';
import { collectRows } from './export-rows.js';
import { translated } from './failure.js';

export interface DatabaseActivities {
  /** Creates or updates our schema in the user's database. */
  prepareSink(input: { readonly sink: string }): Promise<void>;
  /** Writes the tasks from `from` on; rows that are there already stay one.
   * @returns where to go on; `null` when all are written. */
  exportPage(input: {
    readonly sessionId: SessionId;
    readonly workflowId: string;
    readonly sink: string;
    readonly from: ExportCursor;
  }): Promise<ExportCursor | null>;
  /** Reads back what the sink holds of the session, and keeps the receipt. */
  sealExport(input: {
    readonly sessionId: SessionId;
    readonly sink: string;
  }): Promise<ExportReceipt>;
}

export interface ExportedSession {
  readonly view: SessionView;
  readonly tasks: readonly TaskRecord[];
  /** Oldest first. */
  readonly archive: readonly Cid[];
}

export interface DatabaseActivityDeps {
  /** @throws CONFIG_INVALID — no sink of that name. */
  readonly openSink: (name: string) => Promise<Sink>;
  /** @returns its tasks beside the pages of its archive: every task is in one of the two, or both. */
  readonly readSession: (workflowId: string) => Promise<ExportedSession>;
  readonly store: BlockStore;
  /** Reads a JSON document by CID; its bytes are re-hashed, its shape is `parse`'s to check. */
  readonly readJson: <T>(cid: Cid, parse: (value: unknown) => T) => Promise<T>;
  readonly saveReceipt: (receipt: ExportReceipt) => Promise<void>;
}

/** Tasks a page: a page's payloads are in memory at once. */
const PAGE_TASKS = 100;

export function createDatabaseActivities(deps: DatabaseActivityDeps): DatabaseActivities {
  return translated<DatabaseActivities>({
    async prepareSink({ sink }) {
      await (await deps.openSink(sink)).migrate();
    },

    async exportPage({ workflowId, sink, from }) {
      const session = await deps.readSession(workflowId);
      const { page, next } = await pageAt(session, from, deps.readJson);
      Context.current().heartbeat(from);
      const rows = await collectRows(deps.store, session.view, page);
      Context.current().heartbeat(from);
      await (await deps.openSink(sink)).write(rows);
      return next;
    },

    async sealExport({ sessionId, sink }) {
      const digest = await (await deps.openSink(sink)).readDigest(sessionId);
      const receipt = { ...digest, sessionId, sink, writtenAt: new Date().toISOString() };
      await deps.saveReceipt(receipt);
      return receipt;
    },
  });
}

/** The records at a place of an export, and the place after them. */
async function pageAt(
  { tasks, archive }: ExportedSession,
  { archived, ordinal }: ExportCursor,
  readJson: DatabaseActivityDeps['readJson'],
): Promise<{ readonly page: readonly TaskRecord[]; readonly next: ExportCursor | null }> {
  const cid = archive[Math.floor(archived / ARCHIVE_PAGE_TASKS)];
  if (cid !== undefined) {
    const { records } = await readJson(cid, parseArchivePage);
    const start = archived % ARCHIVE_PAGE_TASKS;
    const page = records.slice(start, start + PAGE_TASKS);
    // A closed session's last page may be short: the next one, if any, starts at a full one's end.
    const isLast = start + page.length >= records.length;
    const after = archived - start + (isLast ? ARCHIVE_PAGE_TASKS : start + page.length);
    // What is outside the archive starts anew: some of it may have come into this page.
    return { page, next: { archived: after, ordinal: 0 } };
  }
  const rest = tasks.filter((task) => task.ordinal >= ordinal && task.outcome !== null);
  const page = rest.slice(0, PAGE_TASKS);
  const last = page.at(-1);
  const isMore = rest.length > page.length && last !== undefined;
  return { page, next: isMore ? { archived, ordinal: last.ordinal + 1 } : null };
}
