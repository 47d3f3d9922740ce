/**
 * Contracts and tokens of the development network. Everything goes through the outbox under fixed
 * keys, so that a start that was cut off goes on, and a second one changes nothing. An Anvil that
 * came back from an older state gets what it forgot sent again first.
 */
import { toQuantity } from 'ethers';
import { deployLayer } from '../../adapters/chain/deploy.js';
import { TokenChain } from '../../adapters/chain/token.js';
import type { LayerName } from '../../domain/config.js';
import type { Address } from '../../domain/ids.js';
import { parseTokens } from '../../domain/money.js';
import type { ServerHandles } from '../../servers/network.js';
import type { Settings } from '../config.js';
import { withOutbox } from '../deployment.js';
import type { Parties } from './parties.js';

/** Contract addresses of every layer, by the keys of `LayerConfig.contracts`. */
export type Deployment = Readonly<Record<LayerName, Readonly<Record<string, Address>>>>;

/** What a network starts with, in wei and seconds. */
type Terms = Readonly<
  Record<'tokenCap' | 'minimumStake' | 'minerBalance' | 'userBalance', bigint> &
    Record<'unbondingSeconds' | 'exitSeconds', number>
>;

/** Terms of the development network, in whole tokens and seconds. */
export const DEV_TERMS = {
  tokenCap: parseTokens('1000000000'),
  minimumStake: parseTokens('1000'),
  minerBalance: parseTokens('1500'),
  userBalance: parseTokens('1000000'),
  unbondingSeconds: 86_400,
  exitSeconds: 86_400,
} as const;

/** Native coins of the engine's signer on each development chain. */
const GAS_WEI = 10n ** 24n;

/** Brings the engine's database, contracts and balances to where the network can start. */
export async function deployContracts(input: {
  readonly settings: Settings;
  readonly servers: ServerHandles;
  readonly parties: Parties;
  /** @defaultValue `DEV_TERMS` */
  readonly terms?: Terms;
}): Promise<Deployment> {
  const { settings, servers, parties, terms = DEV_TERMS } = input;
  const { engine, oracles, miners, user } = parties;
  const layers = {
    onboarding: layerOf('onboarding'),
    health: layerOf('health'),
    service: layerOf('service'),
  };
  return await withOutbox(servers.postgres.engineUrl, layers, async ({ outbox, providerOf }) => {
    const deploy = async (layer: LayerName): Promise<Readonly<Record<string, Address>>> => {
      await providerOf(layer).send('anvil_setBalance', [engine.address, toQuantity(GAS_WEI)]);
      await outbox.reconcile(layer);
      return await deployLayer(outbox, layer, {
        owner: engine.address,
        tokenCapWei: terms.tokenCap,
        committee: oracles.map((oracle) => oracle.address),
        quorum: settings.quorum,
        treasury: engine.address,
        minimumStakeWei: terms.minimumStake,
        unbondingSeconds: terms.unbondingSeconds,
        exitSeconds: terms.exitSeconds,
      });
    };
    const [onboarding, health, service] = await Promise.all([
      deploy('onboarding'),
      deploy('health'),
      deploy('service'),
    ]);
    const mint = async (layer: 'onboarding' | 'service', to: Address, amountWei: bigint) => {
      const contracts = layer === 'onboarding' ? onboarding : service;
      const write = new TokenChain(providerOf(layer), contracts).encodeMint(to, amountWei);
      await outbox.execute({ ...write, layer, key: `faucet:${layer}:${to}` });
    };
    await Promise.all([
      ...miners.map((miner) => mint('onboarding', miner.address, terms.minerBalance)),
      mint('service', user.address, terms.userBalance),
    ]);
    return { onboarding, health, service };
  });

  function layerOf(name: LayerName) {
    const { chainId, confirmations } = settings.layers[name];
    const signer = `file:${engine.keyFile}` as const;
    return { chainId, confirmations, signer, rpcUrls: [servers.chains[name] ?? ''] };
  }
}
