import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { ErasurePlan, ErasureReceipt } from '../../domain/erasure.js';
import { TASK_QUEUES } from '../../domain/ids.js';
import { erasureQuery } from '../../workflows/messages.js';
import type { eraseSession } from '../../workflows/erase-session.js';
import {
  down,
  failureCodeOf,
  refused,
  RETRIES,
  startTimeSkipping,
  untilTrue,
  withWorkers,
} from '../support/workflows.js';

const OWNER = '0x00000000000000000000000000000000000000aa';
const PLAN: ErasurePlan = {
  owner: OWNER,
  level: 'sealed',
  keyrings: ['old-keyring', 'keyring'],
  tasks: 120,
  pages: ['page-1', 'page-2'],
  manifestCid: 'manifest',
  sinks: ['mine', 'other'],
};

let env: TestWorkflowEnvironment;
before(async () => {
  env = await startTimeSkipping();
});
after(() => env.teardown());

/** What is there, and every activity that takes something away. Each is cut off once after it has done
 * its work, as by a worker that is killed: its effect is there, and nobody was told. */
function world(options: { readonly isCutOff?: boolean; readonly changes?: object } = {}) {
  const left = new Set([
    ...PLAN.keyrings,
    ...PLAN.pages,
    ...['content-1', 'content-2', 'manifest', 'rows at mine', 'rows at other'],
  ]);
  const steps: string[] = [];
  const receipts: ErasureReceipt[] = [];
  const cut = new Set<string>();
  /** Does something, and is cut off the first time. */
  function done(what: string, gone: readonly string[]): void {
    steps.push(what);
    for (const name of gone) left.delete(name);
    if (options.isCutOff !== true || cut.has(what)) return;
    cut.add(what);
    throw ApplicationFailure.retryable('the worker was killed', 'INTERNAL');
  }
  const ipfs = {
    planErasure: async () => PLAN,
    destroyKeys: async ({ keyrings }: { keyrings: string[] }) => done('keys', keyrings),
    releaseTasks: async ({ page, from }: { page: string; from: number }) => {
      assert.ok(left.has(page), 'records are read until the last');
      done(`content of ${page} from ${from}`, from === 50 ? [page.replace('page', 'content')] : []);
      return from === 0 ? 50 : null;
    },
    releaseManifest: async ({ manifestCid }: { manifestCid: string }) =>
      done('manifest', [manifestCid]),
    unpin: async ({ cid }: { cid: string }) => done(cid, [cid]),
    signErasure: async (receipt: ErasureReceipt) => {
      receipts.push(receipt);
      done('receipt', []);
      return { receipt, signer: OWNER, signature: '0x11', cid: 'receipt' };
    },
  };
  const database = {
    removeExport: async ({ sessionId, sink }: { sessionId: string; sink: string }) => {
      done(`sink ${sink}`, [`rows at ${sink}`]);
      const rows = { session: 1, task: 120, task_result: 360, payload: 602 };
      return { sessionId, sink, rows, digest: '0x0d', removedAt: '2026-01-01T00:00:00.000Z' };
    },
  };
  const { changes = {} } = options;
  const fakes = { ipfs: { ...ipfs, ...changes }, database: { ...database, ...changes } };
  return { left, steps, receipts, fakes };
}

const start = (id: string): Promise<WorkflowHandle<typeof eraseSession>> =>
  env.client.workflow.start<typeof eraseSession>('eraseSession', {
    workflowId: `erase:${id}`,
    taskQueue: TASK_QUEUES.workflows,
    args: [{ chainId: 31_337, sessionId: '7', workflowId: 'session:31337:7', retries: RETRIES }],
  });

test('takes keys first, then content, rows and records, and leaves a receipt', async () => {
  const { fakes, steps, left } = world();
  await withWorkers(env, fakes, async () => {
    const handle = await start('plain');
    const { receipt, cid } = await handle.result();
    assert.equal(cid, 'receipt');
    const { keyrings, tasks, owner, level, manifestCid } = receipt;
    assert.deepEqual(
      { keyrings, tasks, owner, level, manifestCid },
      {
        keyrings: PLAN.keyrings,
        tasks: 120,
        owner: OWNER,
        level: 'sealed',
        manifestCid: 'manifest',
      },
    );
    assert.deepEqual(
      receipt.sinks.map(({ sink, rows }) => [sink, rows.task]),
      [
        ['mine', 120],
        ['other', 120],
      ],
    );
    assert.deepEqual((await handle.query(erasureQuery)).stage, 'Done');
  });
  assert.equal(steps[0], 'keys');
  assert.equal(steps.at(-1), 'receipt');
  assert.ok(steps.indexOf('page-1') > steps.indexOf('sink other'), 'records are needed until then');
  assert.deepEqual([...left], []);
});

test('is killed after every step, and takes away the same, with one receipt', async () => {
  const { fakes, steps, left, receipts } = world({ isCutOff: true });
  await withWorkers(env, fakes, async () => {
    const { receipt } = await (await start('killed')).result();
    assert.deepEqual(
      receipts.map((one) => JSON.stringify(one)),
      [JSON.stringify(receipt), JSON.stringify(receipt)],
    );
  });
  assert.deepEqual([...left], []);
  assert.equal(steps.filter((step) => step === 'keys').length, 2);
});

test('a sink that refuses or is away is waited for, and nothing says that it is done', async () => {
  let isBack = false;
  const { fakes, left } = world();
  const { removeExport } = fakes.database;
  fakes.database.removeExport = async (input) => {
    if (isBack) return await removeExport(input);
    throw input.sink === 'mine' ? refused('SINK_CREDENTIALS') : down('SINK_UNREACHABLE');
  };
  await withWorkers(env, fakes, async () => {
    const handle = await start('waiting');
    const view = () => handle.query(erasureQuery);
    const isWaiting = async () => (await view()).waitingFor === 'SINK_CREDENTIALS';
    await untilTrue(env, isWaiting, 'the sink is waited for', '10s');
    await env.sleep('3 days');
    const { stage, signed } = await view();
    assert.deepEqual([stage, signed], ['Sinks', null]);
    assert.ok(!left.has('keyring'), 'what is in the sink cannot be read any more');
    isBack = true;
    await handle.result();
  });
  assert.deepEqual([...left], []);
});

test('a session that is not closed is refused, and nothing is touched', async () => {
  const planErasure = async () => {
    throw refused('ERASURE_REFUSED');
  };
  const { fakes, steps } = world({ changes: { planErasure } });
  await withWorkers(env, fakes, async () => {
    assert.equal(await failureCodeOf(await start('open')), 'ERASURE_REFUSED');
  });
  assert.deepEqual(steps, []);
});
