/** `cortensor export`: a session into a user's own database. */
import { WorkflowNotFoundError, type WorkflowHandle } from '@temporalio/client';
import { EngineError } from '../../domain/errors.js';
import type { ExportReceipt } from '../../domain/export.js';
import { workflowIds } from '../../domain/ids.js';
import type { exportSession } from '../../workflows/export-session.js';
import { defineCommand, type Result } from '../command.js';
import { Display } from '../display.js';
import { OPERATOR_OPTIONS, withEngine } from '../operator.js';
import { parseSession } from '../service-layer.js';
import { failureCode } from '../workflow-failure.js';

const COMMON = {
  args: ['SESSION', 'SINK'],
  failure: 'the export failed, or Temporal could not be reached',
} as const;

export const exportStart = defineCommand({
  ...COMMON,
  name: 'export start',
  about: `Exports a session to a database under sinks of temporal.yaml, as far as the session has come. Repeating
it brings the database up to date.`,
  options: { ...OPERATOR_OPTIONS, wait: { about: 'wait for the receipt' } },
  async run({ args: [text, sink], values }) {
    const sessionId = parseSession(text);
    return await withEngine(values.config, async ({ starter }) => {
      const handle = await starter.exportSession(sessionId, sink);
      if (!values.wait) {
        return {
          lines: [`${handle.workflowId} is started; \`export status\` says how it ends.`],
          json: { workflowId: handle.workflowId, status: 'RUNNING' },
        };
      }
      const display = new Display();
      const receipt = await display.step(`export to ${sink}`, () => receiptOf(handle, sink));
      return receiptResult(handle.workflowId, receipt);
    });
  },
});

export const exportStatus = defineCommand({
  ...COMMON,
  name: 'export status',
  about:
    'Says how far the last export of a session to a sink is, with its receipt when it is done.',
  options: OPERATOR_OPTIONS,
  async run({ args: [text, sink], values }) {
    const workflowId = workflowIds.exportSession(parseSession(text), sink);
    return await withEngine(values.config, async ({ client }): Promise<Result> => {
      const handle = client.workflow.getHandle<typeof exportSession>(workflowId);
      const status = await statusOf(handle);
      if (status === 'RUNNING') {
        return { lines: [`${workflowId} is under way.`], json: { workflowId, status } };
      }
      return receiptResult(workflowId, await receiptOf(handle, sink));
    });
  },
});

async function statusOf(handle: WorkflowHandle<typeof exportSession>): Promise<string> {
  try {
    return (await handle.describe()).status.name;
  } catch (cause) {
    if (!(cause instanceof WorkflowNotFoundError)) throw cause;
    const expected = 'an export that was started, by `cortensor export start`';
    throw new EngineError('USAGE', { workflowId: handle.workflowId, expected }, { cause });
  }
}

async function receiptOf(
  handle: WorkflowHandle<typeof exportSession>,
  sink: string,
): Promise<ExportReceipt> {
  try {
    return await handle.result();
  } catch (cause) {
    const code = failureCode(cause);
    throw new EngineError('JOB_FAILED', { what: 'the export failed', sink, code }, { cause });
  }
}

function receiptResult(workflowId: string, receipt: ExportReceipt): Result {
  const rows = Object.values(receipt.rows).reduce((sum, count) => sum + count, 0);
  return {
    lines: [`${rows} rows are in ${receipt.sink}, receipt ${receipt.digest}.`],
    json: { workflowId, status: 'COMPLETED', receipt },
  };
}
