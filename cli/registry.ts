/** Who may read what is sealed, by the chain: an owner's check of what a router says. */
import { openProvider } from '../adapters/chain/provider.js';
import { OnboardingChain } from '../adapters/chain/registry.js';
import { sameAddress } from '../domain/ids.js';
import type { RecipientReader } from '../sdk/client.js';
import { loadSettings } from './config.js';

/** A reader of recipients that must be closed. */
export interface Registry extends RecipientReader {
  close(): void;
}

/** Opens the registry that a configuration names: miners are looked up on the onboarding layer, and
 * oracles, which are in no registry, in the configuration itself.
 * @returns `null` where there is no configuration, or it does not name that layer.
 * @throws CONFIG_INVALID — as `loadSettings`. */
export function openRegistry(config: string | undefined): Registry | null {
  if (config === undefined) return null;
  const { layers, oracles } = loadSettings({ file: config, env: process.env, secrets: [] });
  const { chainId, rpcUrls, contracts } = layers.onboarding;
  if (rpcUrls === null || contracts === null) return null;
  const provider = openProvider({ chainId, rpcUrls });
  const chain = new OnboardingChain(provider, contracts);
  return {
    async readRecipient(address) {
      const oracle = oracles?.find((known) => sameAddress(known.address, address));
      return oracle?.recipient ?? (await chain.readNode(address))?.recipient ?? null;
    },
    close: () => provider.destroy(),
  };
}
