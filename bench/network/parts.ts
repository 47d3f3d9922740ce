/** What the networks of benchmarks and of stream tests have in common. */
import { id, Wallet } from 'ethers';
import { migrate } from '../../adapters/database/migrate.js';
import { openPool } from '../../adapters/database/pool.js';
import type { HeldStore } from '../../adapters/ipfs/held-store.js';
import { createIdentity } from '../../adapters/seal/identity.js';
import { readSecret } from '../../adapters/seal/secret.js';
import { connectClient, type TemporalClient } from '../../adapters/temporal/connect.js';
import { openEngineStore } from '../../cli/engine-store.js';
import type { EngineConfig } from '../../domain/config.js';
import type { Address, Hex } from '../../domain/ids.js';
import type { Candidate } from '../../domain/node.js';
import { openSessionGateway, type SessionGateway } from '../../nodes/router/gateway.js';
import { registerSearchAttributes } from '../../workers/search-attributes.js';
import { createStarter, type Starter } from '../../workers/starter.js';

/** A scripted miner, and what the registry would say of it. */
export interface DrawnMiner {
  readonly key: Hex;
  readonly identity: string;
  readonly candidate: Candidate;
}

/** Draws miners that serve one model at every level, the same keys for the same name. */
export async function drawMiners(
  count: number,
  { name, model }: { readonly name: string; readonly model: string },
): Promise<readonly DrawnMiner[]> {
  const draw = async (_: unknown, i: number): Promise<DrawnMiner> => {
    const key = id(`${name} ${i}`) as Hex;
    const { identity, recipient } = await createIdentity({ postQuantum: true });
    const candidate: Candidate = {
      address: new Wallet(key).address as Address,
      recipient,
      models: [model],
      scoreBps: 9_500,
      level: 9,
      kind: 'Ephemeral',
      tokensPerSecond: null,
      pricePerTokenWei: null,
    };
    return { key, identity, candidate };
  };
  return await Promise.all(Array.from({ length: count }, draw));
}

/** Opens the store that a deployment's routers and workers pin through. */
export async function openStore(
  config: Pick<EngineConfig, 'database' | 'hosts' | 'ipfs'>,
): Promise<HeldStore> {
  const pool = openPool(await readSecret(config.database.url));
  await migrate(pool);
  return openEngineStore(config, pool);
}

/** The engine as its commands reach it. */
export interface ConnectedEngine {
  readonly temporal: TemporalClient;
  readonly starter: Starter;
  readonly gateway: SessionGateway;
}

/** Connects to the engine of a configuration, and has settlement run. `defer` is told what to stop. */
export async function connectEngine(
  config: EngineConfig,
  defer: (stop: () => Promise<unknown>) => void,
): Promise<ConnectedEngine> {
  const temporal = await connectClient(config.temporal);
  defer(() => temporal.close());
  await registerSearchAttributes(temporal.connection, config.temporal.namespace);
  const starter = createStarter({ config, client: temporal.client });
  await starter.startSettlement();
  const gateway = openSessionGateway({
    client: temporal.client,
    chainId: config.layers.service.chainId,
    startSession: (request) => starter.startSession(request, null),
  });
  return { temporal, starter, gateway };
}
