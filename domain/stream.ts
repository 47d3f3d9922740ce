/**
 * The clients' protocol: JSON text messages over one WebSocket, for many requests at once.
 *
 *   client → auth ────────────────► router     (only where the upgrade had no Authorization header)
 *   router → ready ───────────────► client
 *   client → ask, resume ─────────► router     router → accepted, delta… or event…, ended
 *   client → credit, cancel, ping ► router     router → error, pong, draining
 *
 * A request is named by its client, on its socket alone, and has exactly one last message: `ended`,
 * or an `error` that says so. `index` is what `id` is in server-sent events, so that a stream may go
 * on over either: it grows, and is never counted with.
 */
import type { ErrorBody } from './api.js';
import type { SessionId, TaskId } from './ids.js';
import type { Citation } from './source.js';
import type { TaskOutcome, TokenUsage } from './task.js';
import type { SealedTaskRequest, TaskStreamEvent } from './wire.js';

export const STREAM_PATH = '/api/v1/stream';
/** `Sec-WebSocket-Protocol` of this version: a client has to offer it. */
export const STREAM_PROTOCOL = 'cortensor.v1';

/** What a router takes of one socket. */
export const STREAM_LIMITS = {
  /** Requests under way at once. */
  requests: 64,
  /** Characters of a request's id. */
  idChars: 64,
  /** Messages that one `credit` may grant. */
  credit: 1_000_000,
  /** Milliseconds to `auth`, from the upgrade. */
  authMs: 10_000,
  /** Milliseconds that a request may be without credit. */
  stalledMs: 120_000,
  /** Messages that are not understood, before the socket is closed. */
  faults: 32,
} as const;

/** Codes that a router closes with, beside those that RFC 6455 has for broken frames. */
export const STREAM_CLOSES = {
  /** 1001: the router is being stopped. Connect again, here or elsewhere. */
  goingAway: 1001,
  /** 1003: a binary message. */
  notText: 1003,
  /** 1008: no valid key in time, too many messages that are not understood, or silence. */
  policy: 1008,
} as const;

interface FlowFields {
  /** 1–64 letters, digits, `_`, `-`, `.` or `:`, not in use on this socket. */
  readonly id: string;
  readonly session: SessionId;
  /** Index of the last message that is there already, as `Last-Event-ID`: what follows is wanted. A
   * sealed stream that another router serves starts over with an `accepted` event. */
  readonly after?: number;
  /** Messages with an index that may be sent before the client grants more. Without it, only the
   * socket's own back-pressure holds them up. */
  readonly credit?: number;
}

export type ClientMessage =
  | {
      readonly type: 'auth';
      /** API key, or the token of a wallet that has signed in. */
      readonly token: string;
    }
  | (FlowFields & {
      readonly type: 'ask';
      /** At levels `open` and `link`: the router seals, and answers in text. */
      readonly kind: 'chat';
      /** Asked again with the same key, it is the same task. @defaultValue a random one */
      readonly idempotencyKey?: string;
      /** As of `POST /v1/chat/completions`; always streamed, with usage. */
      readonly body: Readonly<Record<string, unknown>>;
    })
  | (FlowFields & {
      readonly type: 'ask';
      /** Sealed by the client, at any level. */
      readonly kind: 'sealed';
      readonly body: SealedTaskRequest;
    })
  | (FlowFields & {
      readonly type: 'resume';
      /** What comes back: text, or the task's events as they are. */
      readonly kind: 'chat' | 'sealed';
      readonly taskId: TaskId;
    })
  | {
      /** Ends a request: its task too, free, where the answer has not begun. */
      readonly type: 'cancel';
      readonly id: string;
      /** True: the task goes on in any case, without a reader. @defaultValue false */
      readonly keepTask?: boolean;
    }
  | { readonly type: 'credit'; readonly id: string; readonly more: number }
  | { readonly type: 'ping' };

/** What a chunk of a chat completion adds, in OpenAI's words. */
export interface ChatDelta {
  readonly role?: string;
  readonly content?: string | null;
  readonly [field: string]: unknown;
}

export type ServerMessage =
  | {
      readonly type: 'ready';
      /** The router that holds the socket. */
      readonly router: string;
      readonly maxRequests: number;
      readonly maxMessageBytes: number;
      /** The router pings so often. */
      readonly heartbeatMs: number;
    }
  | { readonly type: 'accepted'; readonly id: string; readonly taskId: TaskId }
  | {
      readonly type: 'delta';
      readonly id: string;
      readonly index: number;
      readonly delta: ChatDelta;
    }
  | {
      readonly type: 'event';
      readonly id: string;
      readonly index: number;
      readonly event: Exclude<TaskStreamEvent, { type: 'ended' | 'error' }>;
    }
  | {
      /** The last event of a chat: the task is recorded, and the answer is the agreed one. */
      readonly type: 'ended';
      readonly kind: 'chat';
      readonly id: string;
      readonly index: number;
      readonly taskId: TaskId;
      readonly outcome: TaskOutcome;
      /** In OpenAI's words. */
      readonly finishReason: string;
      /** Billed. */
      readonly usage: TokenUsage;
      /** Of a request with a context: where its passages are from. */
      readonly citations?: readonly Citation[];
    }
  | {
      /** The last event of a sealed stream: the task is recorded. */
      readonly type: 'ended';
      readonly kind: 'sealed';
      readonly id: string;
      readonly index: number;
      readonly event: Extract<TaskStreamEvent, { type: 'ended' }>;
    }
  | {
      readonly type: 'error';
      /** Of the request that it is about; `null` where none can be told. */
      readonly id: string | null;
      /** True: this was the request's last message. False: a message was refused, and changed nothing. */
      readonly ends: boolean;
      readonly error: ErrorBody['error'];
      /** When to ask again, of errors that pass. */
      readonly retryAfterMs?: number;
    }
  | { readonly type: 'pong' }
  | {
      /** The router is being stopped: what is under way ends here, new requests belong elsewhere. */
      readonly type: 'draining';
    };
