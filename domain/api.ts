/** Bodies of the router's native API under `/api/v1`, shared by router, SDK and dashboard. */
import type { Address, Cid, Hex, SessionId, TaskId } from './ids.js';
import type { WeiString } from './money.js';
import type { KeyringRef } from './sealing.js';
import type { WithdrawalRequest } from './session.js';
import type { TaskOutcome } from './task.js';

/** `GET /api/v1/network`: what a client must know before it signs. */
export interface NetworkInfo {
  readonly version: string;
  readonly chainId: number;
  readonly contracts: {
    readonly token: Address;
    readonly sessionManager: Address;
    readonly sessionPayment: Address;
  };
  readonly models: readonly { readonly name: string; readonly pricePerTokenWei: WeiString }[];
  readonly feeBps: number;
  readonly gatewayUrl: string;
}

/** `GET /api/v1/accounts/:address`: what an owner's wallet must know before it permits a deposit. */
export interface AccountInfo {
  readonly address: Address;
  readonly balanceWei: WeiString;
  /** Next EIP-2612 nonce of the account, decimal. */
  readonly permitNonce: string;
}

/** `PUT /api/v1/sessions/:id/keyring`: the client's keyring at sealed levels. */
export interface SetKeyringRequest {
  readonly recipient: KeyringRef['recipient'];
  /** age file, base64. */
  readonly keyring: string;
}

/** `GET /api/v1/sessions/:id/tasks/:taskId/proof`: that a task is in a batch which the chain has
 * settled. `SessionPayment.verifyTask(batchId, leaf, proof)` says the same to anyone. */
export interface TaskProof {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  readonly ordinal: number;
  readonly outcome: TaskOutcome;
  /** sha2-256 of the evidence and of the agreed answer at rest; zero where there is none. */
  readonly evidenceDigest: Hex;
  readonly resultDigest: Hex;
  readonly chargeWei: WeiString;
  readonly batchId: Hex;
  readonly batchCid: Cid;
  readonly root: Hex;
  readonly leaf: Hex;
  /** Siblings from the leaf to the root. */
  readonly proof: readonly Hex[];
  readonly settlementTx: Hex;
}

/** Every error answer, also inside a stream. OpenAI clients read `message`, `type` and `code`. */
export interface ErrorBody {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly type: string;
    /** Field of the request that is wrong. */
    readonly param: string | null;
    readonly details: Readonly<Record<string, string | number | boolean | null>>;
    readonly requestId: string;
  };
}

/** What oracles are asked to sign, `POST /v1/attest`. They recompute it from the evidence first. */
export type AttestationRequest =
  | { readonly kind: 'settle'; readonly batchCid: string }
  | {
      readonly kind: 'close-session';
      readonly sessionId: string;
      readonly chargedWei: WeiString;
    }
  | ({ readonly kind: 'withdraw-deposit' } & WithdrawalRequest)
  | { readonly kind: 'report-epoch'; readonly evidenceCid: string }
  | { readonly kind: 'admit-node'; readonly node: Address; readonly evidenceCid: string }
  | {
      readonly kind: 'jail-node' | 'release-node';
      readonly node: Address;
      readonly epoch: number;
      readonly evidenceCid: string;
    }
  | {
      readonly kind: 'enter-pool' | 'leave-pool';
      readonly node: Address;
      readonly evidenceCid: string;
    };

export type AttestationAnswer =
  | { readonly signed: true; readonly oracle: Address; readonly signature: Hex }
  | {
      readonly signed: false;
      readonly oracle: Address;
      readonly reason: string;
      /** For `settle`: tasks that the oracle judges otherwise. */
      readonly disputed: readonly Hex[];
      /** For `settle`: tasks whose evidence the oracle could not get at, which says nothing of them. */
      readonly missing: readonly Hex[];
    };

/** Asked of one validator when result hashes differ, `POST /v1/judge`. */
export interface JudgeRequest {
  readonly sessionId: string;
  readonly taskId: Hex;
  /** Miners that were asked, those without an answer included. */
  readonly asked: number;
  readonly keyringCid: string | null;
  readonly answers: readonly { readonly miner: Address; readonly resultCid: string }[];
}
