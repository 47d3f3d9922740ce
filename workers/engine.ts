/**
 * The engine's Temporal workers: one for workflows, one for each kind of side effect. Any number of
 * processes may run any of them.
 */
import { Worker, type WorkerOptions } from '@temporalio/worker';
import { WorkflowNotFoundError, type Client, type WorkflowHandle } from '@temporalio/client';
import { createAdmission } from '../activities/admission.js';
import { createChainActivities, type ChainActivityDeps } from '../activities/chain.js';
import {
  createDatabaseActivities,
  type DatabaseActivityDeps,
  type SessionReader,
} from '../activities/database.js';
import { createInferenceActivities, type InferenceActivities } from '../activities/inference.js';
import { createErasureActivities, type ErasureActivities } from '../activities/erasure.js';
import { createIpfsActivities } from '../activities/ipfs.js';
import { createOracleActivities } from '../activities/oracles.js';
import { createSourceActivities, type SourceActivityDeps } from '../activities/sources.js';
import { createStepActivities } from '../activities/steps.js';
import { merkleProof, merkleRoot, taskLeaf } from '../adapters/chain/merkle.js';
import { signText } from '../adapters/chain/text-signer.js';
import type { QueueChain } from '../adapters/chain/queue.js';
import { digestOf, marksOf } from '../adapters/database/sink/columns.js';
import { getJson, putJson } from '../adapters/ipfs/block-store.js';
import { canonicalJson, encodeJson } from '../adapters/ipfs/canonical.js';
import { cidOfDigest } from '../adapters/ipfs/cid.js';
import type { HeldStore } from '../adapters/ipfs/held-store.js';
import { openKubo } from '../adapters/ipfs/kubo.js';
import { getDocument, putDocument } from '../adapters/ipfs/manifest.js';
import { repairNodes } from '../adapters/ipfs/repair.js';
import { createKeyring, wrapKeyring } from '../adapters/seal/keyring.js';
import { readSecret } from '../adapters/seal/secret.js';
import { seedOf, taskIdOf } from '../adapters/seal/task-id.js';
import { dataConverter } from '../adapters/temporal/connect.js';
import { connectWorker } from '../adapters/temporal/connect-worker.js';
import { readTasks } from '../domain/archive.js';
import type { EngineConfig, WorkerTuning } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';
import {
  TASK_QUEUES,
  workflowIds,
  type Cid,
  type SessionId,
  type TaskQueueName,
} from '../domain/ids.js';
import { parseManifest } from '../domain/manifest.js';
import type { SettledTask } from '../domain/task.js';
import { archiveQuery, sessionQuery, tasksQuery } from '../workflows/messages.js';
import { beating } from './beat.js';
import { WORKFLOW_BUNDLE } from './bundle.js';
import { createExports } from './exports.js';
import { openerFor } from './opener.js';
import { runWorkers, type RunningWorkers } from './run.js';
import { registerSearchAttributes } from './search-attributes.js';

/** Queues that these workers serve; `routers` is the routers' own. */
export const ENGINE_QUEUES = [
  'workflows',
  'chain',
  'ipfs',
  'database',
  'oracles',
] as const satisfies readonly TaskQueueName[];
export type EngineQueue = (typeof ENGINE_QUEUES)[number];

/** Work under way may finish in this time when a worker stops. */
const GRACE = '15s';
/** Longest time for one oracle's answer: it reads, embeds and recomputes first. */
const ORACLE_MS = 45_000;

export interface EngineWorkerDeps
  extends
    Omit<ChainActivityDeps, 'readJson'>,
    Pick<DatabaseActivityDeps, 'openSink' | 'saveReceipt' | 'forgetReceipt'> {
  readonly config: EngineConfig;
  readonly client: Client;
  readonly store: HeldStore;
  readonly queue: QueueChain;
  readonly sources: SourceActivityDeps;
  /** Sinks that a session has a receipt of. */
  readonly exportedTo: (sessionId: SessionId) => Promise<readonly string[]>;
}

/** Starts workers for the named queues.
 * @throws TEMPORAL_UNREACHABLE, SECRET_MISSING, KEY_FILE_UNSAFE */
export async function startEngineWorkers(
  deps: EngineWorkerDeps,
  queues: readonly EngineQueue[] = ENGINE_QUEUES,
): Promise<RunningWorkers> {
  const { config } = deps;
  if (queues.includes('workflows')) {
    await registerSearchAttributes(deps.client.connection, config.temporal.namespace);
  }
  const connection = await connectWorker(config.temporal);
  const common = {
    connection,
    namespace: config.temporal.namespace,
    dataConverter: await dataConverter(config.temporal),
    shutdownGraceTime: GRACE,
  };
  const work = workOf(deps);
  const workers = await Promise.all(
    queues.map((queue) =>
      Worker.create({
        ...common,
        ...tuningOf(queue, config.taskQueues[queue]),
        taskQueue: TASK_QUEUES[queue],
        ...work[queue](config),
      }),
    ),
  );
  return runWorkers(workers, () => connection.close());
}

const BEATING = { activity: [beating] };

type Work = (config: EngineConfig) => Partial<WorkerOptions>;

function workOf(deps: EngineWorkerDeps): Readonly<Record<EngineQueue, Work>> {
  const { client, store } = deps;
  const { apiUrl, replicas, timeoutMs } = deps.config.ipfs;
  const nodes = [apiUrl, ...replicas].map((url) => openKubo({ apiUrl: url, timeoutMs }));
  const readJson = <T>(cid: Cid, parse: (value: unknown) => T) => getJson(store, cid, parse);
  return {
    workflows: (config) => ({
      workflowBundle: { codePath: WORKFLOW_BUNDLE },
      stickyQueueScheduleToStartTimeout: config.stickyTimeoutMs,
    }),
    chain: () => ({
      activities: {
        ...createChainActivities({ ...deps, readJson }),
        ...inferencesOf(deps),
        ...createStepActivities({ ...deps, readJson }),
      },
    }),
    ipfs: () => ({
      interceptors: BEATING,
      activities: {
        ...erasuresOf(deps),
        ...createIpfsActivities({
          store,
          readJson,
          encodeJson,
          putDocument: (value, holder) => putDocument(store, value, { holder }),
          repair: (input, call) => repairNodes(nodes, { ...input, ...call }),
          copyTo: store.copyTo,
          createKeyring,
          wrapKeyring,
          taskLeaf,
          merkleRoot,
        }),
      },
    }),
    database: () => ({
      activities: Object.assign(
        createSourceActivities(deps.sources),
        createDatabaseActivities({
          ...deps,
          readJson,
          session: readerOf(client),
          openerOf: (sink, view) => openerFor(deps.config.sinks[sink], view, { store, readSecret }),
          exportId: workflowIds.exportSession,
          stopExport: createExports(deps).stop,
          marksOf,
          digestOf,
        }),
      ),
    }),
    oracles: ({ oracles, quorum }) => ({
      interceptors: BEATING,
      activities: createOracleActivities({ oracles, quorum, timeoutMs: ORACLE_MS }),
    }),
  };
}

/** A session's workflow as exports read it. */
function readerOf(client: Client): SessionReader {
  const ask = async <T>(
    workflowId: string,
    query: (handle: WorkflowHandle) => Promise<T>,
  ): Promise<T> => {
    try {
      return await query(client.workflow.getHandle(workflowId));
    } catch (cause) {
      // Never opened, or so long ago that Temporal has let go of it.
      if (!(cause instanceof WorkflowNotFoundError)) throw cause;
      throw new EngineError('SESSION_NOT_FOUND', { workflowId }, { cause });
    }
  };
  return {
    view: (workflowId) => ask(workflowId, (session) => session.query(sessionQuery)),
    tasks: (workflowId) =>
      ask(workflowId, (session) => readTasks((from) => session.query(tasksQuery, from))),
    archive: (workflowId) => ask(workflowId, (session) => session.query(archiveQuery)),
  };
}

function erasuresOf(deps: EngineWorkerDeps): ErasureActivities {
  const { config, client, store } = deps;
  return createErasureActivities({
    session: readerOf(client),
    readManifest: (cid) => getDocument(store, cid, (value) => parseManifest('session', value)),
    readTaskList: (cid) => getDocument(store, cid, (value) => parseManifest('tasks', value)),
    unpin: (cid, holder) => store.unpin(cid, { holder }),
    removeBlock: (cid, holder) => store.remove(cid, { holder }),
    async sinksOf(sessionId) {
      const sinks = await Promise.all([
        deps.exportedTo(sessionId),
        createExports(deps).sinksOf(sessionId),
      ]);
      return [...new Set(sinks.flat())].sort();
    },
    putJson: (value) => putJson(store, value),
    canonicalJson,
    signText: async (text) => await signText(await readSecret(config.layers.service.signer), text),
  });
}

function inferencesOf(deps: EngineWorkerDeps): InferenceActivities {
  const { config, store, queue, service, outbox } = deps;
  const readJson = <T>(cid: Cid, parse: (value: unknown) => T) => getJson(store, cid, parse);
  const admit = createAdmission({
    readText: (request, block) => queue.readText(request, block),
    readSession: (sessionId) => service.readSession(sessionId),
    readCallbackGasPriceWei: () => queue.readCallbackGasPriceWei(),
    readJson,
    putJson: (value) => putJson(store, value),
    cidOfDigest,
    taskIdOf,
    seedOf,
    models: config.models,
    feeBps: config.settlement.feeBps,
  });
  const { confirmations } = config.layers.service;
  const proveTask = (tasks: readonly SettledTask[], index: number) =>
    merkleProof(tasks.map(taskLeaf), index);
  return createInferenceActivities({
    outbox,
    queue,
    service,
    confirmations,
    admit,
    proveTask,
    readJson,
  });
}

function tuningOf(queue: EngineQueue, tuning: WorkerTuning): Partial<WorkerOptions> {
  if (queue !== 'workflows') {
    return { maxConcurrentActivityTaskExecutions: tuning.maxConcurrentActivities };
  }
  return {
    maxConcurrentWorkflowTaskExecutions: tuning.maxConcurrentWorkflowTasks,
    maxCachedWorkflows: tuning.maxCachedWorkflows,
  };
}
