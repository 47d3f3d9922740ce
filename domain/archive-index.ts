/**
 * Which pages of a session's archive may hold a task: four characters a task, which fit what a run of
 * the workflow hands to the next. A page that may hold it is read to be sure, so that an idempotency
 * key stays one task for as long as the session takes tasks.
 */
import type { Cid, TaskId } from './ids.js';

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
/** Of a task id, which is a hash: its last 24 bits. One page of 500 names a foreign id once in 33,000. */
const MARK_NIBBLES = 6;
const MARK_CHARS = 4;

interface Indexed {
  readonly page: Cid;
  readonly marks: string;
}

export class ArchiveIndex {
  readonly #pages: Indexed[] = [];

  /** @param pages - of the archive, oldest first.
   * @param carried - the `state` of the index over them; pages beyond it are in none. */
  constructor(pages: readonly Cid[] = [], carried: readonly string[] = []) {
    carried.forEach((marks, i) => {
      const page = pages[i];
      if (page !== undefined) this.#pages.push({ page, marks });
    });
  }

  /** Takes a page in. */
  add(page: Cid, taskIds: readonly TaskId[]): void {
    this.#pages.push({ page, marks: taskIds.map(markOf).join('') });
  }

  /** Pages that may hold a task, the latest first; a page that holds it is always among them.
   * @param but - pages that were read, and do not. */
  pagesWith(taskId: TaskId, but: readonly Cid[] = []): Cid[] {
    const mark = markOf(taskId);
    return this.#pages
      .filter(({ page, marks }) => hasMark(marks, mark) && !but.includes(page))
      .map(({ page }) => page)
      .reverse();
  }

  /** What the next run's index is made of, one text a page. */
  state(): readonly string[] {
    return this.#pages.map(({ marks }) => marks);
  }
}

function markOf(taskId: TaskId): string {
  const bits = Number.parseInt(taskId.slice(-MARK_NIBBLES), 16);
  return [18, 12, 6, 0].map((shift) => DIGITS[(bits >>> shift) & 63] ?? '').join('');
}

/** Whether a mark is in a page's, and not across two of them. */
function hasMark(marks: string, mark: string): boolean {
  for (let at = marks.indexOf(mark); at >= 0; at = marks.indexOf(mark, at + 1)) {
    if (at % MARK_CHARS === 0) return true;
  }
  return false;
}
