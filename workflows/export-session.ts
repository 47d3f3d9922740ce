/**
 * `exportSession`: writes a session to its user's own database, page by page, each row once; then
 * compares what the database holds with what was written, and leaves a receipt.
 */
import type { RetryPolicies } from '../domain/config.js';
import type { ExportCursor, ExportReceipt } from '../domain/export.js';
import type { SessionId } from '../domain/ids.js';
import { databaseActivities } from './activities.js';

export interface ExportSessionInput {
  readonly sessionId: SessionId;
  /** Of the session's workflow. */
  readonly workflowId: string;
  /** Name of a sink in the configuration; its credentials never enter a workflow. */
  readonly sink: string;
  readonly retries: RetryPolicies;
}

export async function exportSession(input: ExportSessionInput): Promise<ExportReceipt> {
  const { sessionId, workflowId, sink, retries } = input;
  const database = databaseActivities(retries);
  await database.prepareSink({ sink });
  let from: ExportCursor | null = { archived: 0, ordinal: 0 };
  while (from !== null) {
    from = await database.exportPage({ sessionId, workflowId, sink, from });
  }
  return await database.sealExport({ sessionId, sink });
}
