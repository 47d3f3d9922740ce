import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { MinerStatus } from '../../activities/chain.js';
import type { AttestationRequest } from '../../domain/api.js';
import { scoreNode, type NodeHealth, type Probe } from '../../domain/health.js';
import { TASK_QUEUES, type Address } from '../../domain/ids.js';
import type { NodeStatus } from '../../domain/node.js';
import type { HealthEpochInput, HealthEpochResult } from '../../workflows/health-epoch.js';
import {
  refused,
  RETRIES,
  startTimeSkipping,
  untilTrue,
  withWorkers,
  type FakeActivities,
} from '../support/workflows.js';

const HONEST: Address = `0x${'01'.repeat(20)}`;
const DISHONEST: Address = `0x${'02'.repeat(20)}`;
const SILENT: Address = `0x${'03'.repeat(20)}`;
const RECOVERED: Address = `0x${'04'.repeat(20)}`;
const WEEK_OF_EPOCHS = 28;

const INPUT: HealthEpochInput = {
  model: 'm',
  deadlineMs: 60_000,
  probes: { poi: 2, pouw: 3 },
  retries: RETRIES,
};

const HEALTH: Readonly<Record<Address, NodeHealth>> = {
  [HONEST]: scoreNode(HONEST, { livenessBps: 10_000, poiBps: 10_000, pouwBps: 10_000 }),
  [DISHONEST]: scoreNode(DISHONEST, { livenessBps: 10_000, poiBps: 0, pouwBps: 2_000 }),
  [SILENT]: scoreNode(SILENT, { livenessBps: 0, poiBps: 0, pouwBps: 0 }),
  [RECOVERED]: scoreNode(RECOVERED, { livenessBps: 9_000, poiBps: 10_000, pouwBps: 8_000 }),
};

let env: TestWorkflowEnvironment;
before(async () => {
  env = await startTimeSkipping();
});
after(async () => {
  await env.teardown();
});

interface World {
  readonly statuses: Map<Address, NodeStatus>;
  readonly reports: { readonly epoch: number; readonly scores: readonly NodeHealth[] }[];
  /** Status changes on chain, in order. */
  readonly changes: string[];
  readonly probed: { readonly miners: readonly Address[]; readonly probes: readonly Probe[] }[];
  readonly fakes: FakeActivities;
}

/** Chain, committee and router, as far as epochs see them.
 * @param refuses - what the committee does not sign. */
function world(
  options: {
    readonly refuses?: (request: AttestationRequest) => boolean;
    readonly score?: (scores: readonly NodeHealth[]) => readonly NodeHealth[];
  } = {},
): World {
  const statuses = new Map<Address, NodeStatus>([
    [HONEST, 'Active'],
    [DISHONEST, 'Active'],
    [SILENT, 'Active'],
    [RECOVERED, 'Jailed'],
  ]);
  const reports: { epoch: number; scores: readonly NodeHealth[] }[] = [];
  const changes: string[] = [];
  const probed: { miners: readonly Address[]; probes: readonly Probe[] }[] = [];
  const fakes: FakeActivities = {
    chain: {
      nextEpoch: async () => reports.length + 1,
      listMiners: async (): Promise<MinerStatus[]> =>
        [...statuses].map(([address, status]) => ({ address, status })),
      reportEpoch: async ({ epoch, scores }: (typeof reports)[number]) => {
        reports.push({ epoch, scores });
        return { root: '0x0e', reportTx: '0x0f' };
      },
      changeNodeStatus: async (change: { kind: string; node: Address; epoch: number }) => {
        statuses.set(change.node, change.kind === 'jail-node' ? 'Jailed' : 'Active');
        changes.push(`${change.epoch}: ${change.kind} ${change.node}`);
        return '0x10';
      },
    },
    oracles: {
      scoreEpoch: async () => {
        const scores = (probed.at(-1)?.miners ?? []).flatMap((miner) => HEALTH[miner] ?? []);
        return options.score?.(scores) ?? scores;
      },
      collectAttestations: async (request: AttestationRequest) => {
        if (options.refuses?.(request) === true) throw refused('ATTESTATION_REFUSED');
        return ['0x01', '0x02', '0x03'];
      },
    },
    routers: {
      runProbes: async (asked: (typeof probed)[number] & { epoch: number }) => {
        probed.push(asked);
        return { evidenceCid: `evidence-${asked.epoch}`, answered: asked.miners.length - 1 };
      },
    },
  };
  return { statuses, reports, changes, probed, fakes };
}

let runs = 0;
async function start(cronSchedule?: string): Promise<WorkflowHandle> {
  return await env.client.workflow.start('healthEpoch', {
    workflowId: `health:test-${++runs}`,
    taskQueue: TASK_QUEUES.workflows,
    args: [INPUT],
    ...(cronSchedule === undefined ? {} : { cronSchedule }),
  });
}

/** Runs one epoch to its end. */
async function runEpoch({ fakes }: World): Promise<HealthEpochResult> {
  return await withWorkers(env, fakes, async () => (await (await start()).result()) as never);
}

// The test server knows no schedules; a cron start begins runs as a schedule does.
test('healthEpoch: a week of epochs jails the dishonest once, releases the recovered, skips no number', async () => {
  let attempts = 0;
  const state = world({
    score: (scores) => {
      // The committee's database is damaged for one epoch.
      if (++attempts === 5) throw refused('CONTENT_MISMATCH');
      return scores;
    },
  });
  const { reports, changes, statuses } = state;
  await withWorkers(env, state.fakes, async () => {
    const startedAt = await env.currentTimeMs();
    const handle = await start('0 */6 * * *');
    await untilTrue(env, () => reports.length >= WEEK_OF_EPOCHS, 'a week', '6 hours');
    const days = ((await env.currentTimeMs()) - startedAt) / 86_400_000;
    assert.ok(days > 6.5 && days < 8.5, `${days} days`);
    await handle.terminate();
  });
  assert.ok(attempts > reports.length, 'one epoch failed, and those after it ran');
  assert.deepEqual(
    reports.map((report) => report.epoch),
    reports.map((_, i) => i + 1),
  );
  assert.deepEqual(changes.toSorted(), [
    `1: jail-node ${DISHONEST}`,
    `1: release-node ${RECOVERED}`,
  ]);
  assert.equal(statuses.get(SILENT), 'Active', 'silence is low in score, but proves nothing');
  for (const { scores } of reports) {
    assert.equal(scores.find((score) => score.miner === SILENT)?.isHealthy, false);
  }
});

test('healthEpoch: puts the same probes, which follow from the number, to every known miner', async () => {
  const state = world();
  await runEpoch(state);
  const again = world();
  await runEpoch(again);
  const [first, second] = [state.probed[0], again.probed[0]];
  assert.deepEqual(first?.miners.toSorted(), [HONEST, DISHONEST, SILENT, RECOVERED].sort());
  assert.equal(first?.probes.length, INPUT.probes.poi + INPUT.probes.pouw);
  assert.deepEqual(first?.probes, second?.probes);
});

test('healthEpoch: asks neither miners that are not admitted yet nor those that have left', async () => {
  const state = world();
  state.statuses.set(HONEST, 'Pending');
  state.statuses.set(SILENT, 'Exited');
  await runEpoch(state);
  assert.deepEqual(state.probed[0]?.miners.toSorted(), [DISHONEST, RECOVERED]);
});

test('healthEpoch: reports and releases although the committee refuses to jail', async () => {
  const state = world({ refuses: ({ kind }) => kind === 'jail-node' });
  const { jailed, released, epoch } = await runEpoch(state);
  assert.deepEqual({ jailed, released, epoch }, { jailed: [], released: [RECOVERED], epoch: 1 });
  assert.equal(state.reports.length, 1);
  assert.equal(state.statuses.get(DISHONEST), 'Active');
});
