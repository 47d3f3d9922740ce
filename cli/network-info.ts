/** What clients are told of this deployment before they sign. */
import { addressOf } from '../adapters/chain/contract.js';
import type { NetworkInfo } from '../domain/api.js';
import type { EngineConfig } from '../domain/config.js';
import type { Chains } from './chains.js';

const VERSION = '0.1.0';

export function networkInfo(config: EngineConfig, chains: Chains): NetworkInfo {
  const { chainId, contracts } = config.layers.service;
  return {
    version: VERSION,
    chainId,
    contracts: {
      token: addressOf(contracts, 'token'),
      sessionManager: chains.service.sessionManager,
      sessionPayment: chains.service.sessionPayment,
    },
    models: config.models.map(({ name, kind, pricePerTokenWei }) => ({
      name,
      kind,
      pricePerTokenWei,
    })),
    feeBps: config.settlement.feeBps,
    gatewayUrl: config.ipfs.gatewayUrl,
  };
}
