/**
 * Bodies of the router's native API under `/api/v1`, shared by router, SDK and dashboard. Amounts are
 * decimal strings of wei, times are Unix milliseconds in fields that end in `Ms`.
 */
import type { ModelConfig } from './config.js';
import type { Address, Cid, Hex, SessionId, TaskId } from './ids.js';
import type { TaskRecord } from './lease.js';
import type { WeiString } from './money.js';
import type { NodeKind, NodeStatus } from './node.js';
import type { KeyringRef } from './sealing.js';
import type { WithdrawalRequest } from './session.js';
import type { CalledTool, ResponseFormat, TaskOutcome, TaskState, TokenUsage } from './task.js';
import type { ValidationReason, ValidationReceipt } from './validation.js';
import type { Verdict } from './verdict.js';

/** Version of all answers under `/api/v1`. Fields are added to it, and never taken away or changed. */
export const API_SCHEMA_VERSION = 1;

/** `GET /api/v1/network`: what a client must know before it signs. */
export interface NetworkInfo {
  readonly version: string;
  readonly chainId: number;
  readonly contracts: {
    readonly token: Address;
    readonly sessionManager: Address;
    readonly sessionPayment: Address;
  };
  readonly models: readonly Pick<ModelConfig, 'name' | 'kind' | 'pricePerTokenWei'>[];
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

/** `GET /api/v1/sessions/:id/tasks/:taskId?include=…`: a task with all that its evidence says. */
export interface TaskDetail extends TaskRecord {
  /** Whose answer was streamed. */
  readonly primary: Address | null;
  /** `null` as long as nothing was judged. */
  readonly verdict: Omit<Verdict, 'scores'> | null;
  /** One a miner that committed to an answer. */
  readonly outputs: readonly TaskOutput[];
}

/** What one miner answered. */
export interface TaskOutput {
  readonly miner: Address;
  /** From its assignment to its precommitment, and to the reveal; `null` where it was not noted. */
  readonly answeredMs: number | null;
  readonly committedMs: number | null;
  readonly resultHash: Hex;
  /** The result at rest: sealed, but at level `open`. */
  readonly resultCid: Cid;
  /** As the miner claims it. */
  readonly usage: TokenUsage;
  /** Similarity to the answer closest to all others, 0–10,000. */
  readonly scoreBps: number;
  readonly isAgreed: boolean;
  /** What it earns by the task. */
  readonly paidWei: WeiString;
  /** In plain, with `include=outputs`. */
  readonly plain?: PlainOutput;
}

/** Text of an answer and its calls of tools, or the code of what kept the router from reading it:
 * `SEAL_NOT_RECIPIENT` where the session is sealed. */
export type PlainOutput =
  | {
      readonly text: string;
      readonly finishReason: string;
      /** Absent where none was called. */
      readonly toolCalls?: readonly CalledTool[];
    }
  | { readonly error: string };

/** `GET /api/v1/miners`: a miner that is registered, connected here, or both. */
export interface MinerInfo {
  readonly miner: Address;
  /** To the router that answers; load and capacity are known of these alone. */
  readonly isConnected: boolean;
  readonly models: readonly string[];
  /** Tasks at once, and those it works on now. */
  readonly capacity: number | null;
  readonly load: number | null;
  /** Sessions that this router holds and that have reserved the miner. */
  readonly sessions: number;
  /** On the onboarding chain; `null` of one that has registered within the last seconds. */
  readonly status: NodeStatus | null;
  readonly stakeWei: WeiString | null;
  readonly kind: NodeKind | null;
  /** Of the last epoch, 0–10,000 and 0–10; `null` where it was not in it. */
  readonly scoreBps: number | null;
  readonly level: number | null;
  /** Measured in the last epoch; `null` where nothing was. */
  readonly tokensPerSecond: number | null;
  /** Least price in wei a token that it works for; `null` where it names none. */
  readonly pricePerTokenWei: WeiString | null;
}

/** `GET /api/v1/epochs`: a round of verification as it stands on chain. */
export interface EpochSummary {
  readonly epoch: number;
  /** Root of the scores. */
  readonly root: Hex;
  readonly reportTx: Hex;
  readonly evidenceCid: Cid;
  /** Miners that were scored. */
  readonly miners: number;
}

/** `GET /api/v1/epochs/:epoch`. */
export interface EpochInfo extends EpochSummary {
  readonly scores: readonly EpochScore[];
  /** Probes that every miner got; `null` where the evidence could not be read, with the code of why. */
  readonly probes: number | null;
  readonly evidenceError: string | null;
}

export interface EpochScore {
  readonly miner: Address;
  /** 0–10,000. */
  readonly scoreBps: number;
  /** 0–10. */
  readonly level: number;
  /** Probes that it answered; `null` where the evidence could not be read. */
  readonly answered: number | null;
  /** `null` where nothing was measured. */
  readonly tokensPerSecond: number | null;
}

/** `GET /api/v1/status`: this router, and what it depends on. */
export interface RouterStatus {
  readonly version: string;
  /** When it was looked; a second old at most. */
  readonly checkedAtMs: number;
  /** `degraded`: something of the below is away. */
  readonly state: 'ok' | 'degraded' | 'draining';
  readonly router: {
    readonly id: string;
    /** Being answered. */
    readonly requests: number;
    readonly miners: number;
    /** Sessions whose leases it holds, and the tasks under way in them. */
    readonly leases: number;
    readonly openTasks: number;
  };
  readonly chains: readonly ChainStatus[];
  readonly temporal: ComponentStatus & { readonly queues: readonly QueueStatus[] };
  readonly ipfs: ComponentStatus;
  readonly database: ComponentStatus;
}

export interface ComponentStatus {
  readonly isUp: boolean;
  /** Code of what is the matter; `null` where nothing is. */
  readonly error: string | null;
  /** To the answer, or until it was given up. */
  readonly latencyMs: number;
}

export interface ChainStatus extends ComponentStatus {
  readonly layer: string;
  readonly chainId: number;
  /** Number of the newest block; `null` while the chain is away. */
  readonly height: number | null;
  /** Age of that block: a chain that makes blocks only when there are transactions may have an old one. */
  readonly lagMs: number | null;
}

export interface QueueStatus {
  readonly name: string;
  /** Tasks of workflows and activities that wait for a worker, about. */
  readonly backlog: number | null;
  /** Workers that have asked for work lately. */
  readonly workers: number | null;
}

/** `POST /api/v1/delegate`: a job that runs without the connection it came by. */
export interface DelegateRequest {
  /** What is to be done. */
  readonly goal: string;
  /** What it is to be done with. */
  readonly input?: string | undefined;
  /** How to behave. */
  readonly instructions?: string | undefined;
  readonly sessionId?: SessionId | undefined;
  /** The session's, where not given. */
  readonly model?: string | undefined;
  readonly maxTokens?: number | undefined;
  readonly temperature?: number | undefined;
  readonly topP?: number | undefined;
  /** What form the answer must have. */
  readonly responseFormat?: ResponseFormat | undefined;
  readonly constraints?: DelegateConstraints | undefined;
}

/** What the session must promise by its policy, which its owner has signed; else nothing is begun. */
export interface DelegateConstraints {
  /** Miners that are asked, at least. */
  readonly minRedundancy?: number | undefined;
  /** Miners that must agree, at least. */
  readonly minQuorum?: number | undefined;
  /** Seconds in which the job has ended, one way or another, at most. */
  readonly maxSeconds?: number | undefined;
  /** What it may come to, at most. */
  readonly maxChargeWei?: WeiString | undefined;
}

/** Its answer: the task is recorded, and its request at rest. */
export interface Delegation {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  readonly state: TaskState | 'Settled';
  readonly outcome: TaskOutcome | null;
  /** The most that it can come to. */
  readonly maxChargeWei: WeiString;
  /** When it has ended at the latest, counted from the first time it was asked for. */
  readonly maxSeconds: number;
  /** Paths on this router, or any other. */
  readonly links: {
    readonly task: string;
    /** The task with every miner's output, and the agreed answer among them. */
    readonly outputs: string;
    readonly events: string;
    readonly cancel: string;
    readonly proof: string;
  };
}

/** `POST /api/v1/validate`: a task by its id, with or without a claimed answer; or a request with
 * one, which miners answer anew. */
export interface ValidateRequest {
  readonly sessionId?: SessionId | undefined;
  readonly taskId?: string | undefined;
  readonly request?: ValidatedRequest | undefined;
  /** The claim. */
  readonly answer?: string | undefined;
  /** Milliseconds to wait for miners at most, 1–50,000; then the word is `RETRY`. */
  readonly waitMs?: number | undefined;
}

/** A request as it was put to whoever claims to have answered it. */
export interface ValidatedRequest {
  readonly messages: readonly {
    readonly role: 'system' | 'user' | 'assistant';
    readonly content: string;
  }[];
  readonly model?: string | undefined;
  readonly maxTokens?: number | undefined;
  readonly temperature?: number | undefined;
  readonly topP?: number | undefined;
  readonly responseFormat?: ResponseFormat | undefined;
}

/** Its answer. */
export interface Validation extends Omit<ValidationReceipt, 'version' | 'reasons' | 'taskId'> {
  /** `null` where no miner was asked. */
  readonly taskId: TaskId | null;
  readonly reasons: readonly { readonly code: ValidationReason; readonly text: string }[];
  /** `ValidationReceipt` on IPFS; `null` while nothing is final. */
  readonly receiptCid: Cid | null;
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
