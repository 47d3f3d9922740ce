/** Public chains that a layer can live on, by name: `preset: arbitrum-one`. */

export interface ChainPreset {
  readonly chainId: number;
  /** Public endpoint: rate-limited, good for a first try. Configure your own for real use. */
  readonly rpcUrl: string;
  /**
   * Blocks on top of a receipt's before it counts as final. On the two Ethereum chains it covers the
   * reorganisations that happen; on roll-ups, whose one sequencer orders blocks, a restarted one.
   */
  readonly confirmations: number;
}

/** @see https://chainlist.org for the chain ids. */
export const CHAIN_PRESETS = {
  ethereum: { chainId: 1, rpcUrl: 'https://ethereum-rpc.publicnode.com', confirmations: 12 },
  'arbitrum-one': { chainId: 42_161, rpcUrl: 'https://arb1.arbitrum.io/rpc', confirmations: 20 },
  base: { chainId: 8_453, rpcUrl: 'https://mainnet.base.org', confirmations: 5 },
  optimism: { chainId: 10, rpcUrl: 'https://mainnet.optimism.io', confirmations: 5 },
  sepolia: {
    chainId: 11_155_111,
    rpcUrl: 'https://ethereum-sepolia-rpc.publicnode.com',
    confirmations: 5,
  },
  'arbitrum-sepolia': {
    chainId: 421_614,
    rpcUrl: 'https://sepolia-rollup.arbitrum.io/rpc',
    confirmations: 20,
  },
  'base-sepolia': { chainId: 84_532, rpcUrl: 'https://sepolia.base.org', confirmations: 5 },
  'optimism-sepolia': {
    chainId: 11_155_420,
    rpcUrl: 'https://sepolia.optimism.io',
    confirmations: 5,
  },
} as const satisfies Record<string, ChainPreset>;

export type ChainPresetName = keyof typeof CHAIN_PRESETS;
