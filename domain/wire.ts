/**
 * The miner protocol: JSON text messages over one WebSocket that the miner opens to a router at
 * `/miner`. The router challenges, the miner proves its key, then tasks flow.
 *
 *   miner  → hello ─────────────► router      router → challenge
 *   miner  → proof ─────────────► router      router → welcome        (or the socket closes)
 *   router → session, assign ───► miner       miner  → ack, frame…, precommit
 *   router → reveal ────────────► miner       miner  → commit
 *   router → ended ─────────────► miner       (once the end of a task is recorded)
 */
import type { ModelFeature } from './features.js';
import type { Address, Cid, Hex, SessionId, TaskId } from './ids.js';
import type { Frame, SealingLevel } from './sealing.js';
import type { Commitment, Precommitment, TaskOutcome } from './task.js';

export const MINER_PATH = '/miner';
/** Longest message either side accepts. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
export const HEARTBEAT_MS = 1_000;
/** A miner that is silent for longer is disconnected, and its tasks go to another. */
export const SILENCE_MS = 5_000;

/** A task as a miner gets it. */
export interface AssignedTask {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  /** `InferenceRequest` as JSON: sealed in one frame (seq 0, last) of the client's direction. `null` when
   * a router takes a task over: it has the request at rest only. */
  readonly request: Frame | null;
  /** Base64 of the block at `requestCid`, present when `request` is `null`: an age file that the
   * keyring's identity opens, or plain JSON at level `open`. */
  readonly atRest?: string;
  readonly seed: number;
  /** The primary streams its frames; the others only commit. */
  readonly isPrimary: boolean;
  /** Milliseconds from receipt in which the precommitment must arrive. */
  readonly deadlineMs: number;
}

/** What a miner must know of a session before its first task. */
export interface SessionGrant {
  readonly sessionId: SessionId;
  readonly level: SealingLevel;
  /** age file with the `Keyring`, base64; `null` at level `open`. */
  readonly keyring: string | null;
}

export type MinerMessage =
  | {
      readonly type: 'hello';
      readonly address: Address;
      readonly models: readonly string[];
      /** Of each model, what it can do beyond text; nothing where it is not named. */
      readonly features?: Readonly<Record<string, readonly ModelFeature[]>> | undefined;
      readonly capacity: number;
    }
  | { readonly type: 'proof'; readonly signature: Hex }
  | { readonly type: 'heartbeat'; readonly load: number }
  | { readonly type: 'ack'; readonly taskId: TaskId }
  | { readonly type: 'frame'; readonly taskId: TaskId; readonly frame: Frame }
  | { readonly type: 'precommit'; readonly taskId: TaskId; readonly precommitment: Precommitment }
  | {
      readonly type: 'commit';
      readonly taskId: TaskId;
      readonly commitment: Commitment;
      /** The block at `commitment.resultCid`, base64. */
      readonly result: string;
    }
  | { readonly type: 'fail'; readonly taskId: TaskId; readonly code: string };

export type RouterMessage =
  | {
      readonly type: 'challenge';
      readonly router: string;
      readonly nonce: Hex;
      /** Unix seconds. */
      readonly expiresAt: number;
    }
  | { readonly type: 'welcome'; readonly heartbeatMs: number }
  | { readonly type: 'refused'; readonly code: string }
  | { readonly type: 'session'; readonly grant: SessionGrant }
  | { readonly type: 'assign'; readonly task: AssignedTask }
  | { readonly type: 'reveal'; readonly taskId: TaskId }
  | { readonly type: 'cancel'; readonly taskId: TaskId }
  | EndedMessage;

/** How a task ended that the miner had committed to: with it, the miner can claim its pay itself. */
export interface EndedMessage {
  readonly type: 'ended';
  readonly taskId: TaskId;
  readonly outcome: TaskOutcome;
  /** Number of the task in its session, from 0. */
  readonly ordinal: number;
  readonly evidenceCid: Cid | null;
}

/** Body of `POST /api/v1/sessions/:id/tasks` at client-sealed levels. */
export interface SealedTaskRequest {
  readonly idempotencyKey: string;
  readonly model: string;
  readonly maxPromptTokens: number;
  readonly maxTokens: number;
  /** What its miners must support beyond text (domain/features.ts); the router cannot look. */
  readonly features?: readonly ModelFeature[];
  /** For the miners, under the channel key. */
  readonly request: Frame;
  /** For rest: an age file to the session's recipient, base64. */
  readonly sealedRequest: string;
}

/** Events of a task's stream, as the router sends them over SSE to an SDK client. */
export type TaskStreamEvent =
  | { readonly type: 'accepted'; readonly taskId: TaskId; readonly primary: Address }
  | { readonly type: 'frame'; readonly author: Address; readonly frame: Frame }
  | {
      readonly type: 'ended';
      readonly taskId: TaskId;
      readonly outcome: string;
      /** Code of what kept the miners from an answer; absent where there is one, or nothing did. */
      readonly failure?: string;
      /** Miner whose answer is the agreed one; `null` without agreement. */
      readonly agreed: Address | null;
      /** Of the agreed commitment: the client compares what it has opened with it. */
      readonly resultHash?: Hex;
      /** Result of the agreed miner, when it is not the one that was streamed. */
      readonly resultCid: Cid | null;
      readonly resultCids: readonly Cid[];
      readonly requestCid: Cid;
      /** Code of what keeps the answer from the session's host; absent while nothing does. */
      readonly hostCode?: string;
    }
  | { readonly type: 'error'; readonly code: string; readonly message: string };
