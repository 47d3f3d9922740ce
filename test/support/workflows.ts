/**
 * Workflows under test: a Temporal test server that skips time, and one worker a task queue with
 * the activities that a test gives it. Activities are our own ports, so fakes are fair here.
 */
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { RetryPolicies, RetryPolicyConfig } from '../../domain/config.js';
import { TASK_QUEUES, type TaskQueueName } from '../../domain/ids.js';
import { obtain, temporalTestServer } from '../../servers/obtain/index.js';
import { WORKFLOW_BUNDLE } from '../../workers/bundle.js';

/** Outages are what these tests are about: what workers say of them is no news. */
Runtime.install({ logger: new DefaultLogger('ERROR') });

/** Starts a server whose clock jumps whenever all workflows wait. */
export async function startTimeSkipping(): Promise<TestWorkflowEnvironment> {
  const { path } = await obtain(temporalTestServer);
  return await TestWorkflowEnvironment.createTimeSkipping({
    server: { executable: { type: 'existing-path', path } },
  });
}

export type FakeActivities = Partial<Record<TaskQueueName, object>>;

/** Runs workers for the workflows and for every queue that has fakes, while `scenario` runs. */
export async function withWorkers<T>(
  env: TestWorkflowEnvironment,
  fakes: FakeActivities,
  scenario: () => Promise<T>,
): Promise<T> {
  const queues = Object.keys(fakes) as TaskQueueName[];
  const workers = await Promise.all([
    Worker.create({
      connection: env.nativeConnection,
      taskQueue: TASK_QUEUES.workflows,
      workflowBundle: { codePath: WORKFLOW_BUNDLE },
    }),
    ...queues.map((queue) =>
      Worker.create({
        connection: env.nativeConnection,
        taskQueue: TASK_QUEUES[queue],
        activities: fakes[queue] ?? {},
      }),
    ),
  ]);
  const [first, ...others] = workers;
  const running = others.map((worker) => worker.run());
  try {
    return await first.runUntil(scenario);
  } finally {
    for (const worker of others) worker.shutdown();
    await Promise.all(running);
  }
}

const QUICK: RetryPolicyConfig = {
  initialIntervalMs: 1_000,
  backoffCoefficient: 2,
  maximumIntervalMs: 60_000,
  maximumAttempts: 0,
  startToCloseMs: 60_000,
  scheduleToCloseMs: 3_600_000,
};

/** Retries as a deployment would have them: an hour for everything. */
export const RETRIES: RetryPolicies = {
  chain: QUICK,
  ipfs: QUICK,
  database: QUICK,
  miner: QUICK,
  oracle: QUICK,
};
