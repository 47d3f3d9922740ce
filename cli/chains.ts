/** The three layers as a process sees them: providers, readers, and for who sends, the outbox. */
import { Wallet, type JsonRpcProvider } from 'ethers';
import type pg from 'pg';
import { HealthChain } from '../adapters/chain/health.js';
import { Outbox, type OutboxLayer } from '../adapters/chain/outbox.js';
import { openProvider } from '../adapters/chain/provider.js';
import { QueueChain } from '../adapters/chain/queue.js';
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
  /** Of the service layer. */
  readonly queue: QueueChain;
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
    queue: new QueueChain(providers.service, layers.service.contracts),
    close() {
      for (const provider of Object.values(providers)) provider.destroy();
    },
  };
}

/** Opens the outbox on the layers given, with the signer that each one's configuration names.
 * @throws SECRET_MISSING, KEY_FILE_UNSAFE — a signer's key cannot be read. */
export async function openOutbox(
  layers: Readonly<
    Partial<
      Record<
        LayerName,
        Pick<EngineConfig['layers'][LayerName], 'chainId' | 'confirmations' | 'signer'>
      >
    >
  >,
  providers: Partial<Chains['providers']>,
  pool: pg.Pool,
): Promise<Outbox> {
  const opened: Partial<Record<LayerName, OutboxLayer>> = {};
  for (const name of LAYERS) {
    const [layer, provider] = [layers[name], providers[name]];
    if (layer === undefined || provider === undefined) continue;
    const { chainId, confirmations, signer } = layer;
    const wallet = new Wallet(await readSecret(signer));
    opened[name] = { provider, chainId, confirmations, wallet };
  }
  return new Outbox({ pool, layers: opened });
}
