/**
 * What the engine does on chain, one side effect a function. Writes go through the outbox under a
 * key that names the business, not the attempt: run twice, or cut anywhere, they are one
 * transaction.
 */
import { Context } from '@temporalio/activity';
import type { HealthChain } from '../adapters/chain/health.js';
import type { Outbox } from '../adapters/chain/outbox.js';
import type { OnboardingChain } from '../adapters/chain/registry.js';
import type { ServiceChain } from '../adapters/chain/service.js';
import type { BlockStore } from '../adapters/ipfs/block-store.js';
import type { LayerName } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';
import type { NodeHealth } from '../domain/health.js';
import { sameAddress, type Address, type Cid, type Hex, type SessionId } from '../domain/ids.js';
import type { WeiString } from '../domain/money.js';
import type { Candidate, MinerMetadata, RegisteredNode } from '../domain/node.js';
import type { NodeApplication, UserApplication } from '../domain/onboarding.js';
import type { OpenSessionRequest } from '../domain/session.js';
import type { BatchReceipt, SettlementBatch } from '../domain/settlement.js';
import { translated } from './failure.js';

interface Approved {
  readonly evidenceCid: Cid;
  /** Of the committee, over the matching message, in order of their signers. */
  readonly signatures: readonly Hex[];
}

export interface ChainActivities {
  /** @returns the registration's transaction, also when the node had been registered before. */
  registerNode(application: NodeApplication): Promise<Hex>;
  admitNode(input: Approved & { readonly node: Address }): Promise<Hex>;
  enterPool(input: Approved & { readonly node: Address }): Promise<Hex>;
  changeNodeStatus(
    input: Approved & {
      readonly kind: 'jail-node' | 'release-node';
      readonly node: Address;
      readonly epoch: number;
    },
  ): Promise<Hex>;
  registerUser(application: UserApplication): Promise<Hex>;
  listMiners(): Promise<readonly RegisteredNode[]>;
  /** Active miners that serve the model, with the score of the last epoch. */
  listCandidates(model: string): Promise<readonly Candidate[]>;
  /** The number after the last reported epoch, from 1. */
  nextEpoch(): Promise<number>;
  reportEpoch(
    input: Approved & { readonly epoch: number; readonly scores: readonly NodeHealth[] },
  ): Promise<{ readonly root: Hex; readonly reportTx: Hex }>;
  openSession(input: {
    readonly request: OpenSessionRequest;
    readonly policyCid: Cid;
  }): Promise<Hex>;
  settleBatch(input: {
    readonly batchCid: Cid;
    readonly signatures: readonly Hex[];
  }): Promise<BatchReceipt>;
  closeSession(input: {
    readonly sessionId: SessionId;
    readonly chargedWei: WeiString;
    readonly signatures: readonly Hex[];
  }): Promise<{ readonly transaction: Hex; readonly refundedWei: WeiString }>;
}
