/** Each server on its own: obtained, given a port and data, and run under a supervisor. */
import { resolve } from 'node:path';
import type { ObtainOptions, ObtainProgress } from '../obtain/index.js';
import type { SupervisorEvent } from '../spec.js';
import { Supervisor } from '../supervise.js';
import { prepareAnvil, type AnvilHandle, type AnvilOptions } from './anvil.js';
import { prepareKubo, type KuboHandle, type KuboOptions } from './kubo.js';
import type { Prepared, StartOptions } from './options.js';
import { prepareMariadb, type MariadbHandle, type MariadbOptions } from './mariadb.js';
import { preparePostgres, type PostgresHandle, type PostgresOptions } from './postgres.js';
import { prepareTemporal, type TemporalHandle, type TemporalOptions } from './temporal.js';

/** What every start takes. */
export interface HostOptions {
  /** Data folder, created when missing; absolute, or relative to the working directory. */
  readonly data: string;
  /** Runs the server. Without it one is opened on `data` for this start alone. */
  readonly supervisor?: Supervisor;
  /** Path of the server's program, from the configuration. */
  readonly path?: string;
  /** Cache folder for what must be fetched or built. @default `cacheRoot()` */
  readonly cache?: string;
  /** Called while something is fetched or built. */
  onProgress?(progress: ObtainProgress): void;
  /** Called with what happens to the process, where the supervisor is opened here. */
  onEvent?(event: SupervisorEvent): void;
}

/** Something that runs. */
export interface Running {
  /** Stops what was started here; data, ports and passwords stay for the next start. */
  stop(): Promise<void>;
}

type Hosted<Options> = Omit<Options, keyof StartOptions> & HostOptions;

/** Starts Temporal's dev server. @throws as `startServers` */
export function startTemporal(options: Hosted<TemporalOptions>): Promise<TemporalHandle & Running> {
  return startOne(options, prepareTemporal);
}

/** Starts Kubo. @throws as `startServers` */
export function startKubo(options: Hosted<KuboOptions>): Promise<KuboHandle & Running> {
  return startOne(options, prepareKubo);
}

/** Starts MariaDB. @throws as `startServers` */
export function startMariadb(options: Hosted<MariadbOptions>): Promise<MariadbHandle & Running> {
  return startOne(options, prepareMariadb);
}

/** Starts PostgreSQL. @throws as `startServers` */
export function startPostgres(options: Hosted<PostgresOptions>): Promise<PostgresHandle & Running> {
  return startOne(options, preparePostgres);
}

/** Starts an Anvil for one layer. @throws as `startServers` */
export function startAnvil(options: Hosted<AnvilOptions>): Promise<AnvilHandle & Running> {
  return startOne(options, prepareAnvil);
}

/** Opens a supervisor on the data folder of a start. @throws DATA_IN_USE */
export function openSupervisor({ data, onEvent }: HostOptions): Promise<Supervisor> {
  return Supervisor.open(resolve(data), onEvent === undefined ? {} : { onEvent });
}

async function startOne<Options extends HostOptions, Handle>(
  options: Options,
  prepare: (options: Options & StartOptions) => Promise<Prepared<Handle>>,
): Promise<Handle & Running> {
  const supervisor = options.supervisor ?? (await openSupervisor(options));
  const own = supervisor !== options.supervisor;
  try {
    const data = resolve(options.data);
    const { spec, handle } = await prepare({ ...options, data, obtain: obtainOptions(options) });
    await supervisor.start(spec);
    const stop = (): Promise<void> => (own ? supervisor.stop() : supervisor.stopOne(spec.name));
    return { ...handle, stop };
  } catch (error) {
    if (own) await supervisor.stop();
    throw error;
  }
}

function obtainOptions({ path, cache, onProgress }: HostOptions): ObtainOptions {
  return {
    ...(path === undefined ? {} : { configured: path }),
    ...(cache === undefined ? {} : { cache }),
    ...(onProgress === undefined ? {} : { onProgress }),
  };
}
