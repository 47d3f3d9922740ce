import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { AttestationRequest } from '../../domain/api.js';
import { TASK_QUEUES, workflowIds } from '../../domain/ids.js';
import type { SettlementReport } from '../../domain/settlement.js';
import type { SettledTask } from '../../domain/task.js';
import { tasksEndedSignal } from '../../workflows/messages.js';
import type { SettlementInput } from '../../workflows/settlement.js';
import { settledTask } from '../support/tasks.js';
import {
  argumentOf,
  down,
  refused,
  RETRIES,
  startTimeSkipping,
  untilIdle,
  untilTrue,
  withWorkers,
  type FakeActivities,
} from '../support/workflows.js';

const HOUR_MS = 3_600_000;
/** Sessions' numbers count up, so that no test sees another's workflows. */
let chains = 40_000;
let env: TestWorkflowEnvironment;
before(async () => {
  env = await startTimeSkipping();
});
after(async () => {
  await env.teardown();
});

type Settled = Pick<SettlementReport, 'taskIds' | 'transaction'>;

interface Report extends Settled {
  /** Workflow id of the session. */
  readonly to: string;
}

interface Network {
  readonly chainId: number;
  readonly settlement: WorkflowHandle;
  /** Settled batches, by the numbers of their tasks. */
  readonly batches: { readonly ordinals: readonly number[]; readonly atMs: number }[];
  /** Every batch that was laid out, settled or not. */
  readonly built: (readonly number[])[];
  send(tasks: readonly SettledTask[], isUrgent?: boolean, isAlone?: boolean): Promise<void>;
}

/** A chain with its settlement workflow; the batch's "CID" lists the tasks, so that fakes can tell.
 * @param sign - what the committee does with a batch; signs by default. */
async function settling(
  terms: Pick<SettlementInput, 'maxTasks' | 'maxAgeMs'> & Partial<SettlementInput>,
  sign: (ordinals: readonly number[]) => void | Promise<void>,
  scenario: (network: Network) => Promise<void>,
  chain: object = {},
): Promise<void> {
  const chainId = ++chains;
  const batches: Network['batches'] = [];
  const built: (readonly number[])[] = [];
  const fakes: FakeActivities = {
    ipfs: {
      buildBatch: async (tasks: readonly SettledTask[]) => {
        built.push(tasks.map((task) => task.ordinal));
        return { batchCid: tasks.map((task) => task.ordinal).join() };
      },
    },
    oracles: {
      collectAttestations: async (request: AttestationRequest) => {
        assert.equal(request.kind, 'settle');
        await sign(request.kind === 'settle' ? ordinalsOf(request.batchCid) : []);
        return ['0x01', '0x02', '0x03'];
      },
    },
    chain: {
      settleBatch: async ({ batchCid }: { batchCid: string }) => {
        batches.push({ ordinals: ordinalsOf(batchCid), atMs: await env.currentTimeMs() });
        const settlementTx = `0x${batchCid.replaceAll(',', '')}`;
        return { batchId: '0x', batchCid, root: '0x', settlementTx };
      },
      findSettled: async () => [],
      ...chain,
    },
  };
  await withWorkers(env, fakes, async () => {
    const settlement = await env.client.workflow.start('settlement', {
      workflowId: workflowIds.settlement(chainId),
      taskQueue: TASK_QUEUES.workflows,
      args: [{ chainId, maxAmountWei: null, retries: RETRIES, ...terms } satisfies SettlementInput],
    });
    const send: Network['send'] = async (tasks, isUrgent = false, isAlone = false) => {
      await settlement.signal(tasksEndedSignal, { tasks, isUrgent, isAlone });
    };
    await scenario({ chainId, settlement, batches, built, send });
    await untilIdle(env, settlement);
    // What it still waits for must not wake it in another test.
    await settlement.terminate();
  });
}

function ordinalsOf(batchCid: string): number[] {
  return batchCid.split(',').map(Number);
}

const signs = (): void => {};

/** What a settlement workflow has told sessions, whether they were there or not. */
async function reportsOf(settlement: WorkflowHandle): Promise<Report[]> {
  const { events } = await settlement.fetchHistory();
  return (events ?? []).flatMap(
    ({ signalExternalWorkflowExecutionInitiatedEventAttributes: signal }) =>
      signal?.signalName === 'tasksSettled'
        ? [{ to: signal.workflowExecution?.workflowId ?? '', ...argumentOf<Settled>(signal.input) }]
        : [],
  );
}

async function outcomesOf(settlement: WorkflowHandle): Promise<Settled[]> {
  const reports = await reportsOf(settlement);
  return reports.map(({ taskIds, transaction }) => ({ taskIds, transaction }));
}

const tasks = (count: number, sessionId = '1') =>
  Array.from({ length: count }, (_, ordinal) => settledTask(sessionId, ordinal));

test('settlement: closes a batch as soon as it is full', async () => {
  await settling({ maxTasks: 3, maxAgeMs: HOUR_MS }, signs, async ({ batches, send }) => {
    const startedAt = await env.currentTimeMs();
    await send(tasks(3));
    await untilTrue(env, () => batches.length > 0, 'a batch');
    assert.deepEqual(batches[0]?.ordinals, [0, 1, 2]);
    assert.ok((batches[0]?.atMs ?? 0) - startedAt < HOUR_MS / 2);
  });
});

test('settlement: closes a batch that does not fill when its first task is old enough', async () => {
  await settling({ maxTasks: 100, maxAgeMs: HOUR_MS }, signs, async ({ batches, send }) => {
    const startedAt = await env.currentTimeMs();
    await send(tasks(1));
    await env.sleep(HOUR_MS / 2);
    await send(tasks(2));
    await untilTrue(env, () => batches.length > 0, 'a batch', '1 minute');
    assert.deepEqual(batches[0]?.ordinals, [0, 1]);
    const ageMs = (batches[0]?.atMs ?? 0) - startedAt;
    assert.ok(ageMs >= HOUR_MS && ageMs < 1.1 * HOUR_MS, `${ageMs} ms`);
  });
});

test('settlement: does not make a session that closes wait, however many batches it takes', async () => {
  await settling({ maxTasks: 2, maxAgeMs: 24 * HOUR_MS }, signs, async ({ batches, send }) => {
    const startedAt = await env.currentTimeMs();
    await send(tasks(5), true);
    await untilTrue(env, () => batches.length === 3, 'three batches', '1 minute');
    assert.deepEqual(
      batches.map((batch) => batch.ordinals),
      [[0, 1], [2, 3], [4]],
    );
    assert.ok((batches[2]?.atMs ?? 0) - startedAt < HOUR_MS);
  });
});

test('settlement: puts a task that is reported twice into one batch only', async () => {
  await settling({ maxTasks: 2, maxAgeMs: HOUR_MS }, signs, async ({ batches, send }) => {
    await send(tasks(2));
    await untilTrue(env, () => batches.length === 1, 'the first batch');
    await send(tasks(3), true);
    await send(tasks(3), true);
    await untilTrue(env, () => batches.length === 2, 'the second batch');
    await env.sleep(2 * HOUR_MS);
    assert.deepEqual(
      batches.map((batch) => batch.ordinals),
      [[0, 1], [2]],
    );
  });
});

test('settlement: tells each session the transaction of its own tasks', async () => {
  await settling({ maxTasks: 3, maxAgeMs: HOUR_MS }, signs, async (network) => {
    const { chainId, settlement, send } = network;
    const [mine, yours] = [[settledTask('1', 0), settledTask('1', 1)], [settledTask('2', 2)]];
    await send([...mine, ...yours]);
    await untilTrue(env, async () => (await reportsOf(settlement)).length === 2, 'both reports');
    const settled = { isSettled: true, transaction: '0x012', batchCid: '0,1,2' };
    assert.deepEqual(await reportsOf(settlement), [
      { to: `session:${chainId}:1`, taskIds: mine.map((t) => t.taskId), ...settled },
      { to: `session:${chainId}:2`, taskIds: yours.map((t) => t.taskId), ...settled },
    ]);
  });
});

test('settlement: waits out an outage longer than every retry with the same batch', async () => {
  let untilMs = Number.POSITIVE_INFINITY;
  const sign = async (): Promise<void> => {
    if ((await env.currentTimeMs()) < untilMs) throw down('NO_QUORUM');
  };
  await settling({ maxTasks: 2, maxAgeMs: HOUR_MS }, sign, async (network) => {
    const { batches, built, settlement, send } = network;
    untilMs = (await env.currentTimeMs()) + 2.5 * HOUR_MS;
    await send(tasks(2));
    await env.sleep(HOUR_MS);
    // Arrived meanwhile: it must not slip into the batch whose transaction may be on its way.
    await send(tasks(3));
    await untilTrue(env, () => batches.length === 1, 'the batch', '10 minutes');
    assert.ok(built.length > 1, 'retries had ended at least once');
    assert.ok(built.every((ordinals) => ordinals.join() === '0,1'));
    await env.sleep('1s');
    assert.deepEqual(
      (await reportsOf(settlement)).map((report) => report.transaction),
      ['0x01'],
      'nothing was reported as disputed',
    );
  });
});

test('settlement: hands a task that the committee names back, and settles the rest', async () => {
  const sign = (ordinals: readonly number[]): void => {
    if (ordinals.includes(1)) {
      throw refused('ATTESTATION_REFUSED', { disputed: settledTask('1', 1).taskId });
    }
  };
  await settling(
    { maxTasks: 3, maxAgeMs: HOUR_MS },
    sign,
    async ({ batches, settlement, send }) => {
      await send(tasks(3));
      await untilTrue(env, async () => (await reportsOf(settlement)).length === 2, 'both reports');
      const [t0, t1, t2] = tasks(3).map((task) => task.taskId);
      assert.deepEqual(await outcomesOf(settlement), [
        { taskIds: [t1], transaction: null },
        { taskIds: [t0, t2], transaction: '0x02' },
      ]);
      assert.deepEqual(
        batches.map((batch) => batch.ordinals),
        [[0, 2]],
      );
    },
  );
});

test('settlement: finds the one task of four that makes a batch fail when nobody names it', async () => {
  const sign = (ordinals: readonly number[]): void => {
    if (ordinals.includes(2)) throw refused('ATTESTATION_REFUSED', { disputed: '' });
  };
  await settling(
    { maxTasks: 4, maxAgeMs: HOUR_MS },
    sign,
    async ({ batches, settlement, send }) => {
      await send(tasks(4));
      await untilTrue(env, async () => (await reportsOf(settlement)).length === 3, 'three reports');
      const [t0, t1, t2, t3] = tasks(4).map((task) => task.taskId);
      assert.deepEqual(await outcomesOf(settlement), [
        { taskIds: [t0, t1], transaction: '0x01' },
        { taskIds: [t2], transaction: null },
        { taskIds: [t3], transaction: '0x3' },
      ]);
      assert.deepEqual(
        batches.map((batch) => batch.ordinals),
        [[0, 1], [3]],
      );
    },
  );
});

test('settlement: goes on when the session of a settled task is gone', async () => {
  await settling({ maxTasks: 1, maxAgeMs: HOUR_MS }, signs, async ({ batches, send }) => {
    await send([settledTask('1', 0)]);
    await untilTrue(env, () => batches.length === 1, 'the first batch');
    await send([settledTask('2', 1)]);
    await untilTrue(env, () => batches.length === 2, 'the second batch');
  });
});

test('settlement: closes a batch when its charges come to the sum that the deployment names', async () => {
  const terms = { maxTasks: 100, maxAgeMs: 24 * HOUR_MS, maxAmountWei: '210' };
  await settling(terms, signs, async ({ batches, send }) => {
    const startedAt = await env.currentTimeMs();
    await send(tasks(3));
    await untilTrue(env, () => batches.length === 1, 'a batch');
    assert.deepEqual(batches[0]?.ordinals, [0, 1], '105 wei each');
    assert.ok((batches[0]?.atMs ?? 0) - startedAt < HOUR_MS);
  });
});

test('settlement: settles tasks that do so alone at once, each in a batch of its own', async () => {
  await settling({ maxTasks: 100, maxAgeMs: 24 * HOUR_MS }, signs, async ({ batches, send }) => {
    await send(tasks(1));
    await send(tasks(3).slice(1), true, true);
    await untilTrue(env, () => batches.length >= 2, 'two batches', '1 minute');
    assert.deepEqual(
      batches.slice(0, 2).map((batch) => batch.ordinals),
      [[1], [2]],
    );
  });
});

/** Retries of the committee as a deployment has them: few, and soon over. */
const FEW = { ...RETRIES, oracle: { ...RETRIES.oracle, maximumAttempts: 2 } };

/** A committee that lacks the content of one task, as long as it is said to. */
function lacking(ordinal: number) {
  const evidence = { isMissing: true };
  const sign = (ordinals: readonly number[]): void => {
    if (!evidence.isMissing || !ordinals.includes(ordinal)) return;
    throw ApplicationFailure.create({
      type: 'NO_QUORUM',
      message: 'content is missing',
      details: [{ missing: settledTask('1', ordinal).taskId }],
    });
  };
  return { evidence, sign };
}

test('settlement: a task whose evidence is missing holds up no other, and settles once it is back', async () => {
  const { evidence, sign } = lacking(1);
  await settling({ maxTasks: 3, maxAgeMs: HOUR_MS, retries: FEW }, sign, async (network) => {
    const { batches, settlement, send } = network;
    await send(tasks(3));
    await untilTrue(env, () => batches.length === 1, 'the batch of the others', '1 minute');
    assert.deepEqual(batches[0]?.ordinals, [0, 2]);
    await send([settledTask('2', 5)], true);
    await untilTrue(env, () => batches.length === 2, 'a later batch', '1 minute');
    assert.deepEqual(batches[1]?.ordinals, [5]);
    await env.sleep(6 * HOUR_MS);
    assert.equal(batches.length, 2);
    evidence.isMissing = false;
    await untilTrue(env, () => batches.length === 3, 'the batch of the late one', '1 hour');
    assert.deepEqual(batches[2]?.ordinals, [1]);
    await env.sleep('1s');
    assert.ok((await outcomesOf(settlement)).every(({ transaction }) => transaction !== null));
  });
});

test('settlement: gives a task up when its evidence is missing for a week, not before', async () => {
  const { sign } = lacking(0);
  await settling(
    { maxTasks: 1, maxAgeMs: HOUR_MS, retries: FEW },
    sign,
    async ({ settlement, send }) => {
      const startedAt = await env.currentTimeMs();
      await send(tasks(1));
      const isReported = async () => (await reportsOf(settlement)).length === 1;
      await untilTrue(env, isReported, 'the report', '6 hours');
      assert.deepEqual(await outcomesOf(settlement), [
        { taskIds: [settledTask('1', 0).taskId], transaction: null },
      ]);
      const days = ((await env.currentTimeMs()) - startedAt) / (24 * HOUR_MS);
      assert.ok(days >= 7 && days < 8.5, `${days} days`);
    },
  );
});

test('settlement: started anew, it finds the tasks settled that an earlier run settled', async () => {
  const before = tasks(3).slice(0, 2);
  const chain = {
    settleBatch: async ({ batchCid }: { batchCid: string }) => {
      if (/[01]/.test(batchCid)) throw refused('TRANSACTION_REVERTED');
      return { batchId: '0x', batchCid, root: '0x', settlementTx: '0x02' };
    },
    findSettled: async (asked: readonly SettledTask[]) =>
      asked.filter(({ ordinal }) => ordinal < 2).map(({ taskId }) => taskId),
  };
  await settling(
    { maxTasks: 3, maxAgeMs: HOUR_MS },
    signs,
    async ({ settlement, send }) => {
      await send(tasks(3));
      await untilTrue(env, async () => (await reportsOf(settlement)).length === 2, 'reports');
      const reports = (await reportsOf(settlement)) as (Report & SettlementReport)[];
      assert.deepEqual(
        reports.map(({ taskIds, isSettled, transaction }) => [taskIds, isSettled, transaction]),
        [
          [before.map((task) => task.taskId), true, null],
          [[settledTask('1', 2).taskId], true, '0x02'],
        ],
      );
    },
    chain,
  );
});

test('settlement: once signed, a batch stays as it is, whatever becomes of its evidence', async () => {
  const { evidence, sign } = lacking(0);
  evidence.isMissing = false;
  const sent: (readonly string[])[] = [];
  let untilMs = Number.POSITIVE_INFINITY;
  const chain = {
    settleBatch: async ({ batchCid, signatures }: { batchCid: string; signatures: string[] }) => {
      sent.push([batchCid, ...signatures]);
      evidence.isMissing = true;
      if ((await env.currentTimeMs()) < untilMs) throw down('TRANSACTION_PENDING');
      return { batchId: '0x', batchCid, root: '0x', settlementTx: '0x0a' };
    },
  };
  await settling(
    { maxTasks: 2, maxAgeMs: HOUR_MS },
    sign,
    async ({ settlement, send }) => {
      untilMs = (await env.currentTimeMs()) + 2.5 * HOUR_MS;
      await send(tasks(2));
      await untilTrue(
        env,
        async () => (await reportsOf(settlement)).length > 0,
        'it',
        '10 minutes',
      );
      assert.ok(sent.length > 2);
      assert.equal(new Set(sent.map((call) => call.join())).size, 1, 'one batch, one quorum');
      assert.equal((await outcomesOf(settlement))[0]?.transaction, '0x0a');
    },
    chain,
  );
});
