/** How a router's dependencies are asked whether they are there, with their own clients. */
import type { JsonRpcProvider } from 'ethers';
import type { Client } from '@temporalio/client';
import type pg from 'pg';
import { query } from '../../../adapters/database/pool.js';
import type { QueueStatus } from '../../../domain/api.js';
import { LAYERS, type EngineConfig } from '../../../domain/config.js';
import { EngineError } from '../../../domain/errors.js';
import { routerQueue, TASK_QUEUES } from '../../../domain/ids.js';
import type { StatusProbes } from './status.js';

/** `TaskQueueType` of Temporal's API: of workflows and of activities. */
const QUEUE_TYPES = [1, 2] as const;
const TEMPORAL_MS = 2_000;

/** Makes the probes of a deployment. */
export function createStatusProbes(deps: {
  readonly config: Pick<EngineConfig, 'layers' | 'ipfs'>;
  readonly providers: Readonly<Record<(typeof LAYERS)[number], JsonRpcProvider>>;
  readonly client: Client;
  readonly pool: Pick<pg.Pool, 'query'>;
  readonly routerId: string;
}): StatusProbes {
  const { config, providers, client, pool, routerId } = deps;
  return {
    chains: LAYERS.map((layer) => ({
      layer,
      chainId: config.layers[layer].chainId,
      async readBlock() {
        const block = await providers[layer].getBlock('latest');
        if (block === null) throw new EngineError('CHAIN_UNREACHABLE');
        return { height: block.number, timestampMs: block.timestamp * 1_000 };
      },
    })),
    readQueues: () => {
      const names = [...Object.values(TASK_QUEUES), routerQueue(routerId)];
      return client.withDeadline(Date.now() + TEMPORAL_MS, () =>
        Promise.all(names.map((name) => readQueue(client, name))),
      );
    },
    async askIpfs(signal) {
      const response = await fetch(new URL('/api/v0/version', config.ipfs.apiUrl), {
        method: 'POST',
        signal,
      });
      await response.body?.cancel();
      if (!response.ok) throw new EngineError('IPFS_UNREACHABLE', { status: response.status });
    },
    async askDatabase() {
      await query(pool, 'select 1');
    },
  };
}

async function readQueue(client: Client, name: string): Promise<QueueStatus> {
  const { namespace } = client.options;
  const found = await Promise.all(
    QUEUE_TYPES.map((taskQueueType) =>
      client.workflowService.describeTaskQueue({
        namespace,
        taskQueue: { name },
        taskQueueType,
        reportStats: true,
      }),
    ),
  );
  const waiting = found.flatMap(({ stats }) => stats?.approximateBacklogCount ?? []);
  const workers = new Set(found.flatMap(({ pollers }) => pollers?.map((p) => p.identity) ?? []));
  // Older servers keep no statistics.
  const isKnown = waiting.length === QUEUE_TYPES.length;
  const backlog = isKnown ? waiting.reduce((sum, count) => sum + Number(count), 0) : null;
  return { name, backlog, workers: workers.size };
}
