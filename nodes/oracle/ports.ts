/** What an oracle needs, each as narrow as it is used. */
import type { MessageValue, signMessage } from '../../adapters/chain/sign.js';
import type { Embedder } from '../../adapters/embedding/embedder.js';
import type { BlockStore } from '../../adapters/ipfs/block-store.js';
import type { MessageType, SigningDomain } from '../../domain/attestation.js';
import type { ModelConfig } from '../../domain/config.js';
import type { Address, Hex, SessionId } from '../../domain/ids.js';
import type { Log } from '../../domain/log.js';
import type { RegisteredNode } from '../../domain/node.js';

/** What an oracle reads on chain, through its own RPC.
 * @throws CHAIN_UNREACHABLE — nothing is known; `null` means that there is none. */
export interface OracleChain {
  readNode(address: Address): Promise<RegisteredNode | null>;
  readSession(sessionId: SessionId): Promise<{
    readonly owner: Address;
    readonly policyHash: Hex;
    readonly heldWei: bigint;
    readonly chargedWei: bigint;
  } | null>;
}

/** EIP-712 domains of the contracts that an oracle signs for. */
export interface OracleDomains {
  readonly nodeRegistry: SigningDomain;
  readonly healthLedger: SigningDomain;
  readonly nodePool: SigningDomain;
  /** The domain of miners' messages too. */
  readonly sessionPayment: SigningDomain;
}

export interface OracleDeps {
  readonly wallet: { readonly address: string } & Parameters<typeof signMessage>[0];
  /** The oracle's age identity: it is a validator, keyrings are wrapped for it. */
  readonly identity: string;
  readonly store: Pick<BlockStore, 'get'>;
  readonly chain: OracleChain;
  readonly embedder: Pick<Embedder, 'embed'>;
  readonly domains: OracleDomains;
  readonly models: readonly Pick<ModelConfig, 'name' | 'pricePerTokenWei'>[];
  readonly feeBps: number;
  readonly log: Log;
  /** Milliseconds for one request. @defaultValue 120,000 */
  readonly deadlineMs?: number;
}

/** A message that an oracle has found true and will sign. */
export interface Finding {
  readonly type: MessageType;
  readonly domain: SigningDomain;
  readonly value: MessageValue;
}
