/**
 * The activities as workflows see them: by kind of side effect, each with the retries that the
 * configuration gives that kind. Types only: nothing of activities/ gets into the bundle.
 */
import { proxyActivities, type ActivityOptions } from '@temporalio/workflow';
import type { ChainActivities } from '../activities/chain.js';
import type { DatabaseActivities } from '../activities/database.js';
import type { ErasureActivities } from '../activities/erasure.js';
import type { InferenceActivities } from '../activities/inference.js';
import type { IpfsActivities } from '../activities/ipfs.js';
import type { OracleActivities } from '../activities/oracles.js';
import type { SourceActivities } from '../activities/sources.js';
import type { StepActivities } from '../activities/steps.js';
import type { RetryPolicies, RetryPolicyConfig } from '../domain/config.js';
import { TASK_QUEUES } from '../domain/ids.js';
import type { RouterActivities } from '../domain/lease.js';

/** Activities that may take longer heartbeat at least this often; one that is silent for longer is tried
 * again, for instance because its worker was killed. */
const HEARTBEAT_TIMEOUT = '10s';
/** A lease is found lost this soon after its router died; a router that lives may be late by more than
 * half of it (workers/router.ts). */
const LEASE_HEARTBEAT_TIMEOUT = '4s';
/** A router that does not take its lease in this time is taken for dead. */
const LEASE_START_TIMEOUT = '3s';

export function chainActivities(retries: RetryPolicies): ChainActivities {
  return proxyActivities<ChainActivities>({
    ...optionsOf(retries.chain),
    taskQueue: TASK_QUEUES.chain,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
  });
}

/** Requests of contracts are read and ended where the chain is reached. */
export function inferenceActivities(retries: RetryPolicies): InferenceActivities {
  return proxyActivities<InferenceActivities>({
    ...optionsOf(retries.chain),
    taskQueue: TASK_QUEUES.chain,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
  });
}

export function stepActivities(retries: RetryPolicies): StepActivities {
  return proxyActivities<StepActivities>({
    ...optionsOf(retries.chain),
    taskQueue: TASK_QUEUES.chain,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
  });
}

export function ipfsActivities(retries: RetryPolicies): IpfsActivities {
  return proxyActivities<IpfsActivities>({
    ...optionsOf(retries.ipfs),
    taskQueue: TASK_QUEUES.ipfs,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
  });
}

/** All blocks of a part are read and hashed for these, on every node. */
export function repairActivities(retries: RetryPolicies): Pick<IpfsActivities, 'repairPart'> {
  return proxyActivities<IpfsActivities>({
    ...optionsOf(retries.ipfs),
    startToCloseTimeout: '6 hours',
    scheduleToCloseTimeout: '7 hours',
    taskQueue: TASK_QUEUES.ipfs,
    heartbeatTimeout: '1 minute',
  });
}

/** What goes to a user's own store; one attempt each: who waits for it, and for how long, is the
 * workflow's to say and to show. */
export function hostActivities(
  retries: RetryPolicies,
): Pick<IpfsActivities, 'deliverTasks' | 'giveUpTasks'> {
  return proxyActivities<IpfsActivities>({
    ...optionsOf(retries.ipfs),
    startToCloseTimeout: '1 hour',
    scheduleToCloseTimeout: '2 hours',
    taskQueue: TASK_QUEUES.ipfs,
    heartbeatTimeout: '1 minute',
    retry: { maximumAttempts: 1 },
  });
}

/** One attempt each: who waits for a sink, and for how long, is the workflow's to say and to show. */
export function databaseActivities(retries: RetryPolicies): DatabaseActivities {
  return proxyActivities<DatabaseActivities>({
    scheduleToCloseTimeout: retries.database.scheduleToCloseMs,
    startToCloseTimeout: retries.database.scheduleToCloseMs,
    taskQueue: TASK_QUEUES.database,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    // What was begun may still write: it is waited for.
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
    retry: { maximumAttempts: 1 },
  });
}

/** All that a session has in a sink, or on IPFS, may have to be read for these. */
export function readBackActivities(): Pick<DatabaseActivities, 'verifyExport' | 'sealExport'> {
  return proxyActivities<DatabaseActivities>({
    startToCloseTimeout: '6 hours',
    scheduleToCloseTimeout: '6 hours',
    taskQueue: TASK_QUEUES.database,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
    retry: { maximumAttempts: 1 },
  });
}

export function erasureActivities(retries: RetryPolicies): ErasureActivities {
  return proxyActivities<ErasureActivities>({
    ...optionsOf(retries.ipfs),
    taskQueue: TASK_QUEUES.ipfs,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
  });
}

/** A document is read, cut and embedded in one activity, which goes on where it was broken off. */
export function sourceActivities(retries: RetryPolicies): SourceActivities {
  return proxyActivities<SourceActivities>({
    ...optionsOf(retries.database),
    taskQueue: TASK_QUEUES.database,
    startToCloseTimeout: '1 hour',
    scheduleToCloseTimeout: '1 day',
    heartbeatTimeout: '2 minutes',
  });
}

export function oracleActivities(retries: RetryPolicies): OracleActivities {
  return proxyActivities<OracleActivities>({
    ...optionsOf(retries.oracle),
    taskQueue: TASK_QUEUES.oracles,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
  });
}

/** What any router can do: probes and questions to miners, and keyrings for other readers. */
export function minerActivities(retries: RetryPolicies): Omit<RouterActivities, 'holdLease'> {
  return proxyActivities<RouterActivities>({
    ...optionsOf(retries.miner),
    taskQueue: TASK_QUEUES.routers,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
  });
}

/** The lease of a session. The router ends it when the session idles, the workflow when it closes;
 * a dead router loses it, and the workflow decides what then.
 * @param taskQueue - of one router, or the queue that all routers share. */
export function leaseActivity(taskQueue: string): Pick<RouterActivities, 'holdLease'> {
  return proxyActivities<RouterActivities>({
    taskQueue,
    scheduleToStartTimeout: LEASE_START_TIMEOUT,
    startToCloseTimeout: '365 days',
    heartbeatTimeout: LEASE_HEARTBEAT_TIMEOUT,
    cancellationType: 'TRY_CANCEL',
    retry: { maximumAttempts: 1 },
  });
}

function optionsOf(policy: RetryPolicyConfig): ActivityOptions {
  return {
    startToCloseTimeout: policy.startToCloseMs,
    scheduleToCloseTimeout: policy.scheduleToCloseMs,
    retry: {
      initialInterval: policy.initialIntervalMs,
      backoffCoefficient: policy.backoffCoefficient,
      maximumInterval: policy.maximumIntervalMs,
      ...(policy.maximumAttempts > 0 ? { maximumAttempts: policy.maximumAttempts } : {}),
    },
  };
}
