/** A real router: HTTP, miners' hub, crypto threads, leases. Only what it reads off chain is given. */
import { readIdentity } from '../../adapters/seal/identity-file.js';
import { connectClient } from '../../adapters/temporal/connect.js';
import { signingDomain } from '../../domain/attestation.js';
import type { EngineConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import { sameAddress, type Address } from '../../domain/ids.js';
import type { ReservedMiner } from '../../domain/session.js';
import { openSessionGateway } from '../../nodes/router/gateway.js';
import { startRouter } from '../../nodes/router/router.js';
import { startRouterWorkers } from '../../workers/router.js';
import { createStarter } from '../../workers/starter.js';
import { runChild } from './child.js';
import { openStore } from './parts.js';
import { quietTemporal } from './quiet-temporal.js';

export interface RouterInput {
  readonly config: EngineConfig;
  /** As the registry would name them. */
  readonly miners: readonly ReservedMiner[];
  /** @defaultValue the only one's */
  readonly routerId?: string;
}

export interface RouterReady {
  readonly url: string;
}

const ROUTER_ID = 'bench';

const away = async () => {
  throw new EngineError('CHAIN_UNREACHABLE');
};

quietTemporal();
runChild<RouterInput, RouterReady>(async ({ config, miners, routerId = ROUTER_ID }) => {
  const { chainId, contracts } = config.layers.service;
  const payment = contracts['sessionPayment'] as Address;
  const temporal = await connectClient(config.temporal);
  const starter = createStarter({ config, client: temporal.client });
  const { identity } = await readIdentity(config.router.identity);
  const router = await startRouter({
    routerId,
    config: config.router,
    network: {
      version: 'bench',
      chainId,
      contracts: { token: payment, sessionManager: payment, sessionPayment: payment },
      models: config.models,
      feeBps: config.settlement.feeBps,
      gatewayUrl: config.ipfs.gatewayUrl,
    },
    signingDomain: signingDomain(chainId, payment),
    identity,
    blockStore: await openStore(config),
    registry: {
      readNode: async (address) => {
        const miner = miners.find((known) => sameAddress(known.address, address));
        if (miner === undefined) return null;
        return { ...miner, role: 'miner', status: 'Active', stakeWei: 1n, metadataCid: '' };
      },
    },
    gateway: openSessionGateway({
      client: temporal.client,
      chainId,
      startSession: (request) => starter.startSession(request, null),
    }),
    // Honest miners with one script answer alike, and what is equal needs no judge.
    judge: async () => {
      throw new EngineError('ORACLE_UNREACHABLE');
    },
    // The benchmark's key has no budget, and nobody signs in.
    guardStore: {
      readUsedTokens: async () => 0,
      addUsedTokens: async () => undefined,
      useNonce: async () => false,
    },
    accounts: { readAccount: async (address) => ({ address, balanceWei: '0', permitNonce: '0' }) },
    isContractSignature: async () => false,
    // Nobody asks for these here.
    chainReader: { miners: away, epochs: away, epoch: away },
    readDependencies: away,
    erasures: { start: away, view: away },
    log: (level, message, fields) => {
      if (level === 'error' || level === 'warn') console.error(`router: ${message}`, fields ?? '');
    },
  });
  const { workerName, activities } = router;
  const workers = await startRouterWorkers({ config, routerId, workerName, activities });
  // As `cortensor router` stops.
  process.once('SIGTERM', () => {
    void router
      .drain()
      .then(() => workers.stop())
      .then(() => router.close())
      .then(() => process.exit(0));
  });
  return { url: router.url };
});
