/** Applications to join the network, signed by the one who joins; any relayer may submit them. */
import type { Address, Cid, Hex } from './ids.js';
import type { WeiString } from './money.js';
import type { NodeRole } from './node.js';
import type { SealingLevel } from './sealing.js';

/** Input of `onboardMiner`: the fields of EIP-712 `RegisterNode`, and the permit for the stake. */
export interface NodeApplication {
  readonly node: Address;
  readonly role: NodeRole;
  readonly stakeWei: WeiString;
  /** age recipient. */
  readonly recipient: string;
  readonly metadataCid: Cid;
  /** Unix seconds; of the signature and of the permit. */
  readonly deadline: number;
  readonly signature: Hex;
  /** EIP-2612, from the node to the registry, over `stakeWei`. */
  readonly permitSignature: Hex;
}

/** Input of `onboardUser`: the fields of EIP-712 `RegisterUser`. */
export interface UserApplication {
  readonly user: Address;
  readonly recipient: string;
  readonly level: SealingLevel;
  /** Unix seconds. */
  readonly deadline: number;
  readonly signature: Hex;
}
