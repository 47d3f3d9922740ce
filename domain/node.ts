/** Nodes of the network: who they are, what they may do, and how one is chosen. */
import { EngineError } from './errors.js';
import type { Address, Cid } from './ids.js';
import type { WeiString } from './money.js';

export const NODE_ROLES = ['router', 'miner', 'oracle', 'validator', 'pool', 'quality'] as const;
export type NodeRole = (typeof NODE_ROLES)[number];

/** Same order as `enum NodeStatus` in contracts/src/onboarding/INodeRegistry.sol. */
export const NODE_STATUSES = ['None', 'Pending', 'Active', 'Jailed', 'Exiting', 'Exited'] as const;
export type NodeStatus = (typeof NODE_STATUSES)[number];

/** Same order as `enum NodeKind` in contracts/src/health/INodePool.sol. */
export const NODE_KINDS = ['None', 'Ephemeral', 'Reserved', 'Dedicated'] as const;
export type NodeKind = (typeof NODE_KINDS)[number];

/** A node as the registry on the onboarding layer knows it. */
export interface RegisteredNode {
  readonly address: Address;
  readonly role: NodeRole;
  readonly status: NodeStatus;
  readonly stakeWei: bigint;
  /** age recipient (`age1…`) that payloads for this node are wrapped for. */
  readonly recipient: string;
  readonly metadataCid: Cid;
}

/** What a miner says of itself, stored on IPFS and referenced by `metadataCid`. */
export interface MinerMetadata {
  readonly version: 1;
  readonly address: Address;
  readonly models: readonly string[];
  /** Tasks at once. */
  readonly capacity: number;
  /** Least price in wei a token that it works for; any price where it names none. */
  readonly pricePerTokenWei?: WeiString;
}

/** A miner that may be given work, with all that the choice depends on. */
export interface Candidate {
  readonly address: Address;
  readonly recipient: string;
  readonly models: readonly string[];
  /** Last epoch's score, 0–10,000. */
  readonly scoreBps: number;
  /** 0–10. */
  readonly level: number;
  readonly kind: NodeKind;
  /** Measured in the last epoch; `null` where nothing was. */
  readonly tokensPerSecond: number | null;
  /** Least price in wei a token that it works for; `null` where it names none. */
  readonly pricePerTokenWei: WeiString | null;
}

/** Reads what a miner published of itself.
 * @throws REQUEST_INVALID — it is not of this form. */
export function parseMinerMetadata(value: unknown): MinerMetadata {
  const metadata = value as Partial<MinerMetadata> | null;
  const isValid =
    typeof metadata === 'object' &&
    metadata?.version === 1 &&
    typeof metadata.address === 'string' &&
    Number.isInteger(metadata.capacity) &&
    Array.isArray(metadata.models) &&
    metadata.models.every((model) => typeof model === 'string') &&
    (metadata.pricePerTokenWei === undefined || /^\d{1,39}$/.test(metadata.pricePerTokenWei));
  if (!isValid) {
    throw new EngineError('REQUEST_INVALID', { field: 'metadata', expected: "a miner's metadata" });
  }
  return metadata as MinerMetadata;
}
