/** The onboarding layer: nodes with their stakes, and users.
 * @see contracts/src/onboarding/INodeRegistry.sol, IUserRegistry.sol */
import type { JsonRpcProvider } from 'ethers';
import { nodeRegistryAbi, userRegistryAbi } from '../../contracts/abi.js';
import type { LayerConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, Cid, Hex } from '../../domain/ids.js';
import type { MoneySummary } from '../../domain/money.js';
import {
  NODE_ROLES,
  NODE_STATUSES,
  type NodeRole,
  type RegisteredNode,
} from '../../domain/node.js';
import type { NodeApplication, UserApplication } from '../../domain/onboarding.js';
import { SEALING_LEVELS, type SealingLevel } from '../../domain/sealing.js';
import { digestOf } from '../ipfs/cid.js';
import { addressOf, BoundContract, type Write } from './contract.js';
import { splitSignature } from './token.js';

export interface RegisteredUser {
  readonly address: Address;
  /** age recipient that keyrings of its sessions are wrapped for. */
  readonly recipient: string;
  /** Of its sessions where they name none. */
  readonly level: SealingLevel;
}

/** What the committee's quorum decided, with the evidence and the signatures by ascending signer. */
export interface CommitteeDecision {
  readonly node: Address;
  readonly evidenceCid: Cid;
  readonly signatures: readonly Hex[];
}

/** Nodes a call when listing: a page stays far below what nodes let a call cost. */
const PAGE_NODES = 100;

/** Reads: @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH */
export class OnboardingChain {
  readonly nodeRegistry: Address;
  readonly userRegistry: Address;
  readonly #nodes: BoundContract<typeof nodeRegistryAbi>;
  readonly #users: BoundContract<typeof userRegistryAbi>;

  /** @throws CONFIG_INVALID — `nodeRegistry` or `userRegistry` is not configured. */
  constructor(provider: JsonRpcProvider, contracts: LayerConfig['contracts']) {
    this.nodeRegistry = addressOf(contracts, 'nodeRegistry');
    this.userRegistry = addressOf(contracts, 'userRegistry');
    this.#nodes = new BoundContract(provider, this.nodeRegistry, nodeRegistryAbi);
    this.#users = new BoundContract(provider, this.userRegistry, userRegistryAbi);
  }

  /** @returns `null` when the address never registered. */
  async readNode(address: Address): Promise<RegisteredNode | null> {
    const [node] = await this.#nodes.read('nodeOf', [address]);
    return toNode(node);
  }

  /** All nodes of a role, whatever their status, in the order of their first registration. */
  async listNodes(role: NodeRole): Promise<RegisteredNode[]> {
    const nodes: RegisteredNode[] = [];
    for (let offset = 0n; ; offset += BigInt(PAGE_NODES)) {
      const args = [NODE_ROLES.indexOf(role), offset, BigInt(PAGE_NODES)] as const;
      const [page] = await this.#nodes.read('nodesOf', args);
      nodes.push(...page.map(toNode).filter((node) => node !== null));
      if (page.length < PAGE_NODES) return nodes;
    }
  }

  /** @returns `null` when the address never registered. */
  async readUser(address: Address): Promise<RegisteredUser | null> {
    const [user] = await this.#users.read('userOf', [address]);
    if (user.recipient === '') return null;
    const level = member(SEALING_LEVELS, user.level, 'level of a user');
    return { address, recipient: user.recipient, level };
  }

  /** Fewest tokens that a node's registration must bring. */
  async readMinimumStakeWei(): Promise<bigint> {
    const [stake] = await this.#nodes.read('minimumStake', []);
    return stake;
  }

  /** Where the stakes went; what nodes took back counts as refunded. */
  async readMoney(): Promise<MoneySummary> {
    const [depositedWei, refundedWei, slashedWei, heldWei] = await this.#nodes.read('money', []);
    return { depositedWei, paidWei: 0n, refundedWei, slashedWei, heldWei };
  }

  /** @throws SIGNATURE_INVALID — the permit cannot be read. */
  encodeRegisterNode(application: NodeApplication): Write {
    const { node, role, stakeWei, recipient, metadataCid, deadline, signature } = application;
    return this.#nodes.encode('register', [
      node,
      NODE_ROLES.indexOf(role),
      BigInt(stakeWei),
      recipient,
      metadataCid,
      BigInt(deadline),
      signature,
      BigInt(deadline),
      ...splitSignature(application.permitSignature),
    ]);
  }

  encodeAdmitNode({ node, evidenceCid, signatures }: CommitteeDecision): Write {
    return this.#nodes.encode('admit', [node, digestOf(evidenceCid), signatures]);
  }

  encodeJailNode(decision: CommitteeDecision & { readonly epoch: number }): Write {
    const { node, epoch, evidenceCid, signatures } = decision;
    return this.#nodes.encode('jail', [node, BigInt(epoch), digestOf(evidenceCid), signatures]);
  }

  encodeReleaseNode(decision: CommitteeDecision & { readonly epoch: number }): Write {
    const { node, epoch, evidenceCid, signatures } = decision;
    return this.#nodes.encode('release', [node, BigInt(epoch), digestOf(evidenceCid), signatures]);
  }

  encodeRegisterUser(application: UserApplication): Write {
    const { user, recipient, level, deadline, signature } = application;
    return this.#users.encode('register', [
      user,
      recipient,
      SEALING_LEVELS.indexOf(level),
      BigInt(deadline),
      signature,
    ]);
  }
}

interface NodeView {
  readonly node: Address;
  readonly role: number;
  readonly status: number;
  readonly stake: bigint;
  readonly recipient: string;
  readonly metadataCid: string;
}

function toNode(view: NodeView): RegisteredNode | null {
  const status = member(NODE_STATUSES, view.status, 'status of a node');
  if (status === 'None') return null;
  return {
    address: view.node,
    role: member(NODE_ROLES, view.role, 'role of a node'),
    status,
    stakeWei: view.stake,
    recipient: view.recipient,
    metadataCid: view.metadataCid,
  };
}

/** Reads an index of a Solidity enum. The contract may be newer than this code.
 * @throws CHAIN_MISMATCH — the set has no such member. */
export function member<T>(set: readonly T[], index: number, what: string): T {
  const value = set[index];
  if (value === undefined) throw new EngineError('CHAIN_MISMATCH', { what, got: index });
  return value;
}
