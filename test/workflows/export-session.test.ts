import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { RetryPolicies } from '../../domain/config.js';
import type { ExportCursor, ExportReceipt } from '../../domain/export.js';
import { TASK_QUEUES, workflowIds } from '../../domain/ids.js';
import type { ExportSessionInput } from '../../workflows/export-session.js';
import {
  down,
  durationMsOf,
  failureCodeOf,
  LONG_RETRIES,
  refused,
  RETRIES,
  startTimeSkipping,
  withWorkers,
} from '../support/workflows.js';

const DAY_MS = 86_400_000;
const RECEIPT: ExportReceipt = {
  sessionId: '7',
  sink: 'mine',
  writtenAt: '2026-01-01T00:00:00.000Z',
  rows: { session: 1, task: 250, task_result: 750, payload: 1_252 },
  digest: '0x0d',
};

let env: TestWorkflowEnvironment;
before(async () => {
  env = await startTimeSkipping();
});
after(async () => {
  await env.teardown();
});

/** A sink of 250 tasks, a hundred a page, that notes what is done to it. */
function sink(changes: object = {}) {
  const steps: string[] = [];
  const database = {
    prepareSink: async ({ sink: name }: { sink: string }) => {
      steps.push(`prepare ${name}`);
    },
    exportPage: async ({ from, workflowId }: { from: ExportCursor; workflowId: string }) => {
      steps.push(`page ${from.ordinal} of ${workflowId}`);
      const ordinal = from.ordinal + 100;
      return ordinal < 250 ? { ...from, ordinal } : null;
    },
    sealExport: async () => {
      steps.push('seal');
      return RECEIPT;
    },
    ...changes,
  };
  return { steps, fakes: { database } };
}

let runs = 0;
async function start(retries: RetryPolicies) {
  return await env.client.workflow.start('exportSession', {
    workflowId: `export:${++runs}`,
    taskQueue: TASK_QUEUES.workflows,
    args: [
      {
        sessionId: '7',
        workflowId: workflowIds.session(1, '7'),
        sink: 'mine',
        retries,
      } satisfies ExportSessionInput,
    ],
  });
}

test('exportSession: prepares the sink, writes page after page, and seals what it wrote', async () => {
  const { steps, fakes } = sink();
  await withWorkers(env, fakes, async () => {
    assert.deepEqual(await (await start(RETRIES)).result(), RECEIPT);
  });
  assert.deepEqual(steps, [
    'prepare mine',
    'page 0 of session:1:7',
    'page 100 of session:1:7',
    'page 200 of session:1:7',
    'seal',
  ]);
});

test('exportSession: is only delayed by a database that is down for days, where retries allow it', async () => {
  let firstMs: number | null = null;
  const { steps, fakes } = sink({
    exportPage: async () => {
      const nowMs = await env.currentTimeMs();
      firstMs ??= nowMs;
      if (nowMs - firstMs < 4 * DAY_MS) throw down('DATABASE_UNREACHABLE');
      return null;
    },
  });
  await withWorkers(env, fakes, async () => {
    const handle = await start(LONG_RETRIES);
    assert.deepEqual(await handle.result(), RECEIPT);
    const days = (await durationMsOf(handle)) / DAY_MS;
    assert.ok(days >= 4 && days < 7, `${days} days`);
  });
  assert.deepEqual(steps, ['prepare mine', 'seal']);
});

test('exportSession: ends with the code of the outage when its retries are used up', async () => {
  const { fakes } = sink({
    prepareSink: async () => {
      throw down('DATABASE_UNREACHABLE');
    },
  });
  await withWorkers(env, fakes, async () => {
    assert.equal(await failureCodeOf(await start(RETRIES)), 'DATABASE_UNREACHABLE');
  });
});

test('exportSession: ends at once with the code of a database that refuses the rows', async () => {
  let asked = 0;
  const { steps, fakes } = sink({
    exportPage: async () => {
      asked++;
      throw refused('DATABASE_REFUSED');
    },
  });
  await withWorkers(env, fakes, async () => {
    assert.equal(await failureCodeOf(await start(RETRIES)), 'DATABASE_REFUSED');
  });
  assert.equal(asked, 1);
  assert.deepEqual(steps, ['prepare mine']);
});
