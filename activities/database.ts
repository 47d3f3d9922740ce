/** Persistence to a user's own database: prepared, written page by page, compared, receipted. */
import { Context } from '@temporalio/activity';
import type { ExportReceipt, ExportRows } from '../domain/export.js';
import type { SessionId } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import type { SessionView } from '../domain/session.js';
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

/** A user's database, as these activities need it. */
export interface ExportSink {
  migrate(): Promise<void>;
  write(rows: ExportRows): Promise<void>;
  receipt(sessionId: SessionId): Promise<ExportReceipt>;
}

export interface DatabaseActivityDeps {
  /** @throws CONFIG_INVALID — no sink of that name. */
  readonly openSink: (name: string) => Promise<ExportSink>;
  readonly readSession: (
    workflowId: string,
  ) => Promise<{ readonly view: SessionView; readonly tasks: readonly TaskRecord[] }>;
  /** Rows of tasks, with the sealed payloads that their CIDs name. */
  readonly collectRows: (view: SessionView, tasks: readonly TaskRecord[]) => Promise<ExportRows>;
  readonly saveReceipt: (receipt: ExportReceipt) => Promise<void>;
}

const PAGE_TASKS = 100;

export function createDatabaseActivities(deps: DatabaseActivityDeps): DatabaseActivities {
  return translated<DatabaseActivities>({
    async prepareSink({ sink }) {
      await (await deps.openSink(sink)).migrate();
    },

    async exportPage({ workflowId, sink, from }) {
      const { view, tasks } = await deps.readSession(workflowId);
      const rest = tasks.filter((task) => task.ordinal >= from && task.state !== 'Open');
      const page = rest.slice(0, PAGE_TASKS);
      Context.current().heartbeat(from);
      const rows = await deps.collectRows(view, page);
      Context.current().heartbeat(from);
      await (await deps.openSink(sink)).write(rows);
      const last = page.at(-1);
      return rest.length > page.length && last !== undefined ? last.ordinal + 1 : null;
    },

    async sealExport({ sessionId, sink }) {
      const receipt = await (await deps.openSink(sink)).receipt(sessionId);
      await deps.saveReceipt({ ...receipt, sink });
      return { ...receipt, sink };
    },
  });
}
