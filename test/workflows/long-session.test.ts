/**
 * A long session: its tasks come by the hundred, settlement reports back, and what the workflows keep
 * and what Temporal keeps of them stays within limits. LONG_SESSION_TASKS sets how long it is.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ARCHIVE_PAGE_TASKS, readTasks, type ArchivePage } from '../../domain/archive.js';
import { TASK_QUEUES, workflowIds, type Cid, type TaskId } from '../../domain/ids.js';
import { REMEMBERED_TASKS } from '../../domain/ledger.js';
import type { SessionView } from '../../domain/session.js';
import type { SettledTask } from '../../domain/task.js';
import {
  archiveQuery,
  awaitStateUpdate,
  closeSessionUpdate,
  completeTasksUpdate,
  sessionQuery,
  submitTasksUpdate,
  tasksQuery,
} from '../../workflows/messages.js';
import type { SettlementInput } from '../../workflows/settlement.js';
import { persistently, RETRIES, startLocal, withWorkers } from '../support/workflows.js';
import { CHAIN, CLOSE, MINERS, network, sessionInput, startSession } from './session-network.js';

const TASKS = Number(process.env['LONG_SESSION_TASKS'] ?? 4_000);
/** Tasks an update, and a batch. */
const TOGETHER = 100;
/** Tasks that a session holds at most. */
const MAX_HELD = 2_500;
/** Of one run: what a worker that starts can read of several at a time, and a fifth of Temporal's limit. */
const MAX_EVENTS = 1_300;
const MAX_BYTES = 10 * 1024 * 1024;
/** (10 + 20) tokens × 10 wei × 3 miners + 5 %. */
const CHARGE = 945n;
/** As long as a real one. */
const cid = (kind: string, n: number): Cid => `bafk${kind}${String(n).padStart(52, '0')}`;
const taskId = (n: number): TaskId => `0x${n.toString(16).padStart(64, '0')}`;
const MINER_ADDRESSES = MINERS.slice(0, 3).map(
  ({ address }, i) => `0x${String(i + 1).repeat(38)}${address.slice(2)}` as const,
);

// A real server: the one that skips time loses an update that arrives while an activity ends.
let env: TestWorkflowEnvironment;
before(async () => {
  env = await startLocal();
});
after(async () => {
  await env.teardown();
});

interface Run {
  readonly events: number;
  readonly bytes: number;
}

/** Length and size of every run of a workflow. */
async function runsOf(handle: WorkflowHandle): Promise<Run[]> {
  const runs: Run[] = [];
  for await (const { runId } of env.client.workflow.list({
    query: `WorkflowId = '${handle.workflowId}'`,
  })) {
    const { raw } = await env.client.workflow.getHandle(handle.workflowId, runId).describe();
    const { historyLength, historySizeBytes } = raw.workflowExecutionInfo ?? {};
    runs.push({ events: Number(historyLength), bytes: Number(historySizeBytes) });
  }
  return runs;
}

test('session: takes many thousand tasks, and no run of it or of settlement comes near a limit', async (t) => {
  const pages = new Map<Cid, ArchivePage>();
  const settled = new Set<TaskId>();
  const { fakes, closed } = network({
    ipfs: {
      archiveTasks: async (page: Omit<ArchivePage, 'version'>) => {
        const name = cid('page', pages.size);
        pages.set(name, { version: 1, ...page });
        return name;
      },
      buildBatch: async (tasks: readonly SettledTask[]) => {
        for (const task of tasks) {
          assert.ok(!settled.has(task.taskId), 'no task is settled twice');
          settled.add(task.taskId);
        }
        return { batchCid: cid('batch', settled.size) };
      },
    },
    chain: {
      findSettled: async () => [],
      settleBatch: async ({ batchCid }: { batchCid: Cid }) => {
        // So slow that more is left at the close than settlement takes in at a time.
        await delay(250);
        return { batchId: '0x', batchCid, root: '0x', settlementTx: taskId(settled.size) };
      },
      closeSession: async (input: { sessionId: string; chargedWei: string }) => {
        closed.push(input);
        return { refundedWei: (DEPOSIT - BigInt(input.chargedWei)).toString() };
      },
    },
  });
  const DEPOSIT = 10n ** 18n;
  const base = sessionInput('link', 3_600, { maxTasks: 100_000 });
  assert.ok(base.request !== undefined);
  const input = { ...base, request: { ...base.request, depositWei: DEPOSIT.toString() } };

  await withWorkers(env, fakes, async () => {
    const startedAtMs = Date.now();
    const settlement = await env.client.workflow.start('settlement', {
      workflowId: workflowIds.settlement(CHAIN),
      taskQueue: TASK_QUEUES.workflows,
      args: [
        {
          chainId: CHAIN,
          maxTasks: TOGETHER,
          maxAmountWei: null,
          maxAgeMs: 1_000,
          retries: RETRIES,
        } satisfies SettlementInput,
      ],
    });
    const handle = await startSession(env, input);
    const current = env.client.workflow.getHandle(handle.workflowId);
    await current.executeUpdate(awaitStateUpdate, { args: ['Open'] });

    const memory: number[] = [];
    for (let next = 0; next < TASKS;) {
      const numbers = Array.from({ length: Math.min(TOGETHER, TASKS - next) }, (_, i) => next + i);
      const answers = await persistently(() =>
        current.executeUpdate(submitTasksUpdate, {
          args: [{ tasks: numbers.map(submission) }],
        }),
      );
      // Refused ones only until settlement has caught up; a router's client tries again.
      const taken = answers.filter((answer) => !('refused' in answer)).length;
      for (const answer of answers) {
        if ('refused' in answer) assert.equal(answer.refused, 'SESSION_BUSY');
      }
      await persistently(() =>
        current.executeUpdate(completeTasksUpdate, {
          args: [{ tasks: numbers.slice(0, taken).map(completion) }],
        }),
      );
      next += taken;
      if (next % (TASKS / 4) === 0) memory.push(Math.round(process.memoryUsage.rss() / 2 ** 20));
      // The sums close at every step.
      const { budget } = await persistently(() => current.query(sessionQuery));
      assert.equal(BigInt(budget.chargedWei), BigInt(next) * CHARGE);
      assert.equal(budget.reservedWei, '0');
      assert.ok((await tasksOf(current)).length <= MAX_HELD);
    }
    // What no run knows any more is still one task: whoever asks again is sent to its page.
    const gone = (await current.query(archiveQuery)).flatMap(
      (name) => pages.get(name)?.records ?? [],
    );
    for (const record of [gone.at(0), gone.at(-1)]) {
      if (record === undefined) continue;
      const again = submission(record.ordinal);
      const [answer] = await persistently(() =>
        current.executeUpdate(submitTasksUpdate, { args: [{ tasks: [again] }] }),
      );
      assert.ok(answer !== undefined && 'mayBeIn' in answer, JSON.stringify(answer));
      const named = answer.mayBeIn.flatMap((name) => pages.get(name)?.records ?? []);
      assert.ok(named.some(({ taskId: id }) => id === record.taskId));
    }
    assert.ok(gone.length > 0 || TASKS < REMEMBERED_TASKS + ARCHIVE_PAGE_TASKS);
    await current.executeUpdate(closeSessionUpdate, CLOSE);
    const view = await current.result();
    assert.deepEqual((view as { tasks: unknown }).tasks, {
      accepted: TASKS,
      open: 0,
      ended: TASKS,
      settled: TASKS,
    });
    assert.equal(closed[0]?.chargedWei, (BigInt(TASKS) * CHARGE).toString());
    assert.equal(settled.size, TASKS);

    const archive = await current.query(archiveQuery);
    const recent = await tasksOf(current);
    const archived = archive.flatMap((name) => pages.get(name)?.records ?? []);
    const known = archived.map((record) => record.ordinal);
    assert.equal(new Set(known).size, TASKS);
    assert.equal(known.length, TASKS, 'after the close every task is in the archive, once');
    assert.ok(recent.length >= REMEMBERED_TASKS || archive.length === 0);
    const full = archive.slice(0, -1);
    assert.ok(full.every((name) => pages.get(name)?.records.length === ARCHIVE_PAGE_TASKS));

    for (const [name, workflow] of [
      ['session', handle],
      ['settlement', settlement],
    ] as const) {
      const runs = await runsOf(workflow);
      const events = runs.reduce((sum, run) => sum + run.events, 0);
      const longest = Math.max(...runs.map((run) => run.events));
      const largest = Math.max(...runs.map((run) => run.bytes));
      assert.ok(runs.length > 1, `${name} continues as new`);
      assert.ok(longest < MAX_EVENTS && largest < MAX_BYTES, `${longest}, ${largest}`);
      t.diagnostic(
        `${name}: ${TASKS} tasks, ${runs.length} runs, ${(events / TASKS).toFixed(3)} events a task, ` +
          `at most ${longest} events and ${(largest / 2 ** 20).toFixed(1)} MiB a run`,
      );
    }
    t.diagnostic(`memory after each quarter: ${memory.join(', ')} MiB`);
    t.diagnostic(`${((Date.now() - startedAtMs) / 1_000).toFixed(0)} s`);
    await settlement.terminate();
  });
});

test('session: tasks that come one by one make no run that is long to read again', async () => {
  const one = 250;
  const { fakes, closed } = network();
  const base = sessionInput('link', 3_600, { maxTasks: 100_000 });
  assert.ok(base.request !== undefined);
  await withWorkers(env, fakes, async () => {
    const handle = await startSession(env, base);
    const current = env.client.workflow.getHandle(handle.workflowId);
    await current.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    for (let n = 0; n < one; n++) {
      const [answer] = await persistently(() =>
        current.executeUpdate(submitTasksUpdate, { args: [{ tasks: [submission(n)] }] }),
      );
      assert.deepEqual(answer, { taskId: taskId(n), ordinal: n, ended: null });
      const failed = { ...completion(n), outcome: 'failed' as const };
      await persistently(() =>
        current.executeUpdate(completeTasksUpdate, { args: [{ tasks: [failed] }] }),
      );
    }
    await persistently(() => current.executeUpdate(closeSessionUpdate, CLOSE));
    const { tasks } = (await current.result()) as SessionView;
    assert.deepEqual([tasks.accepted, tasks.ended, tasks.open], [one, one, 0]);
    const runs = await runsOf(handle);
    const events = runs.reduce((sum, run) => sum + run.events, 0);
    assert.ok(events > 2 * MAX_EVENTS, `${events} events are too few to tell`);
    for (const run of runs) assert.ok(run.events < MAX_EVENTS, `${run.events} events in a run`);
  });
  assert.equal(closed.length, 1);
});

const tasksOf = (handle: WorkflowHandle) =>
  readTasks((from) => persistently(() => handle.query(tasksQuery, from)));

function submission(n: number) {
  return {
    taskId: taskId(n),
    requestCid: cid('request', n),
    model: 'm',
    maxPromptTokens: 50,
    maxTokens: 50,
    seed: n,
  };
}

function completion(n: number) {
  return {
    taskId: taskId(n),
    outcome: 'completed' as const,
    evidenceCid: cid('evidence', n),
    resultCid: cid('result', n),
    paidMiners: MINER_ADDRESSES,
    usage: { promptTokens: 10, completionTokens: 20 },
  };
}
