/**
 * Vectors of texts, at every level: the router seals where it may read, else the client does, and
 * opens and checks what comes back.
 */
import { taskIdOf } from '../adapters/seal/task-id.js';
import type { Channel } from '../adapters/seal/channel.js';
import { fitsRequest, parseEmbeddingRequest, vectorsOf } from '../domain/embedding.js';
import { EngineError } from '../domain/errors.js';
import type { Cid, SessionId, TaskId } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import type { Keyring } from '../domain/sealing.js';
import type { EmbeddingRequest, TokenUsage } from '../domain/task.js';
import type { Answer } from './answer.js';
import { readResultCids } from './ask-plain.js';
import { askSealed } from './ask-sealed.js';
import type { RouterHttp } from './http.js';
import { withRetries } from './retry.js';

export interface EmbedOptions {
  /** The same key is the same task, also after a crash: it runs once and is billed once.
   * @defaultValue a random one */
  readonly idempotencyKey?: string;
  /** Length of the vectors, where the model can be asked for one.
   * @defaultValue the model's own */
  readonly dimensions?: number;
  /** Stops listening; the task itself goes on. */
  readonly signal?: AbortSignal;
}

/** What a majority of the asked miners agreed on. */
export interface Embeddings {
  /** Unit vectors, one a text, in their order. */
  readonly vectors: readonly Float32Array[];
  readonly taskId: TaskId;
  readonly requestCid: Cid;
  /** Of every miner that committed. */
  readonly resultCids: readonly Cid[];
  readonly usage: TokenUsage;
}

export interface EmbedAsk {
  readonly http: RouterHttp;
  readonly sessionId: SessionId;
  readonly model: string;
  readonly input: readonly string[];
  /** `null` where the router seals. */
  readonly sealed: { readonly keyring: Keyring; readonly channel: Channel } | null;
}

/** Puts a request and waits for its end.
 * @throws PROMPT_INVALID — before anything is sent.
 * @throws NO_QUORUM — the miners do not agree; nothing is charged.
 * @throws MINER_PROTOCOL — what was agreed on are no vectors of these texts.
 * @throws EngineError — the router's, or of a task that did not end well; else as `askSealed`. */
export async function embed(ask: EmbedAsk, options: EmbedOptions): Promise<Embeddings> {
  const { http, model, input, sealed } = ask;
  const { idempotencyKey = crypto.randomUUID(), dimensions, signal } = options;
  const length = dimensions === undefined ? {} : { dimensions };
  const request = parseEmbeddingRequest({ model, input, ...length });
  const common = { http, request, idempotencyKey, signal };
  const answer =
    sealed === null
      ? await embedPlain({ ...common, sessionId: ask.sessionId })
      : await askSealed({ ...common, ...sealed }, () => undefined);
  const { text, verdictAgreed, taskId, requestCid, resultCids, usage } = answer;
  if (!verdictAgreed) throw new EngineError('NO_QUORUM', { taskId });
  const given = { text, finishReason: 'embedding' } as const;
  if (!fitsRequest(given, request)) {
    throw new EngineError('MINER_PROTOCOL', { taskId, expected: 'vectors of the asked texts' });
  }
  return { vectors: vectorsOf(given) ?? [], taskId, requestCid, resultCids, usage };
}

interface EmbeddingList {
  readonly data: readonly { readonly embedding: string }[];
}

/** At level `open` or `link`, as any OpenAI client asks; CIDs come from the task's record. */
async function embedPlain(ask: {
  readonly http: RouterHttp;
  readonly sessionId: SessionId;
  readonly request: EmbeddingRequest;
  readonly idempotencyKey: string;
  readonly signal: AbortSignal | undefined;
}): Promise<Omit<Answer, 'outcome' | 'toolCalls' | 'finishReason'>> {
  const { http, sessionId, idempotencyKey, signal } = ask;
  const { model, input, dimensions } = ask.request;
  const call = {
    method: 'POST',
    body: { model, input, dimensions, encoding_format: 'base64' },
    headers: { 'x-cortensor-session': sessionId, 'idempotency-key': idempotencyKey },
    signal,
  } as const;
  const list = await withRetries(() => http.json<EmbeddingList>('/v1/embeddings', call), signal);
  const taskId = await taskIdOf(sessionId, idempotencyKey);
  const { requestCid, evidenceCid, usage } = await withRetries(
    () => http.json<TaskRecord>(`/api/v1/sessions/${sessionId}/tasks/${taskId}`, { signal }),
    signal,
  );
  return {
    text: JSON.stringify(list.data.map(({ embedding }) => embedding)),
    taskId,
    verdictAgreed: true,
    requestCid,
    resultCids: evidenceCid === null ? [] : await readResultCids(ask, evidenceCid),
    usage: usage ?? { promptTokens: 0, completionTokens: 0 },
  };
}
