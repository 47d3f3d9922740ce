/** Joins what the file says with what `cortensor up` found out, and sees that nothing is left open. */
import type { EngineConfig, LayerConfig, LayerName } from '../../domain/config.js';
import type { EngineError } from '../../domain/errors.js';
import { LAYER_CONTRACTS } from './schema.js';
import type { Runtime, Settings } from './settings.js';

/** Makes the error for a key that nobody gave a value to. */
export type MissingError = (path: readonly string[], expected: string) => EngineError;

/**
 * Builds the complete configuration. What `runtime` says wins, since it is what was found to be so.
 * @throws CONFIG_INVALID — a value is in neither; or fewer oracles than the quorum; made by `missing`.
 */
export function complete(
  settings: Settings,
  runtime: Runtime,
  missing: MissingError,
): EngineConfig {
  const need = <T>(
    path: string,
    found: T | undefined,
    configured: T | null,
    expected: string,
  ): T => {
    const value = found ?? configured;
    if (value === null) throw missing(path.split('.'), expected);
    return value;
  };
  const layer = (name: LayerName): LayerConfig => {
    const said = settings.layers[name];
    const found = runtime.layers?.[name];
    const at = `layers.${name}`;
    const contracts = need(`${at}.contracts`, found?.contracts, said.contracts, 'addresses');
    for (const key of LAYER_CONTRACTS[name]) {
      if (contracts[key] === undefined)
        throw missing([...at.split('.'), 'contracts', key], 'an address');
    }
    return {
      chainId: found?.chainId ?? said.chainId,
      rpcUrls: need(`${at}.rpcUrls`, found?.rpcUrls, said.rpcUrls, 'a list of http(s) URLs'),
      confirmations: said.confirmations,
      signer: need(`${at}.signer`, found?.signer, said.signer, SECRET),
      contracts,
    };
  };
  const oracles = need('oracles', runtime.oracles, settings.oracles, 'a list');
  if (oracles.length < settings.quorum) {
    throw missing(['quorum'], `at most the number of oracles, ${oracles.length}`);
  }
  const { temporal, ipfs, router } = settings;
  return {
    temporal: {
      ...temporal,
      address: need('temporal.address', runtime.temporal?.address, temporal.address, 'host:port'),
      codec: need('temporal.codec', runtime.temporal?.codec, temporal.codec, 'identity and keys'),
    },
    taskQueues: settings.taskQueues,
    stickyTimeoutMs: settings.stickyTimeoutMs,
    retries: settings.retries,
    schedules: settings.schedules,
    settlement: settings.settlement,
    dapps: settings.dapps,
    layers: { onboarding: layer('onboarding'), health: layer('health'), service: layer('service') },
    ipfs: {
      ...ipfs,
      apiUrl: need('ipfs.apiUrl', runtime.ipfs?.apiUrl, ipfs.apiUrl, URL),
      gatewayUrl: need('ipfs.gatewayUrl', runtime.ipfs?.gatewayUrl, ipfs.gatewayUrl, URL),
    },
    database: {
      url: need('database.url', runtime.database?.url, settings.database.url, SECRET),
    },
    router: {
      ...router,
      host: runtime.router?.host ?? router.host,
      port: runtime.router?.port ?? router.port,
      apiKeys: [...router.apiKeys, ...(runtime.router?.apiKeys ?? [])],
      identity: need('router.identity', runtime.router?.identity, router.identity, SECRET),
      recipient: need('router.recipient', runtime.router?.recipient, router.recipient, RECIPIENT),
    },
    models: settings.models.map((model) => ({
      ...model,
      file: model.file ?? runtime.modelFiles?.[model.name] ?? null,
    })),
    embedding: {
      folder: need(
        'embedding.folder',
        runtime.embedding?.folder,
        settings.embedding.folder,
        'the folder of the embedding model',
      ),
    },
    oracles,
    quorum: settings.quorum,
    sinks: { ...settings.sinks, ...runtime.sinks },
    databases: { ...settings.databases, ...runtime.databases },
    hosts: settings.hosts,
  };
}

const SECRET = 'a reference env:NAME or file:PATH';
const URL = 'an http(s) URL';
const RECIPIENT = 'an age recipient, age1…';
