/**
 * The engine's Temporal workers with the real workflows and the real activities on IPFS. The chain
 * and the committee answer at once, in memory: what they cost is measured by the gas benchmarks.
 */
import { Worker } from '@temporalio/worker';
import type { ChainActivities } from '../../activities/chain.js';
import { createIpfsActivities } from '../../activities/ipfs.js';
import type { OracleActivities } from '../../activities/oracles.js';
import { merkleRoot, taskLeaf } from '../../adapters/chain/merkle.js';
import { getJson } from '../../adapters/ipfs/block-store.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { putDocument } from '../../adapters/ipfs/manifest.js';
import { createKeyring, wrapKeyring } from '../../adapters/seal/keyring.js';
import { dataConverter } from '../../adapters/temporal/connect.js';
import { connectWorker } from '../../adapters/temporal/connect-worker.js';
import type { EngineConfig } from '../../domain/config.js';
import { TASK_QUEUES, type Hex } from '../../domain/ids.js';
import type { Candidate } from '../../domain/node.js';
import { WORKFLOW_BUNDLE } from '../../workers/bundle.js';
import { runWorkers } from '../../workers/run.js';
import { runChild } from './child.js';
import { openStore } from './parts.js';
import { quietTemporal } from './quiet-temporal.js';

export interface WorkerInput {
  readonly config: EngineConfig;
  readonly candidates: readonly Candidate[];
}

const TRANSACTION: Hex = `0x${'0b'.repeat(32)}`;

type SessionChain = Pick<
  ChainActivities,
  'listCandidates' | 'openSession' | 'settleBatch' | 'closeSession'
>;

quietTemporal();
runChild<WorkerInput, null>(async ({ config, candidates }) => {
  const connection = await connectWorker(config.temporal);
  const converter = await dataConverter(config.temporal);
  const chain: SessionChain = {
    listCandidates: async () => candidates,
    openSession: async () => TRANSACTION,
    settleBatch: async ({ batchCid }) => ({
      batchId: TRANSACTION,
      batchCid,
      root: TRANSACTION,
      settlementTx: TRANSACTION,
    }),
    closeSession: async () => ({ refundedWei: '0' }),
  };
  const oracles: Pick<OracleActivities, 'collectAttestations'> = {
    collectAttestations: async () => [],
  };
  const store = await openStore(config);
  const ipfs = createIpfsActivities({
    store,
    readJson: (cid, parse) => getJson(store, cid, parse),
    encodeJson,
    putDocument: (value) => putDocument(store, value),
    repair: () => Promise.reject(new Error('not asked for here')),
    copyTo: () => Promise.reject(new Error('not asked for here')),
    createKeyring,
    wrapKeyring,
    taskLeaf,
    merkleRoot,
  });
  const common = { connection, namespace: config.temporal.namespace, dataConverter: converter };
  const { workflows } = config.taskQueues;
  const workers = await Promise.all([
    Worker.create({
      ...common,
      taskQueue: TASK_QUEUES.workflows,
      workflowBundle: { codePath: WORKFLOW_BUNDLE },
      stickyQueueScheduleToStartTimeout: config.stickyTimeoutMs,
      maxConcurrentWorkflowTaskExecutions: workflows.maxConcurrentWorkflowTasks,
      maxCachedWorkflows: workflows.maxCachedWorkflows,
    }),
    Worker.create({ ...common, taskQueue: TASK_QUEUES.ipfs, activities: ipfs }),
    Worker.create({ ...common, taskQueue: TASK_QUEUES.chain, activities: chain }),
    Worker.create({ ...common, taskQueue: TASK_QUEUES.oracles, activities: oracles }),
  ]);
  runWorkers(workers, () => connection.close());
  return null;
});
