/**
 * What `temporal.yaml` says before the servers run. A value that only exists once a server runs is
 * `null` here, which means: `cortensor up` brings it. In production nothing is `null` any more.
 */
import type { EngineConfig, LayerConfig, LayerName } from '../../domain/config.js';

/** `T` with the values of `K` left to `cortensor up`. */
type Embedded<T, K extends keyof T> = Omit<T, K> & { readonly [P in K]: T[P] | null };

export type LayerSettings = Embedded<LayerConfig, 'rpcUrls' | 'signer' | 'contracts'>;

/** How `cortensor up` runs the servers that nothing else in the file names an address of. */
export interface ServerSettings {
  /** Paths of the programs; `null` = looked for (npm, PATH, cache, download, build). */
  readonly temporal: {
    readonly binary: string | null;
    /** Settings of the dev server, key to value. */
    readonly dynamicConfig: Readonly<Record<string, string | number | boolean>>;
  };
  readonly ipfs: { readonly binary: string | null };
  readonly anvil: { readonly binary: string | null };
  /** Path of the `postgres` program; `initdb` and `pg_ctl` lie beside it. */
  readonly postgres: { readonly binary: string | null };
}

/** The first stage of the configuration: every choice, and the endpoints that are configured. */
export interface Settings extends Omit<
  EngineConfig,
  'temporal' | 'layers' | 'ipfs' | 'database' | 'router' | 'embedding' | 'oracles'
> {
  readonly temporal: Embedded<EngineConfig['temporal'], 'address' | 'codec'>;
  readonly layers: Readonly<Record<LayerName, LayerSettings>>;
  readonly ipfs: Embedded<EngineConfig['ipfs'], 'apiUrl' | 'gatewayUrl'>;
  readonly database: Embedded<EngineConfig['database'], 'url'>;
  readonly router: Embedded<EngineConfig['router'], 'identity' | 'recipient'>;
  readonly embedding: Embedded<EngineConfig['embedding'], 'folder'>;
  readonly oracles: EngineConfig['oracles'] | null;
  readonly servers: ServerSettings;
}

/**
 * What `cortensor up` found out, for what the settings leave open. A value given here wins over the
 * settings; one that is left out leaves them as they are.
 */
export interface Runtime {
  readonly temporal?: {
    readonly address?: string;
    readonly codec?: EngineConfig['temporal']['codec'];
  };
  readonly layers?: Readonly<
    Partial<
      Record<LayerName, Partial<Pick<LayerConfig, 'chainId' | 'rpcUrls' | 'signer' | 'contracts'>>>
    >
  >;
  readonly ipfs?: { readonly apiUrl?: string; readonly gatewayUrl?: string };
  readonly database?: EngineConfig['database'];
  readonly router?: Partial<
    Pick<EngineConfig['router'], 'host' | 'port' | 'identity' | 'recipient'>
  > & {
    /** Added to the configured ones. */
    readonly apiKeys?: EngineConfig['router']['apiKeys'];
  };
  /** Model files by model name, for models whose `file` the settings leave open. */
  readonly modelFiles?: Readonly<Record<string, string>>;
  readonly embedding?: EngineConfig['embedding'];
  readonly oracles?: EngineConfig['oracles'];
  /** Added to the configured ones. */
  readonly sinks?: EngineConfig['sinks'];
  /** Added to the configured ones. */
  readonly databases?: EngineConfig['databases'];
}
