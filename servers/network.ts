/**
 * The real servers together. `cortensor up` starts all of them; tests start those that they need.
 */
import {
  openSupervisor,
  startAnvil,
  startKubo,
  startPostgres,
  startTemporal,
  type HostOptions,
  type Running,
} from './start/index.js';
import type { ChainLayer } from './start/anvil.js';
import type { KuboHandle } from './start/kubo.js';
import type { PostgresHandle } from './start/postgres.js';
import type { TemporalHandle, TemporalOptions } from './start/temporal.js';

/** Where the servers answer. */
export interface ServerHandles {
  readonly temporal: TemporalHandle;
  readonly ipfs: KuboHandle;
  readonly postgres: PostgresHandle;
  /** RPC URL by layer name. */
  readonly chains: Readonly<Record<string, string>>;
}

export type ServerName = keyof ServerHandles;

export interface ServersOptions<Which extends ServerName = ServerName> extends Omit<
  HostOptions,
  'path'
> {
  /** The servers to start; one that has an address elsewhere is simply not named. @default all */
  readonly which?: readonly Which[];
  /** The layers that get an Anvil each, under `chains`. @default none */
  readonly layers?: readonly ChainLayer[];
  readonly temporal?: Pick<TemporalOptions, 'dynamicConfig' | 'searchAttributes'>;
  /** Programs and ports that the configuration names; a layer's port is in `layers`. */
  readonly configured?: ConfiguredServers;
}

export interface ConfiguredServers {
  readonly temporal?: { readonly path?: string; readonly port?: number; readonly uiPort?: number };
  readonly ipfs?: { readonly path?: string; readonly port?: number; readonly gatewayPort?: number };
  readonly postgres?: { readonly path?: string; readonly port?: number };
  readonly anvil?: { readonly path?: string };
}

/**
 * Obtains and starts servers, side by side. When one fails, those that came up are stopped again.
 * @throws DATA_IN_USE — another supervisor holds the data folder.
 * @throws SERVER_NOT_FOUND — a server could not be obtained; the details say what was tried.
 * @throws PORT_TAKEN — a configured port is in use by another process.
 * @throws SERVER_FAILED — a server ended or did not answer in time; the details name its log.
 */
export async function startServers<Which extends ServerName = ServerName>(
  options: ServersOptions<Which>,
): Promise<Pick<ServerHandles, Which> & Running> {
  const { layers = [], temporal = {}, configured = {} } = options;
  const supervisor = options.supervisor ?? (await openSupervisor(options));
  const host = { ...hostOptions(options), supervisor };
  const starts: { readonly [Name in ServerName]: () => Promise<ServerHandles[Name]> } = {
    temporal: () => startTemporal({ ...host, ...temporal, ...configured.temporal }),
    ipfs: () => startKubo({ ...host, ...configured.ipfs }),
    postgres: () => startPostgres({ ...host, ...configured.postgres }),
    chains: () => startChains({ ...host, ...configured.anvil }, layers),
  };
  const names: readonly ServerName[] = options.which ?? ['temporal', 'ipfs', 'postgres', 'chains'];
  const processes = names.flatMap((name) =>
    name === 'chains' ? layers.map((layer) => `chain-${layer.name}`) : [name],
  );
  const stop = async (): Promise<void> => {
    if (options.supervisor === undefined) await supervisor.stop();
    else await Promise.all(processes.map((name) => supervisor.stopOne(name)));
  };

  const outcomes = await Promise.allSettled(
    names.map(async (name) => [name, await starts[name]()] as const),
  );
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }
  const handles = outcomes.flatMap((o) => (o.status === 'fulfilled' ? [o.value] : []));
  return { ...(Object.fromEntries(handles) as Pick<ServerHandles, Which>), stop };
}

async function startChains(
  host: HostOptions,
  layers: readonly ChainLayer[],
): Promise<ServerHandles['chains']> {
  const entries = layers.map(async (layer) => {
    const { rpcUrl } = await startAnvil({ ...host, layer });
    return [layer.name, rpcUrl] as const;
  });
  return Object.fromEntries(await settleAll(entries));
}

/** Waits for all, also after one failed, so that nothing still starts while the rest is stopped. */
async function settleAll<T>(all: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(all);
  return Promise.all(all);
}

function hostOptions({ data, cache, onProgress }: HostOptions): HostOptions {
  return {
    data,
    ...(cache === undefined ? {} : { cache }),
    ...(onProgress === undefined ? {} : { onProgress }),
  };
}
