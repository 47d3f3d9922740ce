/**
 * The network that benchmarks send requests through: Temporal, Kubo and PostgreSQL as servers, workers,
 * router and scripted miners as processes of their own, clients in the process that measures. Chains are
 * left out; nothing on a request's way asks them.
 */
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { id, Wallet } from 'ethers';
import { createIdentityFile } from '../../adapters/seal/identity-file.js';
import { sessionIdOf } from '../../adapters/seal/session-id.js';
import type { TemporalClient } from '../../adapters/temporal/connect.js';
import { completeConfig, loadSettings } from '../../cli/config.js';
import { PROJECT_CONFIG } from '../../cli/project.js';
import { signingDomain } from '../../domain/attestation.js';
import { UNRESTRICTED, type EngineConfig } from '../../domain/config.js';
import type { Address, Hex, SessionId } from '../../domain/ids.js';
import type { SealingLevel } from '../../domain/sealing.js';
import type { SessionGateway } from '../../nodes/router/gateway.js';
import {
  openSupervisor,
  startKubo,
  startPostgres,
  startTemporal,
} from '../../servers/start/index.js';
import { buildWorkflowBundle } from '../../workers/bundle.js';
import type { Starter } from '../../workers/starter.js';
import type { BenchContext } from '../bench.js';
import { startChild } from './child.js';
import type { MinersInput, MinersReady } from './miners-process.js';
import { connectEngine, drawMiners } from './parts.js';
import type { RouterInput, RouterReady } from './router-process.js';
import type { WorkerInput } from './worker-process.js';
import { parsePolicy, type ReservedMiner } from '../../domain/session.js';

/** As many as a session of three miners reserves. */
const MINERS = 4;
const UP_MS = 20_000;
const NOWHERE: Address = '0x00000000000000000000000000000000000000aa';
const OWNER = new Wallet(id('bench owner')).address as Address;
const DEPOSIT_WEI = (10n ** 30n).toString();

export interface BenchNetwork {
  readonly config: EngineConfig;
  readonly temporal: TemporalClient;
  readonly gateway: SessionGateway;
  readonly routerUrl: string;
  /** Its process. */
  readonly routerPid: number;
  /** Scripted miners, as the registry would name them. */
  readonly miners: readonly ReservedMiner[];
  /** Connects the same miners to another hub as well, in a process of their own. */
  connectMiners(hubUrl: string): Promise<void>;
  /** The miners' script as a plain OpenAI-compatible server. */
  readonly backendUrl: string;
  readonly apiKey: string;
  readonly model: string;
  /** Opens a session and waits until it takes requests. */
  openSession(terms: {
    readonly level: SealingLevel;
    readonly redundancy: number;
    /** @defaultValue 60 */
    readonly taskSeconds?: number;
  }): Promise<SessionId>;
}

/** Starts everything; the context stops it. */
export async function startNetwork(context: BenchContext): Promise<BenchNetwork> {
  const { data, say, defer } = context;
  await buildWorkflowBundle();
  const apiKey = `ck-${randomBytes(16).toString('hex')}`;
  const config = await startServers(context, apiKey);
  const model = config.models[0]?.name ?? '';
  const drawn = await drawMiners(MINERS, { name: 'bench miner', model });
  const candidates = drawn.map(({ candidate }) => candidate);
  const worker = await startChild<WorkerInput, null>('worker-process', { config, candidates });
  defer(() => worker.stop());
  const miners = candidates.map(({ address, recipient }) => ({ address, recipient }));
  const router = await startChild<RouterInput, RouterReady>('router-process', {
    config,
    miners,
  });
  defer(() => router.stop());
  const { chainId } = config.layers.service;
  const startMiners = async (url: string): Promise<MinersReady> => {
    const miners = await startChild<MinersInput, MinersReady>('miners-process', {
      routerUrl: url,
      domain: signingDomain(chainId, NOWHERE),
      model,
      miners: drawn.map(({ key, identity }) => ({ key, identity })),
    });
    defer(() => miners.stop());
    return miners.ready;
  };
  const { backendUrl } = await startMiners(router.ready.url);
  const { temporal, starter, gateway } = await connectEngine(config, defer);
  await untilConnected(router.ready.url);
  say(`network up in ${data}`);
  const { url: routerUrl } = router.ready;
  const openSession = sessionOpener(starter, gateway, chainId, model);
  return {
    config,
    temporal,
    gateway,
    routerUrl,
    routerPid: router.pid,
    miners,
    connectMiners: async (hubUrl) => void (await startMiners(hubUrl)),
    backendUrl,
    apiKey,
    model,
    openSession,
  };
}

/** Starts Temporal, Kubo and PostgreSQL; the context stops them. Chains are named and not there. */
export async function startServers(context: BenchContext, apiKey: string): Promise<EngineConfig> {
  const { data, defer } = context;
  const settings = loadSettings({ file: PROJECT_CONFIG, env: {} });
  const supervisor = await openSupervisor({ data });
  defer(() => supervisor.stop());
  const { dynamicConfig } = settings.servers.temporal;
  const [temporal, ipfs, postgres] = await Promise.all([
    startTemporal({ data, supervisor, dynamicConfig }),
    startKubo({ data, supervisor }),
    startPostgres({ data, supervisor }),
  ]);
  const databaseFile = join(data, 'database.url');
  await writeFile(databaseFile, postgres.engineUrl, { mode: 0o600 });
  const identityFile = join(data, 'engine.age');
  const { recipient } = await createIdentityFile(identityFile, { postQuantum: true });
  const identity = `file:${identityFile}` as const;
  const layer = {
    rpcUrls: ['http://127.0.0.1:1'],
    signer: identity,
    contracts: Object.fromEntries(CONTRACTS.map((name) => [name, NOWHERE])),
  };
  return completeConfig(settings, {
    temporal: { address: temporal.address, codec: { identity, keys: join(data, 'codec') } },
    layers: { onboarding: layer, health: layer, service: layer },
    ipfs: { apiUrl: ipfs.apiUrl, gatewayUrl: ipfs.gatewayUrl },
    database: { url: `file:${databaseFile}` },
    router: {
      port: 0,
      identity,
      recipient,
      apiKeys: [
        {
          name: 'bench',
          sha256: createHash('sha256').update(apiKey).digest('hex'),
          ...UNRESTRICTED,
          // What is measured is the way of a request, not its limits.
          requestsPerMinute: 1_000_000_000,
          tokensPerMinute: 1_000_000_000,
        },
      ],
    },
    embedding: { folder: data },
    oracles: [1, 2].map(() => ({ address: NOWHERE, url: 'http://127.0.0.1:1', recipient })),
  });
}

/** Every key that a configuration of some layer must have; nothing here calls them. */
const CONTRACTS = [
  ...['token', 'nodeRegistry', 'userRegistry', 'committee', 'healthLedger', 'nodePool'],
  ...['sessionManager', 'sessionPayment', 'sessionQueue'],
];

function sessionOpener(
  starter: Starter,
  gateway: SessionGateway,
  chainId: number,
  model: string,
): BenchNetwork['openSession'] {
  return async ({ level, redundancy, taskSeconds = 60 }) => {
    const clientReference: Hex = `0x${randomBytes(32).toString('hex')}`;
    const at = { chainId, sessionManager: NOWHERE, owner: OWNER, clientReference };
    const sessionId = await sessionIdOf(at);
    const permit = { owner: OWNER, valueWei: DEPOSIT_WEI, deadline: 0, signature: '0x' } as const;
    const policy = parsePolicy({
      model,
      redundancy,
      level,
      priceCeilingWei: DEPOSIT_WEI,
      maxTasks: 100_000,
      idleSeconds: 3_600,
      taskSeconds,
    });
    await starter.startSession(
      {
        sessionId,
        owner: OWNER,
        clientReference,
        policy,
        depositWei: DEPOSIT_WEI,
        signature: '0x',
        permit,
      },
      null,
    );
    const { state } = await gateway.awaitState(sessionId, 'Open', UP_MS);
    if (state !== 'Open') throw new Error(`the session is ${state}`);
    return sessionId;
  };
}

async function untilConnected(routerUrl: string): Promise<void> {
  for (const deadline = Date.now() + UP_MS; ; await delay(50)) {
    const response = await fetch(`${routerUrl}/healthz`, { signal: AbortSignal.timeout(UP_MS) });
    const { miners } = (await response.json()) as { miners: number };
    if (miners === MINERS) return;
    if (Date.now() > deadline) throw new Error(`${miners} of ${MINERS} miners connected`);
  }
}
