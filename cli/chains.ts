/** The three layers as a process sees them: providers, readers, and for who sends, the outbox. */
import { Wallet, type JsonRpcProvider } from 'ethers';
import type pg from 'pg';
import { HealthChain } from '../adapters/chain/health.js';
import { Outbox, type OutboxLayer } from '../adapters/chain/outbox.js';
import { openProvider } from '../adapters/chain/provider.js';
import { OnboardingChain } from '../adapters/chain/registry.js';
import { ServiceChain } from '../adapters/chain/service.js';
import { LAYERS, type EngineConfig, type LayerName } from '../domain/config.js';
import { readSecret } from '../adapters/seal/secret.js';

/** Readers of the layers. */
export interface Chains {
  readonly providers: Readonly<Record<LayerName, JsonRpcProvider>>;
  readonly onboarding: OnboardingChain;
  readonly health: HealthChain;
  readonly service: ServiceChain;
  close(): void;
}

/** Opens readers; nothing is sent before the first read.
 * @throws CONFIG_INVALID — a contract's address is missing. */
export function openChains(layers: EngineConfig['layers']): Chains {
  const providers = {
    onboarding: openProvider(layers.onboarding),
    health: openProvider(layers.health),
    service: openProvider(layers.service),
  };
  return {
    providers,
    onboarding: new OnboardingChain(providers.onboarding, layers.onboarding.contracts),
    health: new HealthChain(providers.health, layers.health.contracts),
    service: new ServiceChain(providers.service, layers.service.contracts),
    close() {
      for (const provider of Object.values(providers)) provider.destroy();
    },
  };
}

/** Opens the outbox on all layers, with the signer that each layer's configuration names.
 * @throws SECRET_MISSING, KEY_FILE_UNSAFE — a signer's key cannot be read. */
export async function openOutbox(
  layers: Readonly<
    Record<
      LayerName,
      Pick<EngineConfig['layers'][LayerName], 'chainId' | 'confirmations' | 'signer'>
    >
  >,
  providers: Chains['providers'],
  pool: pg.Pool,
): Promise<Outbox> {
  const open = async (name: LayerName): Promise<OutboxLayer> => {
    const { chainId, confirmations, signer } = layers[name];
    const wallet = new Wallet(await readSecret(signer));
    return { provider: providers[name], chainId, confirmations, wallet };
  };
  const [onboarding, health, service] = await Promise.all(LAYERS.map(open));
  return new Outbox({
    pool,
    layers: {
      ...(onboarding && { onboarding }),
      ...(health && { health }),
      ...(service && { service }),
    },
  });
}
