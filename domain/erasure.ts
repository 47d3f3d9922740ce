/** Erasure: what its owner wants gone of a closed session, and the receipt that it is. */
import type { RemovalReceipt } from './export.js';
import type { Address, Cid, Hex, SessionId } from './ids.js';
import type { SealingLevel } from './sealing.js';

/** In this order: once the keys are gone, nothing that is still somewhere can be read. */
export const ERASURE_STAGES = ['Keys', 'Content', 'Sinks', 'Records', 'Receipt', 'Done'] as const;
export type ErasureStage = (typeof ERASURE_STAGES)[number];

/** What there is to erase, by reference. */
export interface ErasurePlan {
  readonly owner: Address;
  readonly level: SealingLevel;
  /** Every keyring that the session has had. */
  readonly keyrings: readonly Cid[];
  /** How many it had. */
  readonly tasks: number;
  /** Its whole archive. */
  readonly pages: readonly Cid[];
  readonly manifestCid: Cid | null;
  /** Sinks that may hold rows of it. */
  readonly sinks: readonly string[];
  /** The owner's own store, where its policy names one. */
  readonly host?: string;
}

/** What was done, and when. */
export interface ErasureReceipt {
  readonly version: 1;
  readonly kind: 'erasure';
  readonly chainId: number;
  readonly sessionId: SessionId;
  readonly owner: Address;
  readonly level: SealingLevel;
  /** Files of keys that were taken off every node of the deployment. */
  readonly keyrings: readonly Cid[];
  /** Tasks whose requests, results and evidence were given up. */
  readonly tasks: number;
  readonly manifestCid: Cid | null;
  readonly sinks: readonly RemovalReceipt[];
  /** The owner's own store, where its policy names one. What was delivered there is sealed for keys that
   * are gone, and the owner's to delete. */
  readonly host?: string;
  /** ISO 8601, UTC. */
  readonly erasedAt: string;
}

/** A receipt with the engine's word for it. */
export interface SignedErasure {
  readonly receipt: ErasureReceipt;
  /** Signer of the engine's transactions on the service layer. */
  readonly signer: Address;
  /** EIP-191, over the receipt's canonical JSON. */
  readonly signature: Hex;
  /** This document without this field, on IPFS. */
  readonly cid: Cid;
}

/** How far an erasure is. */
export interface ErasureView {
  readonly sessionId: SessionId;
  readonly stage: ErasureStage;
  /** Code of what it waits for; `null` while it gets on. */
  readonly waitingFor: string | null;
  /** `null` until it is done. */
  readonly signed: SignedErasure | null;
}

/** Erasures as their owners' tools reach them. Every method: @throws TEMPORAL_UNREACHABLE */
export interface ErasureControl {
  /** Starts the erasure of a closed session; one that was started goes on, or is done. */
  start(sessionId: SessionId): Promise<ErasureView>;
  /** @throws ERASURE_NOT_FOUND — nobody has asked for it. */
  view(sessionId: SessionId): Promise<ErasureView>;
}
