/**
 * Workflows under test: a Temporal test server that skips time, and one worker a task queue with
 * the activities that a test gives it. Activities are our own ports, so fakes are fair here.
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  isGrpcServiceError,
  ServiceError,
  WorkflowUpdateFailedError,
  type WorkflowHandle,
} from '@temporalio/client';
import { ApplicationFailure, type Duration, type Payload } from '@temporalio/common';
import { tsToMs } from '@temporalio/common/lib/time.js';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { RetryPolicies, RetryPolicyConfig } from '../../domain/config.js';
import type { ErrorCode, ErrorDetails } from '../../domain/errors.js';
import { TASK_QUEUES, type TaskQueueName } from '../../domain/ids.js';
import { obtain, temporal, temporalTestServer } from '../../servers/obtain/index.js';
import { WORKFLOW_BUNDLE } from '../../workers/bundle.js';
import { registerSearchAttributes } from '../../workers/search-attributes.js';

/** Outages are what these tests are about: what workers say of them is no news. */
Runtime.install({
  logger: new DefaultLogger('ERROR'),
  telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' } } },
});

/** The library gives a server 5 s to start; on a busy machine it may need longer. */
const START_MS = 60_000;

/** Starts a server whose clock jumps whenever all workflows wait. */
export async function startTimeSkipping(): Promise<TestWorkflowEnvironment> {
  const { path } = await obtain(temporalTestServer);
  const server = { executable: { type: 'existing-path', path } } as const;
  const env = await started(() => TestWorkflowEnvironment.createTimeSkipping({ server }));
  await registerSearchAttributes(env.connection, 'default');
  return env;
}

/** Starts a real server, in memory. */
export async function startLocal(): Promise<TestWorkflowEnvironment> {
  const { path } = await obtain(temporal);
  const server = { executable: { type: 'existing-path', path } } as const;
  const env = await started(() => TestWorkflowEnvironment.createLocal({ server }));
  await registerSearchAttributes(env.connection, 'default');
  return env;
}

async function started(
  start: () => Promise<TestWorkflowEnvironment>,
): Promise<TestWorkflowEnvironment> {
  const deadline = Date.now() + START_MS;
  for (;;) {
    try {
      return await start();
    } catch (error) {
      const isLate = error instanceof Error && error.message.includes('did not start within');
      if (!isLate || Date.now() > deadline) throw error;
    }
  }
}

/** By queue: one of the engine's, or a single router's. */
export type FakeActivities = Partial<Record<TaskQueueName | `router:${string}`, object>>;

/** Runs workers for the workflows and for every queue that has fakes, while `scenario` runs. */
export async function withWorkers<T>(
  env: TestWorkflowEnvironment,
  fakes: FakeActivities,
  scenario: () => Promise<T>,
): Promise<T> {
  const queues = Object.keys(fakes) as (keyof FakeActivities)[];
  const workers = await Promise.all([
    Worker.create({
      connection: env.nativeConnection,
      taskQueue: TASK_QUEUES.workflows,
      workflowBundle: { codePath: WORKFLOW_BUNDLE },
    }),
    ...queues.map((queue) =>
      Worker.create({
        connection: env.nativeConnection,
        taskQueue: queue,
        activities: { ...(queue === TASK_QUEUES.ipfs ? MANIFESTS : {}), ...fakes[queue] },
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

/** What every session asks for after its close. */
const MANIFESTS = {
  archiveTasks: async () => 'page-cid',
  describeTasks: async () => ({ list: { cid: 'list-cid', bytes: 1 }, tasks: 1, next: null }),
  writeManifest: async () => 'manifest-cid',
};

/** Lets the server's clock run, step by step, until the answer is true.
 * @param step - of skipped time; nothing else happens in between. */
export async function untilTrue(
  env: TestWorkflowEnvironment,
  isTrue: () => boolean | Promise<boolean>,
  what: string,
  step: Duration = '1s',
): Promise<void> {
  const deadline = Date.now() + UNTIL_TRUE_MS;
  while (!(await isTrue())) {
    if (Date.now() > deadline) throw new Error(`not within ${UNTIL_TRUE_MS} ms: ${what}`);
    await env.sleep(step);
  }
}

/** Waits until a workflow that never ends has nothing to do. Ended in the middle of a workflow task,
 * by a termination or by its worker's end, it would keep the server's clock from being skipped. */
export async function untilIdle(
  env: TestWorkflowEnvironment,
  handle: WorkflowHandle,
): Promise<void> {
  const isIdle = async (): Promise<boolean> => {
    const last = (await handle.fetchHistory()).events?.at(-1);
    return (
      last?.workflowTaskScheduledEventAttributes == null &&
      last?.workflowTaskStartedEventAttributes == null
    );
  };
  await untilTrue(env, isIdle, 'the workflow to be idle');
}

/** Waits, without skipping time, until no activity is under way, the workflow has heard of all that were,
 * and no timer of it is about to fire. The server that skips time loses an update that arrives while
 * an activity ends, and takes no answer to a workflow task that cancels a timer which fired meanwhile
 * (temporalio/sdk-java issue 3088): either way the test would wait for ever. */
export async function untilQuiet(
  env: TestWorkflowEnvironment,
  handle: WorkflowHandle,
): Promise<void> {
  const deadline = Date.now() + UNTIL_TRUE_MS;
  for (;;) {
    const events: readonly HistoryEvent[] = (await handle.fetchHistory()).events ?? [];
    const count = (isOne: (event: HistoryEvent) => boolean) => events.filter(isOne).length;
    const begun = count((event) => event.activityTaskScheduledEventAttributes != null);
    const ended = count(
      (event) =>
        event.activityTaskCompletedEventAttributes != null ||
        event.activityTaskFailedEventAttributes != null ||
        event.activityTaskTimedOutEventAttributes != null ||
        event.activityTaskCanceledEventAttributes != null,
    );
    const last = events.at(-1);
    const isHeard =
      last?.workflowTaskScheduledEventAttributes == null &&
      last?.workflowTaskStartedEventAttributes == null;
    const dueMs = nextTimerMs(events) - (await env.currentTimeMs());
    if (begun === ended && isHeard && dueMs > CLEAR_OF_TIMERS_MS) return;
    if (Date.now() > deadline) throw new Error(`not quiet within ${UNTIL_TRUE_MS} ms`);
    await delay(10);
  }
}

type HistoryEvent = NonNullable<
  Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']
>[number];

/** When the next of a history's timers fires, by the server's clock. */
function nextTimerMs(events: readonly HistoryEvent[]): number {
  const dues = new Map<string, number>();
  for (const event of events) {
    const { timerId, startToFireTimeout } = event.timerStartedEventAttributes ?? {};
    if (timerId != null) dues.set(timerId, tsToMs(event.eventTime) + tsToMs(startToFireTimeout));
    dues.delete(event.timerFiredEventAttributes?.timerId ?? '');
    dues.delete(event.timerCanceledEventAttributes?.timerId ?? '');
  }
  return Math.min(...dues.values());
}

/** What a workflow task takes, with room. */
const CLEAR_OF_TIMERS_MS = 500;
/** Real time, not skipped. */
const UNTIL_TRUE_MS = 60_000;

/** Repeats a message, as routers do, that came while one run handed over to the next. */
export async function persistently<T>(send: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    try {
      return await send();
    } catch (error) {
      if (!isGrpcServiceError(error) && !(error instanceof ServiceError)) throw error;
      if (Date.now() > deadline) throw error;
    }
  }
}

/** The first argument of a message, as histories hold it. */
export function argumentOf<T>(
  input: { readonly payloads?: readonly Payload[] | null } | null | undefined,
): T {
  return JSON.parse(Buffer.from(input?.payloads?.[0]?.data ?? []).toString()) as T;
}

/** A failure that no retry mends, as activities throw it. */
export function refused(code: ErrorCode, details: ErrorDetails = {}): ApplicationFailure {
  return ApplicationFailure.create({
    type: code,
    message: 'refused',
    nonRetryable: true,
    details: [details],
  });
}

/** A failure that a retry may mend. */
export function down(code: ErrorCode): ApplicationFailure {
  return ApplicationFailure.create({ type: code, message: 'down' });
}

/** The code that a workflow failed with; rejects when it did not fail. */
export async function failureCodeOf(handle: WorkflowHandle): Promise<string | null | undefined> {
  try {
    await handle.result();
  } catch (error) {
    for (let e: unknown = error; e instanceof Error; e = e.cause) {
      if (e instanceof ApplicationFailure) return e.type;
    }
    throw error;
  }
  throw new Error('the workflow has not failed');
}

/** The code that an update was refused with; `accepted` when it was not. */
export async function updateCodeOf(update: Promise<unknown>): Promise<string | null | undefined> {
  try {
    await update;
  } catch (error) {
    const cause = error instanceof WorkflowUpdateFailedError ? error.cause : error;
    if (cause instanceof ApplicationFailure) return cause.type;
    throw error;
  }
  return 'accepted';
}

/** Milliseconds that a workflow ran, by the server's clock: awaiting a result skips beyond its end. */
export async function durationMsOf(handle: WorkflowHandle): Promise<number> {
  const { startTime, closeTime } = await handle.describe();
  if (closeTime === undefined) throw new Error('the workflow has not ended');
  return closeTime.getTime() - startTime.getTime();
}

const HOUR_MS = 3_600_000;

function retries(scheduleToCloseMs: number): RetryPolicies {
  // Each attempt takes real time, so that long outages need long pauses.
  const policy: RetryPolicyConfig = {
    initialIntervalMs: 1_000,
    backoffCoefficient: 4,
    maximumIntervalMs: scheduleToCloseMs / 4,
    maximumAttempts: 0,
    startToCloseMs: 60_000,
    scheduleToCloseMs,
  };
  return { chain: policy, ipfs: policy, database: policy, miner: policy, oracle: policy };
}

/** Retries as a deployment would have them: an hour for everything. */
export const RETRIES: RetryPolicies = retries(HOUR_MS);
