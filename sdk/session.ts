/** A session in its owner's hands. */
import type { Channel } from '../adapters/seal/channel.js';
import { openChannel } from '../adapters/seal/channel.js';
import { toBase64 } from '../adapters/seal/bytes.js';
import { wrapKeyring } from '../adapters/seal/keyring.js';
import type {
  DelegateRequest,
  Delegation,
  TaskDetail,
  TaskProof,
  ValidateRequest,
  Validation,
} from '../domain/api.js';
import { parseChatRequest } from '../domain/chat.js';
import type { ErasureView } from '../domain/erasure.js';
import { EngineError, isErrorCode } from '../domain/errors.js';
import type { ExportOrder, ExportView } from '../domain/export.js';
import type { SessionId, TaskId } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import type { Keyring } from '../domain/sealing.js';
import { SESSION_STATES, type SessionState, type SessionView } from '../domain/session.js';
import type { ChatRequest } from '../domain/task.js';
import { streamAnswer, type Answer, type AnswerStream } from './answer.js';
import { askPlain } from './ask-plain.js';
import { askSealed } from './ask-sealed.js';
import { embed, type EmbedOptions, type Embeddings } from './embed.js';
import {
  changePolicy,
  deposit,
  withdraw,
  type DepositOptions,
  type PolicyOptions,
  type WithdrawOptions,
} from './changes.js';
import type { RouterHttp } from './http.js';
import { withPassages, type OwnContext, type SourceContext } from './passages.js';
import { readRecorded } from './recorded.js';
import { pause } from './retry.js';
import type { RouterSocket } from './socket.js';

const DEFAULT_MAX_TOKENS = 512;
const WAIT_MS = 120_000;
/** The router answers earlier; this keeps one that does not from being asked without a pause. */
const POLL_MS = 250;

/** All that is needed to go on with a session in another process. Secret only to whoever has the
 * user's age identity. */
export interface ExportedSession {
  readonly version: 1;
  readonly sessionId: SessionId;
  /** age file to the user's own recipient, base64; `null` where the router seals. */
  readonly keyring: string | null;
}

export interface AskOptions {
  /** The same key is the same task, also after a crash: it runs once and is billed once.
   * @defaultValue a random one */
  readonly idempotencyKey?: string;
  /** Stops listening; the task itself goes on. */
  readonly signal?: AbortSignal;
  /** Asked over, in place of a connection of its own: `CortensorClient.socket`. */
  readonly socket?: RouterSocket;
  /** What the answer is to rely on; `Answer.citations` says where that is from. */
  readonly context?: SourceContext | OwnContext;
}

export interface SessionParts {
  readonly http: RouterHttp;
  readonly view: SessionView;
  /** `null` where the router seals. */
  readonly keyring: Keyring | null;
  /** The user's age recipient. */
  readonly recipient: string | null;
}

export class SessionHandle {
  readonly id: SessionId;
  readonly #parts: SessionParts;
  readonly #channel: Promise<Channel> | null;

  /** Made by `CortensorClient`. */
  constructor(parts: SessionParts) {
    this.id = parts.view.sessionId;
    this.#parts = parts;
    this.#channel = parts.keyring === null ? null : openChannel(parts.keyring);
  }

  /** The session as it stands. */
  view(options: { readonly signal?: AbortSignal } = {}): Promise<SessionView> {
    return readView(this.#parts.http, this.id, options.signal);
  }

  /** Waits until the session has reached a state, or gone past it.
   * @throws SESSION_NOT_OPEN — it failed; or the code of its failure.
   * @throws ROUTER_UNREACHABLE — not within `timeoutMs`, two minutes where not given. */
  waitUntil(
    state: SessionState,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<SessionView> {
    return awaitState(this.#parts.http, this.id, state, options);
  }

  /** Adds to the session's deposit. The answer may come before the chain has it: then the deposit
   * goes on by itself, and `view` has it soon.
   * @throws AMOUNT_INVALID — before anything is signed.
   * @throws SESSION_NOT_OPEN, SIGNATURE_INVALID — nothing was begun.
   * @throws TRANSACTION_REVERTED — the contract refuses it, for want of tokens for one. */
  deposit(options: DepositOptions): Promise<SessionView> {
    return deposit(this.#parts.http, this.id, options);
  }

  /** Lets the session know of deposits that were made on chain by themselves. */
  syncDeposit(): Promise<SessionView> {
    return this.#post('deposits/sync');
  }

  /** Takes back what is free, `view().budget.freeWei` at most, while the session goes on.
   * @throws AMOUNT_INVALID — before anything is signed.
   * @throws BUDGET_EXHAUSTED — less is free.
   * @throws SESSION_NOT_OPEN, SIGNATURE_INVALID — nothing was begun. */
  withdraw(options: WithdrawOptions): Promise<SessionView> {
    return withdraw(this.#parts.http, this.id, options);
  }

  /** Changes the session's policy once the tasks under way have ended; until then new ones are
   * answered with SESSION_BUSY.
   * @throws POLICY_INVALID — a field beyond its limits, or one that cannot change.
   * @throws SESSION_NOT_OPEN, SESSION_BUSY, SIGNATURE_INVALID — nothing was begun. */
  async changePolicy(options: PolicyOptions): Promise<SessionView> {
    const { http } = this.#parts;
    return changePolicy(http, await readView(http, this.id, options.signal), options);
  }

  /** Asks the session to close: open tasks end first, what is left is refunded. */
  close(): Promise<SessionView> {
    return this.#post('close');
  }

  /** Closes the session, and ends tasks whose answer has not begun as `cancelled`, free. Those that
   * have begun are finished and billed. */
  cancel(): Promise<SessionView> {
    return this.#post('cancel');
  }

  /** Has all that is left of a closed session taken away for good, its keys first.
   * @returns how far that is; asked again, it goes on.
   * @throws ERASURE_REFUSED — the session is not closed, or at level `open`. */
  erase(): Promise<ErasureView> {
    return this.#post('erasure');
  }

  /** How far the erasure is. @throws ERASURE_NOT_FOUND — nobody has asked for it. */
  erasure(): Promise<ErasureView> {
    return this.#parts.http.json(`/api/v1/sessions/${this.id}/erasure`);
  }

  /** Ends a task as `cancelled`, free, unless its answer has begun. One that has ended answers with
   * its record.
   * @throws TASK_UNDER_WAY — the answer has begun: it is finished and billed.
   * @throws TASK_NOT_FOUND */
  cancelTask(taskId: TaskId): Promise<TaskRecord> {
    return this.#post(`tasks/${taskId}/cancel`);
  }

  /** Records of the session's tasks, in their order.
   * @param range - `from`: the first ordinal; `limit`: at most so many, 1–1,000. */
  tasks(range: { readonly from?: number; readonly limit?: number } = {}): Promise<TaskRecord[]> {
    const query = new URLSearchParams(
      Object.entries(range).map(([key, value]) => [key, String(value)]),
    );
    return this.#parts.http.json(`/api/v1/sessions/${this.id}/tasks?${query.toString()}`);
  }

  /** Shows a task with its verdict and every miner's output.
   * @param include - `outputs`: in plain too, where the router may read them.
   * @throws TASK_NOT_FOUND */
  task(taskId: TaskId, include: 'evidence' | 'outputs' = 'evidence'): Promise<TaskDetail> {
    return this.#parts.http.json(`/api/v1/sessions/${this.id}/tasks/${taskId}?include=${include}`);
  }

  /** Hands a job over that runs without a connection; it is durable when this resolves.
   * @throws SESSION_SEALED — the router cannot seal it: ask with a key of your own, and come back.
   * @throws REQUEST_INVALID — the session does not promise a constraint. */
  delegate(
    job: Omit<DelegateRequest, 'sessionId'>,
    { idempotencyKey = crypto.randomUUID(), signal }: AskOptions = {},
  ): Promise<Delegation> {
    return this.#parts.http.json('/api/v1/delegate', {
      method: 'POST',
      body: { ...job, sessionId: this.id },
      headers: { 'idempotency-key': idempotencyKey },
      signal,
    });
  }

  /** Has the network judge one of the session's tasks, or a claimed answer. A claim is put to miners
   * again, once a key, and that is billed as a task.
   * @throws TASK_NOT_FOUND
   * @throws SESSION_SEALED — only the session's own client can read what the claim is about. */
  validate(
    claim: Omit<ValidateRequest, 'sessionId'>,
    { idempotencyKey = crypto.randomUUID(), signal }: AskOptions = {},
  ): Promise<Validation> {
    return this.#parts.http.json('/api/v1/validate', {
      method: 'POST',
      body: { ...claim, sessionId: this.id },
      headers: { 'idempotency-key': idempotencyKey },
      signal,
    });
  }

  /** Reads the proof that a task is in a batch which the chain has settled. What the router says is
   * not believed, but verified by `SessionPayment.verifyTask(batchId, leaf, proof)`.
   * @throws TASK_NOT_FOUND, TASK_NOT_SETTLED */
  proof(taskId: TaskId): Promise<TaskProof> {
    return this.#parts.http.json(`/api/v1/sessions/${this.id}/tasks/${taskId}/proof`);
  }

  /** Reads the agreed answer of a task that has ended, by its record.
   * @throws SEAL_NOT_RECIPIENT — the router seals this session, and this client has no key of it.
   * @throws TASK_NOT_FOUND, CONTENT_MISMATCH, SEAL_BROKEN */
  async answer(record: TaskRecord): Promise<Answer> {
    const { http, keyring } = this.#parts;
    if (keyring === null || this.#channel === null) {
      throw new EngineError('SEAL_NOT_RECIPIENT', { sessionId: this.id });
    }
    return await readRecorded(http, record, { keyring, channel: await this.#channel });
  }

  /** Asks the session's miners; starts at once.
   * @param prompt - text of one user message, or a request with the fields that matter: tools, the form
   *   of the answer and stop words among them, at every level.
   * @throws PROMPT_INVALID — by the stream, before anything is sent: a field that no request may have.
   * @throws FEATURE_UNSUPPORTED — by the stream: the session's miners cannot do what is asked for.
   * @throws CONTEXT_SEALED — by the stream, before anything is sent: sources of the router for a session
   *   whose questions it may not read. */
  ask(
    prompt: string | (Pick<ChatRequest, 'messages'> & Partial<ChatRequest>),
    options: AskOptions = {},
  ): AnswerStream {
    const { keyring, view } = this.#parts;
    const { idempotencyKey = crypto.randomUUID(), signal } = options;
    const http = options.socket ?? this.#parts.http;
    const { context } = options;
    const put = async (
      request: ChatRequest,
      ofRouter: SourceContext | undefined,
      emit: (delta: string) => void,
    ): Promise<Answer> => {
      const common = { http, request, idempotencyKey, signal };
      if (keyring === null || this.#channel === null) {
        return askPlain({ ...common, context: ofRouter, sessionId: this.id }, emit);
      }
      if (ofRouter !== undefined) throw new EngineError('CONTEXT_SEALED');
      return askSealed({ ...common, keyring, channel: await this.#channel }, emit);
    };
    return streamAnswer(async (emit) => {
      const request = toRequest(prompt, view.policy.model);
      if (context === undefined || !('retrieve' in context)) return put(request, context, emit);
      const grounded = await withPassages(request, context, idempotencyKey);
      return { ...(await put(grounded.request, undefined, emit)), citations: grounded.citations };
    });
  }

  /** Has the session's miners give vectors of texts; the session's model is one that embeds.
   * @throws PROMPT_INVALID — before anything is sent.
   * @throws MODEL_UNFIT — the session's model chats.
   * @throws NO_QUORUM — the miners do not agree; nothing is charged. */
  async embed(input: string | readonly string[], options: EmbedOptions = {}): Promise<Embeddings> {
    const { http, keyring, view } = this.#parts;
    const channel = await this.#channel;
    const ask = {
      http,
      sessionId: this.id,
      model: view.policy.model,
      input: typeof input === 'string' ? [input] : input,
      sealed: keyring === null || channel === null ? null : { keyring, channel },
    };
    return embed(ask, options);
  }

  /** Starts an export to a sink of the session's policy; one that runs goes on instead.
   * @param options.follow - goes on until the session has ended.
   * @throws REQUEST_INVALID — the policy does not name the sink. */
  exportTo(sink: string, options: { readonly follow?: boolean } = {}): Promise<ExportView> {
    const { follow = false } = options;
    const call = { method: 'POST', body: { follow } } as const;
    return this.#parts.http.json(`/api/v1/sessions/${this.id}/exports/${sink}`, call);
  }

  /** How far the export to a sink is. @throws EXPORT_NOT_FOUND — there was none. */
  exportView(sink: string): Promise<ExportView> {
    return this.#parts.http.json(`/api/v1/sessions/${this.id}/exports/${sink}`);
  }

  /** Gives an order to an export. `verify` and `remove` also go to one that has ended; their answer is
   * in the view when it is there within seconds, else in a later one.
   * @throws EXPORT_NOT_FOUND — none runs. */
  orderExport(sink: string, order: ExportOrder): Promise<ExportView> {
    const call = { method: 'POST', body: { order } } as const;
    return this.#parts.http.json(`/api/v1/sessions/${this.id}/exports/${sink}/orders`, call);
  }

  /** Packs up what another process needs, for `CortensorClient.importSession`.
   * @throws USAGE — the session is sealed, and the client has no age identity to seal it to. */
  async export(): Promise<ExportedSession> {
    const { keyring, recipient } = this.#parts;
    if (keyring === null) return { version: 1, sessionId: this.id, keyring: null };
    return await exportKeyring(keyring, recipient);
  }

  #post<T>(path: string): Promise<T> {
    return this.#parts.http.json(`/api/v1/sessions/${this.id}/${path}`, { method: 'POST' });
  }
}

/** Seals a session's keys to their owner.
 * @throws USAGE — there is no age identity to seal them to. */
export async function exportKeyring(
  keyring: Keyring,
  recipient: string | null,
): Promise<ExportedSession> {
  if (recipient === null) {
    throw new EngineError('USAGE', { expected: 'an age identity in the client' });
  }
  const file = await wrapKeyring(keyring, [recipient]);
  return { version: 1, sessionId: keyring.sessionId, keyring: toBase64(file) };
}

/** Reads a session's state. */
export function readView(
  http: RouterHttp,
  sessionId: SessionId,
  signal?: AbortSignal,
): Promise<SessionView> {
  return http.json(`/api/v1/sessions/${sessionId}`, { signal });
}

/** As `SessionHandle.waitUntil`. */
export async function awaitState(
  http: RouterHttp,
  sessionId: SessionId,
  state: SessionState,
  options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<SessionView> {
  const { timeoutMs = WAIT_MS, signal } = options;
  const deadline = Date.now() + timeoutMs;
  const wanted = SESSION_STATES.indexOf(state);
  for (;;) {
    const view = await http.json<SessionView>(
      `/api/v1/sessions/${sessionId}?until=${state}&waitMs=${Math.max(1, deadline - Date.now())}`,
      { signal },
    );
    if (view.state === 'Failed' && state !== 'Failed') {
      const code = isErrorCode(view.failure) ? view.failure : 'SESSION_NOT_OPEN';
      throw new EngineError(code, { sessionId, state: view.state });
    }
    if (SESSION_STATES.indexOf(view.state) >= wanted) return view;
    if (Date.now() >= deadline) {
      throw new EngineError('ROUTER_UNREACHABLE', {
        sessionId,
        state: view.state,
        expected: state,
      });
    }
    await pause(POLL_MS, signal);
  }
}

function toRequest(
  prompt: string | (Pick<ChatRequest, 'messages'> & Partial<ChatRequest>),
  model: string,
): ChatRequest {
  const asked =
    typeof prompt === 'string'
      ? { messages: [{ role: 'user', content: prompt }] as const }
      : prompt;
  const defaults = { model, maxTokens: DEFAULT_MAX_TOKENS, temperature: 0, topP: 1 };
  return parseChatRequest({ ...defaults, ...asked });
}
