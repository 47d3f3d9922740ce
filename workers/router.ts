/** The Temporal workers inside a router's process: its own queue, and the one that routers share. */
import { Worker } from '@temporalio/worker';
import { translated } from '../activities/failure.js';
import { dataConverter } from '../adapters/temporal/connect.js';
import { connectWorker } from '../adapters/temporal/connect-worker.js';
import type { EngineConfig } from '../domain/config.js';
import { routerQueue, TASK_QUEUES } from '../domain/ids.js';
import type { RouterActivities } from '../domain/lease.js';
import { runWorkers, type RunningWorkers } from './run.js';

/** Temporal's own choice, four fifths of the time after which a lease is lost, leaves a busy router no
 * time to be late. */
const HEARTBEATS = '1500ms';

/** A router that stops hands its leases over at once; tasks under way may end in this time. */
const HAND_OVER = '20s';

export async function startRouterWorkers(deps: {
  readonly config: EngineConfig;
  readonly routerId: string;
  /** By it other routers find the one that holds a session. */
  readonly workerName: string;
  readonly activities: RouterActivities;
}): Promise<RunningWorkers> {
  const { config, routerId } = deps;
  const connection = await connectWorker(config.temporal);
  const options = {
    connection,
    namespace: config.temporal.namespace,
    dataConverter: await dataConverter(config.temporal),
    activities: translated(deps.activities),
    identity: deps.workerName,
    maxHeartbeatThrottleInterval: HEARTBEATS,
    maxConcurrentActivityTaskExecutions: config.taskQueues.routers.maxConcurrentActivities,
    shutdownGraceTime: 0,
    shutdownForceTime: HAND_OVER,
  };
  const workers = await Promise.all(
    [routerQueue(routerId), TASK_QUEUES.routers].map((taskQueue) =>
      Worker.create({ ...options, taskQueue }),
    ),
  );
  return runWorkers(workers, () => connection.close());
}
