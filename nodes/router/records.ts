/** Records of a session's tasks, whether its workflow still holds them or only its archive does. */
import { getJson, type BlockStore } from '../../adapters/ipfs/block-store.js';
import { findArchived, parseArchivePage, type ArchivePage } from '../../domain/archive.js';
import { deadlineIn } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid, SessionId, TaskId } from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import type { SessionGateway } from './gateway.js';

/** Pages of which it is remembered what they hold: those of fifty sessions at their limit. */
const MAX_RANGES = 10_000;
const READ_MS = 30_000;

interface Range {
  readonly first: number;
  readonly last: number;
}

export class TaskRecords {
  readonly #gateway: SessionGateway;
  readonly #store: BlockStore;
  /** Ordinals of a page's records; a page never changes. */
  readonly #ranges = new Map<Cid, Range>();

  constructor(deps: { readonly gateway: SessionGateway; readonly blockStore: BlockStore }) {
    this.#gateway = deps.gateway;
    this.#store = deps.blockStore;
  }

  /** @throws TASK_NOT_FOUND — the session never took it.
   * @throws as `SessionGateway` and `BlockStore.get`. */
  async find(sessionId: SessionId, taskId: TaskId, signal: AbortSignal): Promise<TaskRecord> {
    const recent = await this.#gateway.task(sessionId, taskId);
    if (recent !== null) return recent;
    const pages = await this.#gateway.archive(sessionId);
    const archived = await this.findIn(pages, taskId, signal);
    if (archived === null) throw new EngineError('TASK_NOT_FOUND', { taskId });
    return archived;
  }

  /** Looks for a task in some pages of an archive.
   * @returns `null` where it is in none of them.
   * @throws as `BlockStore.get`. */
  findIn(pages: readonly Cid[], taskId: TaskId, signal: AbortSignal): Promise<TaskRecord | null> {
    return findArchived(pages, taskId, (cid) => this.#read(cid, signal));
  }

  /** Records by ordinal, `limit` of them at most.
   * @param from - the first ordinal.
   * @throws as `SessionGateway` and `BlockStore.get`. */
  async list(
    sessionId: SessionId,
    { from, limit }: { readonly from: number; readonly limit: number },
    signal: AbortSignal,
  ): Promise<TaskRecord[]> {
    // Before the pages: a task that is archived meanwhile is in both then, and in neither otherwise.
    const recent = await this.#gateway.tasks(sessionId);
    const isWanted = ({ ordinal }: TaskRecord) => ordinal >= from && ordinal < from + limit;
    const found = new Map<TaskId, TaskRecord>();
    for (const cid of await this.#gateway.archive(sessionId)) {
      const range = this.#ranges.get(cid);
      if (range !== undefined && (range.last < from || range.first >= from + limit)) continue;
      const { records } = await this.#read(cid, signal);
      for (const record of records.filter(isWanted)) found.set(record.taskId, record);
    }
    for (const record of recent.filter(isWanted)) found.set(record.taskId, record);
    return [...found.values()].sort((a, b) => a.ordinal - b.ordinal);
  }

  async #read(cid: Cid, outer: AbortSignal): Promise<ArchivePage> {
    const signal = deadlineIn(READ_MS, outer);
    const page = await getJson(this.#store, cid, parseArchivePage, { signal });
    const ordinals = page.records.map(({ ordinal }) => ordinal);
    if (this.#ranges.size >= MAX_RANGES) this.#ranges.clear();
    this.#ranges.set(cid, { first: Math.min(...ordinals), last: Math.max(...ordinals) });
    return page;
  }
}
