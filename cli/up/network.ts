/**
 * The development network: servers, contracts, configuration and roles, in the order in which each
 * needs the one before. Everything is kept in the data folder, so that a second start goes on.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { EngineConfig } from '../../domain/config.js';
import { firstOfKind, LAYERS, UNRESTRICTED } from '../../domain/config.js';
import {
  chatModel,
  embeddingModel,
  obtain,
  type ObtainProgress,
} from '../../servers/obtain/index.js';
import { startServers, type ServerHandles } from '../../servers/network.js';
import { claimPort } from '../../servers/ports.js';
import type { Supervisor } from '../../servers/supervise.js';
import { completeConfig, writeConfig, type Runtime, type Settings } from '../config.js';
import type { Display } from '../display.js';
import { deployContracts, type Deployment } from './contracts.js';
import { openParties, readLine, type Parties } from './parties.js';
import { engineProcesses, minerProcesses, oracleProcesses } from './processes.js';
import { createPrivateFile } from '../../adapters/seal/private-file.js';

/** The sink that plays the user's own database. */
export const USER_SINK = 'user';

export interface Network {
  readonly data: string;
  readonly config: EngineConfig;
  readonly configFile: string;
  readonly parties: Parties;
  readonly servers: ServerHandles;
  readonly routerUrl: string;
  readonly uiUrl: string;
  /** Of the user's database. Holds a password. */
  readonly userDatabaseUrl: string;
}

/** Starts everything under the supervisor, which ends it again whatever happens.
 * @throws as `startServers`, and SERVER_FAILED for a role that does not come up. */
export async function startNetwork(options: {
  readonly settings: Settings;
  /** Absolute. */
  readonly data: string;
  readonly display: Display;
  readonly supervisor: Supervisor;
}): Promise<Network> {
  const { settings, data, display, supervisor } = options;
  const chat = firstOfKind(settings.models, 'chat')?.name ?? '';
  const embedding = firstOfKind(settings.models, 'embedding')?.name ?? null;
  const parties = await openParties(data);
  // A port that is taken is told before anything is started.
  const routerPort = await claimPort(data, 'router', settings.router.port || undefined);
  const oraclePorts = await Promise.all(
    parties.oracles.map((oracle) => claimPort(data, oracle.name)),
  );
  const files = await display.step('models', async (note) => {
    const onProgress = progressNote(note);
    const { path: file } = await obtain(chatModel, { onProgress });
    const { path } = await obtain(embeddingModel, { onProgress });
    return { chat: file, embedding: join(path, '..') };
  });
  const servers = await display.step('servers: Temporal, Kubo, PostgreSQL, three chains', (note) =>
    startAllServers(settings, data, supervisor, note),
  );
  const deployment = await display.step('contracts of the three layers', () =>
    deployContracts({ settings, servers, parties }),
  );

  const runtime = await describeRuntime({
    data,
    servers,
    parties,
    deployment,
    routerPort,
    oraclePorts,
    modelFiles: {
      [chat]: files.chat,
      ...(embedding === null ? {} : { [embedding]: files.embedding }),
    },
    embeddingFolder: files.embedding,
  });
  const config = completeConfig(settings, runtime);
  const configFile = join(data, 'temporal.yaml');
  writeConfig(configFile, config);

  const routerUrl = `http://${config.router.host}:${routerPort}`;
  await display.step('workers, router, oracles and miners', async () => {
    const first = [
      ...oracleProcesses(parties, configFile, oraclePorts),
      ...engineProcesses(configFile, routerUrl),
    ];
    await Promise.all(first.map((spec) => supervisor.start(spec)));
    const miners = minerProcesses(parties.miners, configFile, { chat, embedding });
    await Promise.all(miners.map((spec) => supervisor.start(spec)));
  });
  return {
    data,
    config,
    configFile,
    parties,
    servers,
    routerUrl,
    uiUrl: servers.temporal.uiUrl,
    userDatabaseUrl: servers.postgres.userUrl,
  };
}

async function startAllServers(
  settings: Settings,
  data: string,
  supervisor: Supervisor,
  note: (text: string) => void,
): Promise<ServerHandles> {
  const { temporal, ipfs, postgres, anvil } = settings.servers;
  return await startServers({
    data,
    supervisor,
    layers: LAYERS.map((name) => ({ name, chainId: settings.layers[name].chainId })),
    temporal: { dynamicConfig: temporal.dynamicConfig },
    configured: {
      temporal: pathOf(temporal.binary),
      ipfs: pathOf(ipfs.binary),
      postgres: pathOf(postgres.binary),
      anvil: pathOf(anvil.binary),
    },
    onProgress: progressNote(note),
  });
}

function pathOf(binary: string | null): { path?: string } {
  return binary === null ? {} : { path: binary };
}

function progressNote(note: (text: string) => void): (progress: ObtainProgress) => void {
  return ({ artefact, step, message }) => note(`${artefact} (${step}): ${message}`);
}

/** Says where everything is, for `completeConfig`. */
export async function describeRuntime(facts: {
  readonly data: string;
  readonly servers: ServerHandles;
  readonly parties: Parties;
  readonly deployment: Deployment;
  readonly routerPort: number;
  readonly oraclePorts: readonly number[];
  /** By model name. */
  readonly modelFiles: Readonly<Record<string, string>>;
  readonly embeddingFolder: string;
}): Promise<Runtime> {
  const { data, servers, parties, deployment } = facts;
  const keys = join(data, 'keys');
  const apiKey = await readLine(parties.apiKeyFile);
  const layer = (name: (typeof LAYERS)[number]) => ({
    rpcUrls: [servers.chains[name] ?? ''],
    signer: `file:${parties.engine.keyFile}` as const,
    contracts: deployment[name],
  });
  return {
    temporal: {
      address: servers.temporal.address,
      codec: { identity: `file:${parties.engine.identityFile}`, keys: join(keys, 'codec') },
    },
    layers: { onboarding: layer('onboarding'), health: layer('health'), service: layer('service') },
    ipfs: { apiUrl: servers.ipfs.apiUrl, gatewayUrl: servers.ipfs.gatewayUrl },
    database: { url: await secretFile(keys, 'engine-database.url', servers.postgres.engineUrl) },
    router: {
      port: facts.routerPort,
      identity: `file:${parties.router.identityFile}`,
      recipient: parties.router.recipient,
      apiKeys: [
        {
          name: 'user',
          sha256: createHash('sha256').update(apiKey).digest('hex'),
          ...UNRESTRICTED,
        },
      ],
    },
    modelFiles: facts.modelFiles,
    embedding: { folder: facts.embeddingFolder },
    oracles: parties.oracles.map((oracle, i) => ({
      address: oracle.address,
      url: `http://127.0.0.1:${facts.oraclePorts[i] ?? 0}`,
      recipient: oracle.recipient,
    })),
    sinks: {
      [USER_SINK]: {
        kind: 'postgresql',
        url: await secretFile(keys, 'user-database.url', servers.postgres.userUrl),
        schema: 'cortensor',
        // The database is on this machine, and has no certificate.
        tls: false,
        ca: null,
        allowPrivate: true,
        secret: null,
        open: [],
        identity: null,
      },
    },
  };
}

/** Puts a secret that was found out into a file of its own, and refers to it. A URL changes with the
 * port, so the file's name carries what it holds. */
async function secretFile(folder: string, name: string, secret: string): Promise<`file:${string}`> {
  const mark = createHash('sha256').update(secret).digest('hex').slice(0, 8);
  const path = join(folder, `${name}.${mark}`);
  await createPrivateFile(path, Buffer.from(`${secret}\n`));
  return `file:${path}`;
}
