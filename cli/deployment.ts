/** Contracts of the layers, put on chain through the engine's own outbox: under fixed keys, so that a
 * deployment that was cut off goes on, and a second one changes nothing. */
import type { JsonRpcProvider } from 'ethers';
import type { Outbox } from '../adapters/chain/outbox.js';
import { openProvider } from '../adapters/chain/provider.js';
import { migrate } from '../adapters/database/migrate.js';
import { openPool } from '../adapters/database/pool.js';
import { LAYERS, type LayerConfig, type LayerName } from '../domain/config.js';
import { openOutbox } from './chains.js';

/** What a layer must say to be sent to. */
export type LayerAccess = Pick<LayerConfig, 'chainId' | 'rpcUrls' | 'confirmations' | 'signer'>;

export interface DeploymentDeps {
  readonly outbox: Outbox;
  /** Of the layers that were named. */
  providerOf(layer: LayerName): JsonRpcProvider;
}

/** Opens the outbox on some layers, and closes it again; the database is brought up to date first.
 * @throws DATABASE_UNREACHABLE, DATABASE_REFUSED, SECRET_MISSING, KEY_FILE_UNSAFE */
export async function withOutbox<T>(
  databaseUrl: string,
  layers: Readonly<Partial<Record<LayerName, LayerAccess>>>,
  use: (deps: DeploymentDeps) => Promise<T>,
): Promise<T> {
  const pool = openPool(databaseUrl);
  const providers: Partial<Record<LayerName, JsonRpcProvider>> = {};
  for (const name of LAYERS) {
    const layer = layers[name];
    if (layer !== undefined) providers[name] = openProvider(layer);
  }
  try {
    await migrate(pool);
    const outbox = await openOutbox(layers, providers, pool);
    return await use({
      outbox,
      providerOf(layer) {
        const provider = providers[layer];
        if (provider === undefined) throw new TypeError(`expected a named layer, got ${layer}`);
        return provider;
      },
    });
  } finally {
    await pool.end();
    for (const provider of Object.values(providers)) provider.destroy();
  }
}
