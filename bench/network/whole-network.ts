/**
 * The whole network, every part a real process under one supervisor: servers, three chains, workers,
 * routers, oracles, and scripted miners. For what must hold while any of them is killed. The chains'
 * RPC goes through a line that can be cut; who measures talks to the chains themselves.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { JsonRpcProvider, Network } from 'ethers';
import type pg from 'pg';
import { openPool } from '../../adapters/database/pool.js';
import { openChains, type Chains } from '../../cli/chains.js';
import { completeConfig, loadSettings, writeConfig } from '../../cli/config.js';
import { deployContracts } from '../../cli/up/contracts.js';
import { describeRuntime } from '../../cli/up/network.js';
import { readLine } from '../../cli/up/parties.js';
import { oracleProcesses, role } from '../../cli/up/processes.js';
import { LAYERS, type EngineConfig, type LayerName } from '../../domain/config.js';
import type { Address } from '../../domain/ids.js';
import { parseTokens } from '../../domain/money.js';
import { startServers } from '../../servers/network.js';
import { embeddingModel, obtain } from '../../servers/obtain/index.js';
import { claimPort } from '../../servers/ports.js';
import type { ProcessSpec, SupervisorEvent } from '../../servers/spec.js';
import { openSupervisor } from '../../servers/start/index.js';
import type { Supervisor } from '../../servers/supervise.js';
import { enlist } from './enlist.js';
import type { MinerBehaviour, MinersProcessInput } from './miner-process.js';
import { openPeople, type Account, type MinerAccount } from './people.js';
import { openRpcProxy, type RpcProxy } from './rpc-proxy.js';

export interface WholeNetworkOptions {
  /** Data folder, absolute. */
  readonly data: string;
  /** A `temporal.yaml` with what differs from the project's. */
  readonly config: string;
  readonly workers: number;
  readonly routers: number;
  /** The miners of each process. */
  readonly miners: readonly (readonly MinerBehaviour[])[];
  /** Users with a million tokens each. */
  readonly users: number;
  /** From an owner's request to exit a session to its exit, in seconds. */
  readonly exitSeconds: number;
  /** Blocks on top of a receipt's on the service layer, once the network runs. */
  readonly confirmations: number;
  /** Called with what happens to the processes. */
  onEvent?(event: SupervisorEvent): void;
}

export interface WholeNetwork {
  readonly config: EngineConfig;
  readonly supervisor: Supervisor;
  /** Names of all processes, as the supervisor knows them. */
  readonly processes: readonly string[];
  readonly routerUrls: readonly string[];
  readonly apiKey: string;
  readonly users: readonly Account[];
  readonly miners: readonly MinerAccount[];
  /** The engine's signer, which is the treasury too. */
  readonly treasury: Address;
  /** Readers that do not go through the lines. */
  readonly chains: Chains;
  /** Of the service chain, past its line. */
  readonly service: JsonRpcProvider;
  readonly lines: Readonly<Record<LayerName, RpcProxy>>;
  /** The engine's database. */
  readonly pool: pg.Pool;
  stop(): Promise<void>;
}

const USER_TOKENS = parseTokens('1000000');
const STAKE = parseTokens('1000');
const DAY_SECONDS = 86_400;
const UP_MS = 60_000;
const SERVERS = ['temporal', 'ipfs', 'postgres'];
const MINER_PROCESS = join(import.meta.dirname, 'miner-process.js');

/** Starts it, and waits until every miner is connected to every router.
 * @throws as `startServers`, and SERVER_FAILED for a role that does not come up. */
export async function startWholeNetwork(options: WholeNetworkOptions): Promise<WholeNetwork> {
  const { data } = options;
  const stops: (() => Promise<unknown> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const end of stops.splice(0).toReversed()) await end();
  };
  try {
    const events = options.onEvent;
    const supervisor = await openSupervisor({ data, ...(events && { onEvent: events }) });
    stops.push(() => supervisor.stop());
    return { ...(await start(options, supervisor, (end) => stops.push(end))), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  options: WholeNetworkOptions,
  supervisor: Supervisor,
  defer: (stop: () => Promise<unknown> | void) => void,
): Promise<Omit<WholeNetwork, 'stop'>> {
  const { data } = options;
  const settings = loadSettings({ file: options.config, env: {} });
  const people = await openPeople(options);
  const { parties } = people;
  const embedding = join((await obtain(embeddingModel, {})).path, '..');
  const servers = await startServers({
    data,
    supervisor,
    layers: LAYERS.map((name) => ({ name, chainId: settings.layers[name].chainId })),
    temporal: { dynamicConfig: settings.servers.temporal.dynamicConfig },
  });
  const lines = await openLines(servers.chains);
  for (const line of Object.values(lines)) defer(() => line.stop());
  const deployment = await deployContracts({
    settings,
    servers,
    parties,
    terms: {
      tokenCap: parseTokens('1000000000'),
      minimumStake: STAKE,
      minerBalance: STAKE,
      userBalance: USER_TOKENS,
      unbondingSeconds: DAY_SECONDS,
      exitSeconds: options.exitSeconds,
    },
  });
  const routerPorts = await claimPorts(data, 'router', options.routers);
  const oraclePorts = await claimPorts(data, 'oracle', parties.oracles.length);
  const facts = {
    data,
    servers: { ...servers, chains: urlsOf(lines) },
    parties,
    deployment,
    routerPort: routerPorts[0] ?? 0,
    oraclePorts,
    modelFiles: {},
    embeddingFolder: embedding,
  };
  const runtime = await describeRuntime(facts);
  const config = withConfirmations(completeConfig(settings, runtime), options.confirmations);
  const direct = completeConfig(
    settings,
    await describeRuntime({ ...facts, servers: { ...servers } }),
  );
  const chains = openChains(direct.layers);
  defer(() => chains.close());
  const pool = openPool(servers.postgres.engineUrl);
  defer(() => pool.end());
  await enlist({
    config: direct,
    chains,
    pool,
    oracleKeys: parties.oracles.map(({ keyFile }) => keyFile),
    miners: people.minerParties,
    funded: people.users.slice(1).map(({ address }) => address),
    amountWei: USER_TOKENS,
    stakeWei: STAKE,
  });

  const configFiles = routerPorts.map((port, i) => {
    const file = join(data, `temporal-${i + 1}.yaml`);
    writeConfig(file, { ...config, router: { ...config.router, port } });
    return file;
  });
  const configFile = configFiles[0] ?? '';
  const routerUrls = routerPorts.map((port) => `http://127.0.0.1:${port}`);
  const roles = [
    ...oracleProcesses(parties, configFile, oraclePorts),
    ...Array.from({ length: options.workers }, (_, i) =>
      role(`worker-${i + 1}`, ['worker', '--config', configFile]),
    ),
    ...configFiles.map((file, i) =>
      role(`router-${i + 1}`, ['router', '--config', file], {
        healthUrl: `${routerUrls[i]}/healthz`,
      }),
    ),
  ];
  const miners = people.minerProcesses.map((group, i): ProcessSpec => {
    const input: MinersProcessInput = { config: configFile, routers: routerUrls, miners: group };
    const args = [MINER_PROCESS, JSON.stringify(input)];
    return { name: `miners-${i + 1}`, command: process.execPath, args, ipc: true };
  });
  await Promise.all([...roles, ...miners].map((spec) => supervisor.start(spec)));
  await untilConnected(routerUrls, people.miners.length);
  return {
    config: direct,
    supervisor,
    processes: [
      ...SERVERS,
      ...LAYERS.map((name) => `chain-${name}`),
      ...[...roles, ...miners].map(({ name }) => name),
    ],
    routerUrls,
    apiKey: await readLine(parties.apiKeyFile),
    users: people.users,
    miners: people.miners,
    treasury: parties.engine.address,
    chains,
    service: directProvider(servers.chains['service'] ?? '', config.layers.service.chainId),
    lines,
    pool,
  };
}

async function openLines(
  chains: Readonly<Record<string, string>>,
): Promise<Record<LayerName, RpcProxy>> {
  const lines = await Promise.all(
    LAYERS.map(async (name) => [name, await openRpcProxy(chains[name] ?? '')] as const),
  );
  return Object.fromEntries(lines) as Record<LayerName, RpcProxy>;
}

function urlsOf(lines: Readonly<Record<LayerName, RpcProxy>>): Record<string, string> {
  return Object.fromEntries(Object.entries(lines).map(([name, { url }]) => [name, url]));
}

async function claimPorts(data: string, name: string, count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let i = 1; i <= count; i++) ports.push(await claimPort(data, `${name}-${i}`));
  return ports;
}

/** Contracts are put in place with a receipt alone; the network that runs waits for more. */
function withConfirmations(config: EngineConfig, confirmations: number): EngineConfig {
  const service = { ...config.layers.service, confirmations };
  return { ...config, layers: { ...config.layers, service } };
}

function directProvider(url: string, chainId: number): JsonRpcProvider {
  const network = Network.from(chainId);
  const options = { staticNetwork: network, batchMaxCount: 1, cacheTimeout: -1 } as const;
  return new JsonRpcProvider(url, network, options);
}

async function untilConnected(routerUrls: readonly string[], miners: number): Promise<void> {
  for (const deadline = Date.now() + UP_MS; ; await delay(100)) {
    const counts = await Promise.all(
      routerUrls.map(async (url) => {
        const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(UP_MS) });
        return ((await response.json()) as { miners: number }).miners;
      }),
    );
    if (counts.every((count) => count === miners)) return;
    if (Date.now() > deadline)
      throw new Error(`${counts.join(', ')} of ${miners} miners connected`);
  }
}
