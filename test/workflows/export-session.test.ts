import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { RetryPolicies } from '../../domain/config.js';
import {
  EXPORT_START,
  type ExportCursor,
  type ExportMode,
  type ExportOrder,
  type ExportReceipt,
  type ExportState,
  type ExportVerification,
  type ExportView,
  type RemovalReceipt,
} from '../../domain/export.js';
import { TASK_QUEUES, workflowIds } from '../../domain/ids.js';
import type { ExportSessionInput } from '../../workflows/export-session.js';
import { exportOrderedSignal, exportQuery } from '../../workflows/messages.js';
import {
  down,
  durationMsOf,
  failureCodeOf,
  refused,
  RETRIES,
  startLocal,
  startTimeSkipping,
  untilQuiet,
  untilTrue,
  withWorkers,
} from '../support/workflows.js';

const DAY_MS = 86_400_000;
const ROWS = { session: 1, task: 250, task_result: 750, payload: 1_252 };
const RECEIPT: ExportReceipt = {
  sessionId: '7',
  sink: 'mine',
  writtenAt: '2026-01-01T00:00:00.000Z',
  rows: ROWS,
  digest: '0x0d',
};
const REMOVAL: RemovalReceipt = {
  sessionId: '7',
  sink: 'mine',
  removedAt: '2026-01-01T00:00:00.000Z',
  rows: ROWS,
  digest: '0x0d',
};
const VERIFICATION: ExportVerification = {
  ...RECEIPT,
  faults: { missing: 0, extra: 0, altered: 0 },
  found: [],
  verifiedAt: '2026-01-01T00:00:00.000Z',
};

let env: TestWorkflowEnvironment;
let skipping: TestWorkflowEnvironment;
/** The server that skips time loses what arrives while an activity ends: orders need a real one. */
let real: TestWorkflowEnvironment;
before(async () => {
  [skipping, real] = await Promise.all([startTimeSkipping(), startLocal()]);
  env = skipping;
});
after(async () => {
  await Promise.all([skipping.teardown(), real.teardown()]);
});

/** A test of orders, on the real server. */
function testOrders(name: string, scenario: () => Promise<void>): void {
  test(name, async () => {
    env = real;
    try {
      await scenario();
    } finally {
      env = skipping;
    }
  });
}

/** A session that tests let go on, and a sink that notes what is done to it. */
function world(changes: object = {}) {
  const steps: string[] = [];
  const session = { ended: 250, isOver: true };
  const written = (cursor: ExportCursor) => (cursor.final[0]?.[1] ?? -1) + 1;
  const database = {
    prepareSink: async ({ sink: name }: { sink: string }) => {
      steps.push(`prepare ${name}`);
    },
    exportPage: async ({ from, workflowId }: { from: ExportCursor; workflowId: string }) => {
      const first = written(from);
      const last = Math.min(first + 100, session.ended);
      steps.push(`page ${first} of ${workflowId}`);
      return {
        next: last === 0 ? from : { ...from, final: [[0, last - 1]] },
        isMore: last < session.ended,
        isEnded: session.isOver,
        tasks: last - first,
        rows: (last - first) * 9,
        lag: session.ended - last,
      };
    },
    // As the engine's, but for the time that it waits: a session that does not go on is asked again.
    awaitTasks: async ({ mark }: { mark: string }) => {
      const now = `${session.ended} ${session.isOver}`;
      if (now === mark) await new Promise((resolve) => setTimeout(resolve, 50));
      return now;
    },
    sealExport: async () => {
      steps.push('seal');
      return RECEIPT;
    },
    verifyExport: async () => {
      steps.push('verify');
      return VERIFICATION;
    },
    removeExport: async () => {
      steps.push('remove');
      return REMOVAL;
    },
    ...changes,
  };
  return { steps, session, fakes: { database } };
}

let runs = 0;
async function start(
  mode: ExportMode = 'once',
  retries: RetryPolicies = RETRIES,
): Promise<WorkflowHandle> {
  return await env.client.workflow.start('exportSession', {
    workflowId: `export:${++runs}`,
    taskQueue: TASK_QUEUES.workflows,
    args: [
      {
        sessionId: '7',
        workflowId: workflowIds.session(1, '7'),
        sink: 'mine',
        mode,
        retries,
      } satisfies ExportSessionInput,
    ],
  });
}

const viewOf = (handle: WorkflowHandle): Promise<ExportView> => handle.query(exportQuery);
const order = (handle: WorkflowHandle, what: ExportOrder, id = 'ask'): Promise<void> =>
  handle.signal(exportOrderedSignal, { order: what, id });
const until = (handle: WorkflowHandle, state: ExportState): Promise<void> =>
  untilTrue(env, async () => (await viewOf(handle)).state === state, state, '100ms');

test('exportSession: prepares the sink, writes page after page, and seals what it wrote', async () => {
  const { steps, fakes } = world();
  await withWorkers(env, fakes, async () => {
    const view = (await (await start()).result()) as ExportView;
    assert.deepEqual(view.receipt, RECEIPT);
    assert.deepEqual(
      [view.state, view.tasks, view.rows, view.lag, view.lastError],
      ['Done', 250, 2_250, 0, null],
    );
  });
  assert.deepEqual(steps, [
    'prepare mine',
    'page 0 of session:1:7',
    'page 100 of session:1:7',
    'page 200 of session:1:7',
    'seal',
  ]);
});

testOrders(
  'exportSession: follows a session, back-fills first, and ends with it after a last pass',
  async () => {
    const { steps, session, fakes } = world();
    session.isOver = false;
    await withWorkers(env, fakes, async () => {
      const handle = await start('follow');
      await until(handle, 'Following');
      assert.equal((await viewOf(handle)).tasks, 250);
      session.ended = 260;
      await untilTrue(env, async () => (await viewOf(handle)).tasks === 260, 'ten more', '100ms');
      session.ended = 265;
      session.isOver = true;
      const view = (await handle.result()) as ExportView;
      assert.deepEqual([view.state, view.tasks, view.receipt], ['Done', 265, RECEIPT]);
    });
    assert.equal(steps.filter((step) => step.startsWith('page')).length, 5);
    assert.equal(steps.at(-1), 'seal');
  },
);

test('exportSession: a database that is down for days only delays, and says that it is waited for', async () => {
  let firstMs: number | null = null;
  const { steps, fakes } = world({
    exportPage: async () => {
      const nowMs = await env.currentTimeMs();
      firstMs ??= nowMs;
      if (nowMs - firstMs < 2 * DAY_MS) throw down('SINK_UNREACHABLE');
      return {
        next: EXPORT_START,
        isMore: false,
        isEnded: true,
        tasks: 0,
        rows: 1,
        lag: 0,
      };
    },
  });
  await withWorkers(env, fakes, async () => {
    const handle = await start();
    await until(handle, 'WaitingForSink');
    const waiting = await viewOf(handle);
    assert.equal(waiting.lastError, 'SINK_UNREACHABLE');
    assert.ok(waiting.retryAtMs !== null);
    const view = (await handle.result()) as ExportView;
    assert.deepEqual([view.state, view.receipt, view.lastError], ['Done', RECEIPT, null]);
    // Over all runs: so many tries may not fit into one.
    const days = ((await env.currentTimeMs()) - (firstMs ?? Infinity)) / DAY_MS;
    assert.ok(days >= 2 && days < 2.1, `${days} days`);
  });
  assert.deepEqual(steps, ['prepare mine', 'seal']);
});

test('exportSession: wrong credentials wait for whoever mends them, and then go on', async () => {
  let isMended = false;
  let looks = 0;
  const { steps, fakes } = world({
    prepareSink: async () => {
      looks++;
      if (!isMended) throw refused('SINK_CREDENTIALS');
    },
  });
  await withWorkers(env, fakes, async () => {
    const handle = await start();
    await until(handle, 'WaitingForCredentials');
    await env.sleep('2 days');
    const waiting = await viewOf(handle);
    assert.deepEqual(
      [waiting.state, waiting.lastError, waiting.retryAtMs],
      ['WaitingForCredentials', 'SINK_CREDENTIALS', null],
    );
    // Told too early, it looks once and waits again.
    await order(handle, 'retry');
    await untilTrue(env, () => looks === 2, 'a second look', '100ms');
    // It has heard of that look, too: an order that came before would be of no use.
    await untilQuiet(env, handle);
    assert.equal((await viewOf(handle)).state, 'WaitingForCredentials');
    isMended = true;
    await order(handle, 'retry');
    assert.equal(((await handle.result()) as ExportView).state, 'Done');
  });
  assert.equal(steps.at(-1), 'seal');
});

test('exportSession: a broken certificate is waited for like an outage, under its own name', async () => {
  let tries = 0;
  const { fakes } = world({
    prepareSink: async () => {
      if (tries++ < 5) throw refused('SINK_UNTRUSTED');
    },
  });
  await withWorkers(env, fakes, async () => {
    const handle = await start();
    await until(handle, 'WaitingForSink');
    assert.equal((await viewOf(handle)).lastError, 'SINK_UNTRUSTED');
    assert.equal(((await handle.result()) as ExportView).state, 'Done');
  });
});

testOrders('exportSession: rests when it is told to, and goes on where it was', async () => {
  const { steps, session, fakes } = world();
  session.isOver = false;
  await withWorkers(env, fakes, async () => {
    const handle = await start('follow');
    await until(handle, 'Following');
    await order(handle, 'pause');
    await until(handle, 'Paused');
    session.ended = 300;
    session.isOver = true;
    await env.sleep('2s');
    assert.deepEqual([(await viewOf(handle)).state, (await viewOf(handle)).tasks], ['Paused', 250]);
    await order(handle, 'resume');
    const view = (await handle.result()) as ExportView;
    assert.deepEqual([view.state, view.tasks], ['Done', 300]);
  });
  assert.ok(steps.includes('page 250 of session:1:7'));
});

testOrders(
  'exportSession: stops at once, also while it waits for its sink, and keeps what was written',
  async () => {
    const { fakes } = world({
      sealExport: async () => {
        throw down('SINK_UNREACHABLE');
      },
    });
    await withWorkers(env, fakes, async () => {
      const handle = await start();
      await until(handle, 'WaitingForSink');
      await order(handle, 'stop');
      const view = (await handle.result()) as ExportView;
      assert.deepEqual([view.state, view.tasks, view.receipt], ['Stopped', 250, null]);
    });
  },
);

testOrders(
  'exportSession: verifies in between when it is asked to, and goes on following',
  async () => {
    const { session, fakes } = world();
    session.isOver = false;
    await withWorkers(env, fakes, async () => {
      const handle = await start('follow');
      await until(handle, 'Following');
      await order(handle, 'verify', 'mine');
      await untilTrue(
        env,
        async () => (await viewOf(handle)).answered === 'mine',
        'answer',
        '100ms',
      );
      const { verification, state } = await viewOf(handle);
      assert.deepEqual([verification, state], [VERIFICATION, 'Following']);
      session.isOver = true;
      assert.equal(((await handle.result()) as ExportView).state, 'Done');
    });
  },
);

testOrders(
  'exportSession: a removal ends the export, and nothing is written after it',
  async () => {
    const { steps, session, fakes } = world();
    session.isOver = false;
    await withWorkers(env, fakes, async () => {
      const handle = await start('follow');
      await until(handle, 'Following');
      session.ended = 900;
      await order(handle, 'remove');
      const view = (await handle.result()) as ExportView;
      assert.deepEqual([view.state, view.removal, view.receipt], ['Done', REMOVAL, null]);
    });
    assert.equal(steps.at(-1), 'remove');
  },
);

testOrders('exportSession: started to verify or to remove, it writes nothing', async () => {
  const { steps, fakes } = world();
  await withWorkers(env, fakes, async () => {
    const verified = (await (await start('verify')).result()) as ExportView;
    assert.deepEqual([verified.state, verified.verification], ['Done', VERIFICATION]);
    const removed = (await (await start('remove')).result()) as ExportView;
    assert.deepEqual([removed.state, removed.removal], ['Done', REMOVAL]);
  });
  assert.deepEqual(steps, ['prepare mine', 'verify', 'prepare mine', 'remove']);
});

test('exportSession: fails at once with the code of a sink that refuses the rows, and says so after', async () => {
  let asked = 0;
  const { steps, fakes } = world({
    exportPage: async () => {
      asked++;
      throw refused('EXPORT_REFUSED');
    },
  });
  await withWorkers(env, fakes, async () => {
    const handle = await start();
    assert.equal(await failureCodeOf(handle), 'EXPORT_REFUSED');
    const { state, lastError } = await viewOf(handle);
    assert.deepEqual([state, lastError], ['Failed', 'EXPORT_REFUSED']);
  });
  assert.equal(asked, 1);
  assert.deepEqual(steps, ['prepare mine']);
});

test('exportSession: is given up with the code of the outage after thirty days of it', async () => {
  const { fakes } = world({
    prepareSink: async () => {
      throw refused('SINK_CREDENTIALS');
    },
  });
  await withWorkers(env, fakes, async () => {
    const handle = await start();
    assert.equal(await failureCodeOf(handle), 'SINK_CREDENTIALS');
    const days = (await durationMsOf(handle)) / DAY_MS;
    assert.ok(days >= 30 && days < 31, `${days} days`);
  });
});
