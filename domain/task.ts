/** The task: one inference request, from acceptance to its named end. */
import type { ErrorCode } from './errors.js';
import type { Address, Cid, Hex, SessionId, TaskId } from './ids.js';
import type { WeiString } from './money.js';
import type { Verdict } from './verdict.js';

export const TASK_STATES = [
  'Queued',
  'Assigned',
  'Acked',
  'Precommitted',
  'Committed',
  'Ended',
] as const;
export type TaskState = (typeof TASK_STATES)[number];

/** How a task ended; every value but `completed` gives the whole reservation back. */
export const TASK_OUTCOMES = [
  'completed',
  'no-quorum',
  'expired',
  'refused',
  'cancelled',
  'failed',
  'disputed',
] as const;
export type TaskOutcome = (typeof TASK_OUTCOMES)[number];

export interface ChatMessage {
  /** `tool`: what a called tool gave back. */
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string;
  /** Calls that an assistant's message made, in their order. */
  readonly toolCalls?: readonly ToolCall[];
  /** Of a tool's message: the call that it answers. */
  readonly toolCallId?: string;
}

/** A call of a tool, as an answer makes it. Its id is given at the edge (`toolCallId`), so that equal
 * answers are equal. */
export interface CalledTool {
  readonly name: string;
  /** JSON as the model wrote it, which may be none. */
  readonly arguments: string;
}

/** A call of a tool, as a conversation tells of it. */
export interface ToolCall extends CalledTool {
  readonly id: string;
}

/** A tool that an answer may call. */
export interface Tool {
  readonly name: string;
  readonly description?: string;
  /** JSON schema of its arguments, an object's. */
  readonly parameters?: JsonSchema;
  /** The arguments must be of the schema. */
  readonly strict?: boolean;
}

/** A JSON schema, as its author wrote it: bounded, but not understood. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** What form an answer must have. */
export type ResponseFormat =
  | { readonly type: 'json-object' }
  | {
      readonly type: 'json-schema';
      readonly name: string;
      readonly schema: JsonSchema;
      readonly strict?: boolean;
    };

/** Whether an answer calls tools: as the model sees fit, not at all, at least one, or the named one. */
export type ToolChoice = 'auto' | 'none' | 'required' | { readonly name: string };

/** A request in plain form: what a miner runs. Sealed, it travels as `Frame` and rests as age file. */
export interface ChatRequest {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  /** 1–4,096. */
  readonly maxTokens: number;
  /** 0–2; the engine fixes the sampling seed of a task, so that honest miners can be compared. */
  readonly temperature: number;
  readonly topP: number;
  /** The answer ends before the first of these; 1–4 texts of 1–64 characters. */
  readonly stop?: readonly string[];
  readonly tools?: readonly Tool[];
  /** Absent is `auto`, where there are tools. */
  readonly toolChoice?: ToolChoice;
  /** False: at most one call an answer. */
  readonly parallelToolCalls?: false;
  /** Absent is text of any form. */
  readonly responseFormat?: ResponseFormat;
}

/** A request for vectors of texts, in plain form. It travels, is judged and paid as a chat is. */
export interface EmbeddingRequest {
  readonly kind: 'embedding';
  readonly model: string;
  /** 1–256 texts. */
  readonly input: readonly string[];
  /** Length of the vectors, where the model can be asked for one; absent: the model's own. */
  readonly dimensions?: number;
}

/** Whatever a task asks a miner for. */
export type InferenceRequest = ChatRequest | EmbeddingRequest;

export interface TokenUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** A result in plain form. Its canonical JSON is what `resultHash` covers. */
export interface ChatResult {
  readonly model: string;
  readonly text: string;
  /** `embedding`: the text is vectors (domain/embedding.ts). */
  readonly finishReason: 'stop' | 'length' | 'tool-calls' | 'embedding';
  readonly usage: TokenUsage;
  /** Absent where none was called; there where `finishReason` is `tool-calls`. */
  readonly toolCalls?: readonly CalledTool[];
}

/** An answer without what it cost. */
export type AnswerBody = Pick<ChatResult, 'text' | 'finishReason' | 'toolCalls'>;

/** What is inside a frame of a stream, in plain form. */
export type StreamEvent =
  | { readonly type: 'delta'; readonly text: string }
  | ToolCallEvent
  | {
      readonly type: 'end';
      readonly finishReason: ChatResult['finishReason'];
      readonly usage: TokenUsage;
    };

/** A piece of a tool's call. Calls begin in their order; pieces of one add up. */
export interface ToolCallEvent {
  readonly type: 'tool-call';
  /** Which call, from 0. */
  readonly index: number;
  /** There in a call's first piece, and only there. */
  readonly name?: string;
  readonly arguments: string;
}

/** Signed before any result is revealed (EIP-712 `Precommit`). */
export interface Precommitment {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  readonly miner: Address;
  /** keccak256(abi.encode(sessionId, taskId, miner, resultHash, resultDigest, salt)). */
  readonly precommitment: Hex;
  readonly signature: Hex;
}

/** The reveal (EIP-712 `Commit`); it must hash to the precommitment. */
export interface Commitment {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  readonly miner: Address;
  /**
   * Over the canonical JSON of {text, finishReason}, and of toolCalls where there are some: HMAC-SHA256
   * under the channel key where the session has one (equality shows, content does not), SHA-256 at
   * level `open`.
   */
  readonly resultHash: Hex;
  /** sha2-256 of the block at `resultCid`, the form the chain stores. */
  readonly resultDigest: Hex;
  readonly resultCid: Cid;
  readonly usage: TokenUsage;
  readonly salt: Hex;
  readonly signature: Hex;
}

/** What a router hands to the session's workflow when it accepts a request. */
export interface TaskSubmission {
  readonly taskId: TaskId;
  /** The request at rest. */
  readonly requestCid: Cid;
  readonly model: string;
  /** Upper bound that the price is reserved for. */
  readonly maxPromptTokens: number;
  readonly maxTokens: number;
  readonly seed: number;
}

/** What a router hands to the session's workflow when a task has ended. */
export interface TaskCompletion {
  readonly taskId: TaskId;
  readonly outcome: TaskOutcome;
  /** Evidence bundle on IPFS; absent when no miner had committed. */
  readonly evidenceCid?: Cid;
  /** The agreed answer at rest; absent unless `completed`. */
  readonly resultCid?: Cid;
  /** Miners that are paid, in order of their addresses; empty unless `completed`. */
  readonly paidMiners: readonly Address[];
  /** Usage that is billed, of the agreed answer. */
  readonly usage: TokenUsage;
  /** What kept the miners from an answer; absent where there is one, or nothing did. */
  readonly failure?: ErrorCode;
}

/** The record of a finished task that settlement and export work on. */
export interface SettledTask {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  /** Number of the task in its session, from 0: its bit in the chain's bitmap. */
  readonly ordinal: number;
  readonly outcome: TaskOutcome;
  readonly requestCid: Cid;
  readonly evidenceCid?: Cid;
  /** The agreed answer at rest. */
  readonly resultCid?: Cid;
  /** Charged to the session: payments and fee. */
  readonly chargeWei: WeiString;
  readonly feeWei: WeiString;
  readonly payments: readonly { readonly miner: Address; readonly amountWei: WeiString }[];
}

/** Everything needed to judge a task again, as one JSON document on IPFS. */
export interface TaskEvidence {
  readonly version: 1;
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  readonly model: string;
  readonly seed: number;
  readonly requestCid: Cid;
  /** Keyring of the session; absent at level `open`. */
  readonly keyringCid?: Cid;
  readonly primary: Address;
  readonly precommitments: readonly Precommitment[];
  readonly commitments: readonly Commitment[];
  /** As the router measured them; nobody judges by these. Absent in evidence of older routers. */
  readonly times?: readonly AnswerTimes[];
  readonly verdict: Verdict;
}

/** How long a miner took, in milliseconds from its assignment. */
export interface AnswerTimes {
  readonly miner: Address;
  /** To its precommitment, when the answer was whole. */
  readonly answeredMs: number;
  /** To the reveal. */
  readonly committedMs: number;
}
