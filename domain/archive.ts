/**
 * The archive of a session: records of tasks that its workflow no longer holds, in pages on IPFS.
 * The workflow keeps the pages' CIDs; each page also names the one before it.
 */
import { EngineError } from './errors.js';
import type { Cid, SessionId, TaskId } from './ids.js';
import type { TaskRecord } from './lease.js';

/** Records of a full page: at nine miners a task, half of what a block may hold. */
export const ARCHIVE_PAGE_TASKS = 500;

export interface ArchivePage {
  readonly version: 1;
  readonly sessionId: SessionId;
  readonly previous: Cid | null;
  /** In the order of their ends; all have ended for good. */
  readonly records: readonly TaskRecord[];
}

/** Reads a page of unknown origin; its records are what the session's workflow wrote.
 * @throws REQUEST_INVALID — not a page of an archive. */
export function parseArchivePage(value: unknown): ArchivePage {
  const page = value as Partial<ArchivePage> | null;
  if (page?.version !== 1 || typeof page.sessionId !== 'string' || !Array.isArray(page.records)) {
    throw new EngineError('REQUEST_INVALID', {
      field: 'archive',
      expected: 'a page of an archive',
    });
  }
  return page as ArchivePage;
}

/** Tasks that a session's workflow answers with at a time: at nine miners a task, a third of what
 * Temporal carries. */
export const TASKS_A_PAGE = 500;

/** All tasks that a session's workflow still holds, by ordinal.
 * @param query - asks it for those from an ordinal on.
 * @throws as `query`. */
export async function readTasks(
  query: (from: number) => Promise<readonly TaskRecord[]>,
): Promise<TaskRecord[]> {
  const found: TaskRecord[] = [];
  for (let from = 0; ; from = (found.at(-1)?.ordinal ?? 0) + 1) {
    const page = await query(from);
    found.push(...page);
    if (page.length < TASKS_A_PAGE) return found;
  }
}

/** All tasks of a session, by ordinal: what its workflow knows, and what lies in its archive.
 * @param recent - the answer of the workflow's query, asked for before `pages`: a task that moves
 *   meanwhile is then in both.
 * @throws as `read`. */
export async function allTasks(
  pages: readonly Cid[],
  recent: readonly TaskRecord[],
  read: (page: Cid) => Promise<ArchivePage>,
): Promise<TaskRecord[]> {
  const found = new Map<TaskId, TaskRecord>();
  for (const cid of pages) {
    for (const record of (await read(cid)).records) found.set(record.taskId, record);
  }
  for (const record of recent) found.set(record.taskId, record);
  return [...found.values()].sort((a, b) => a.ordinal - b.ordinal);
}

/** Looks a task up in the archive, the latest page first; `null` where it is in none.
 * @throws as `read`. */
export async function findArchived(
  pages: readonly Cid[],
  taskId: TaskId,
  read: (page: Cid) => Promise<ArchivePage>,
): Promise<TaskRecord | null> {
  for (const cid of [...pages].reverse()) {
    const { records } = await read(cid);
    const record = records.find((r) => r.taskId.toLowerCase() === taskId.toLowerCase());
    if (record !== undefined) return record;
  }
  return null;
}
