/** Persistence to a user's own database: prepared, written page by page, compared, receipted. */
import { Context } from '@temporalio/activity';
import type { Sink } from '../adapters/database/sink.js';
import type { BlockStore } from '../adapters/ipfs/block-store.js';
import type { ExportReceipt } from '../domain/export.js';
import type { SessionId } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import type { SessionView } from '../domain/session.js';
import { collectRows } from './export-rows.js';
import { translated } from './failure.js';

export interface DatabaseActivities {
  /** Creates or updates our schema in the user's database. */
  prepareSink(input: { readonly sink: string }): Promise<void>;
  /** Writes the tasks from ordinal `from` on; rows that are there already stay one.
   * @returns the ordinal to go on from; `null` when all are written. */
  exportPage(input: {
    readonly sessionId: SessionId;
    readonly workflowId: string;
    readonly sink: string;
    readonly from: number;
  }): Promise<number | null>;
  /** Reads back what the sink holds of the session, and keeps the receipt. */
  sealExport(input: {
    readonly sessionId: SessionId;
    readonly sink: string;
  }): Promise<ExportReceipt>;
}

export interface DatabaseActivityDeps {
  /** @throws CONFIG_INVALID — no sink of that name. */
  readonly openSink: (name: string) => Promise<Sink>;
  readonly readSession: (
    workflowId: string,
  ) => Promise<{ readonly view: SessionView; readonly tasks: readonly TaskRecord[] }>;
  readonly store: BlockStore;
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
      const { view, tasks } = await deps.readSession(workflowId);
      const rest = tasks.filter((task) => task.ordinal >= from && task.outcome !== null);
      const page = rest.slice(0, PAGE_TASKS);
      Context.current().heartbeat(from);
      const rows = await collectRows(deps.store, view, page);
      Context.current().heartbeat(from);
      await (await deps.openSink(sink)).write(rows);
      const last = page.at(-1);
      return rest.length > page.length && last !== undefined ? last.ordinal + 1 : null;
    },

    async sealExport({ sessionId, sink }) {
      const digest = await (await deps.openSink(sink)).readDigest(sessionId);
      const receipt = { ...digest, sessionId, sink, writtenAt: new Date().toISOString() };
      await deps.saveReceipt(receipt);
      return receipt;
    },
  });
}
