/**
 * A request at a client-sealed level: sealed here, opened here, and checked here. The router in
 * between sees ciphertext and numbers.
 */
import { openAtRest, sealAtRest } from '../adapters/seal/at-rest.js';
import { toBase64, toUtf8 } from '../adapters/seal/bytes.js';
import type { Channel, FrameOpener } from '../adapters/seal/channel.js';
import { recipientOf } from '../adapters/seal/identity.js';
import { taskIdOf } from '../adapters/seal/task-id.js';
import { AnswerParts } from '../domain/answer-parts.js';
import {
  maxPromptTokensOf,
  maxTokensOf,
  parseChatResult,
  parseStreamEvent,
} from '../domain/chat.js';
import { EngineError, findEngineError, isErrorCode, type ErrorCode } from '../domain/errors.js';
import { featuresOf } from '../domain/features.js';
import { sameAddress, type Address, type TaskId } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import { errorOfOutcome } from '../domain/outcome.js';
import type { Frame, Keyring } from '../domain/sealing.js';
import {
  TASK_OUTCOMES,
  type ChatResult,
  type InferenceRequest,
  type TokenUsage,
} from '../domain/task.js';
import type { SealedTaskRequest, TaskStreamEvent } from '../domain/wire.js';
import { GivenText, identified, type Answer } from './answer.js';
import type { RouterHttp } from './http.js';
import { readJson, readPayload } from './payloads.js';
import { withRetries } from './retry.js';

type Ended = Extract<TaskStreamEvent, { type: 'ended' }>;

const NO_USAGE: TokenUsage = { promptTokens: 0, completionTokens: 0 };
/** What can be wrong with one miner's result. */
const RESULT_FAULTS: ReadonlySet<ErrorCode> = new Set([
  'REQUEST_INVALID',
  'SEAL_BROKEN',
  'SEAL_NOT_RECIPIENT',
]);

export interface SealedAsk {
  readonly http: RouterHttp;
  readonly keyring: Keyring;
  readonly channel: Channel;
  readonly request: InferenceRequest;
  readonly idempotencyKey: string;
  readonly signal: AbortSignal | undefined;
}

/** Puts a sealed request and reads its stream.
 * @throws SEAL_BROKEN — frames that are altered, missing or another's, or a result that is not the
 *   one its miner committed to.
 * @throws CONTENT_MISMATCH — a result that is not what its CID says.
 * @throws EngineError — the router's, or of a task that did not end well. */
export async function askSealed(ask: SealedAsk, emit: (delta: string) => void): Promise<Answer> {
  const { http, keyring, request, idempotencyKey, signal } = ask;
  const { sessionId } = keyring;
  const taskId = await taskIdOf(sessionId, idempotencyKey);
  // Sealed once: repeated after a lost connection, it must be the same request byte for byte.
  const body = await seal(ask, taskId);
  const given = new GivenText(emit);
  try {
    return await put(body);
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== 'IDEMPOTENCY_CONFLICT') throw error;
    const sealedRequest = await recorded();
    if (sealedRequest === null) throw error;
    return await put({ ...body, sealedRequest });
  }

  /** The request that has this key already, where it is the same: a process that died had sealed it,
   * with other randomness than ours. */
  async function recorded(): Promise<string | null> {
    const path = `/api/v1/sessions/${sessionId}/tasks/${taskId}`;
    const { requestCid } = await http.json<TaskRecord>(path, { signal });
    const block = await readPayload(http, requestCid, signal);
    const known = await openAtRest(block, keyring.identity);
    return new TextDecoder().decode(known) === JSON.stringify(request) ? toBase64(block) : null;
  }

  async function put(body: SealedTaskRequest): Promise<Answer> {
    return withRetries(() => attempt(body), signal);
  }

  async function attempt(body: SealedTaskRequest): Promise<Answer> {
    // A router that took over counts its events anew, so each attempt reads from the start.
    const reader = new StreamReader(ask.channel, taskId, given);
    let ended: Ended | undefined;
    const options = { method: 'POST', body, signal } as const;
    await http.events(`/api/v1/sessions/${sessionId}/tasks`, options, async (data) => {
      const event = readEvent(data);
      if (event.type === 'error') {
        throw new EngineError(isErrorCode(event.code) ? event.code : 'INTERNAL', { taskId });
      }
      if (event.type === 'ended') ended ??= event;
      else if (event.type === 'accepted') await reader.start(event.primary);
      else await reader.read(event.author, event.frame);
    });
    if (ended === undefined) throw new EngineError('ROUTER_UNREACHABLE', { reason: 'cut short' });
    return conclude(ended, reader, ask, request);
  }

  async function conclude(
    end: Ended,
    reader: StreamReader,
    { channel }: SealedAsk,
    request: InferenceRequest,
  ): Promise<Answer> {
    const outcome = TASK_OUTCOMES.find((known) => known === end.outcome) ?? 'failed';
    if (outcome !== 'completed' && outcome !== 'no-quorum') {
      const { failure } = end;
      const reason = failure === undefined ? {} : { reason: failure };
      throw new EngineError(errorOfOutcome(outcome, failure ?? null), {
        taskId,
        outcome,
        ...reason,
      });
    }
    const { requestCid, resultCids, agreed, hostCode } = end;
    const hosting = hostCode === undefined ? {} : { hostCode };
    const facts = { taskId, outcome, requestCid, resultCids, ...hosting };
    if (outcome !== 'completed' || agreed === null) {
      const { text, calls } = reader.said;
      const toolCalls = identified(taskId, calls);
      const nothing = { finishReason: null, verdictAgreed: false, usage: NO_USAGE };
      return { ...facts, text, toolCalls, ...nothing };
    }
    const result = await (end.resultCid !== null
      ? fetchResult(end.resultCid)
      : 'kind' in request
        ? findResult(end)
        : reader.result(agreed, request.model));
    if (end.resultHash !== undefined && (await channel.resultHash(result)) !== end.resultHash) {
      throw new EngineError('SEAL_BROKEN', { reason: 'not the agreed result', taskId });
    }
    given.extend(result.text);
    const { text, finishReason, usage } = result;
    const toolCalls = identified(taskId, result.toolCalls);
    return { ...facts, text, toolCalls, finishReason, verdictAgreed: true, usage };
  }

  /** Vectors are not streamed: those that were agreed on are among the results at rest. */
  async function findResult({ resultCids, resultHash }: Ended): Promise<ChatResult> {
    for (const cid of resultCids) {
      const result = await fetchResult(cid).catch((error: unknown) => {
        const code = findEngineError(error)?.code;
        if (code === undefined || !RESULT_FAULTS.has(code)) throw error;
        return null;
      });
      if (result !== null && (await ask.channel.resultHash(result)) === resultHash) return result;
    }
    throw new EngineError('SEAL_BROKEN', { reason: 'not the agreed result', taskId });
  }

  async function fetchResult(cid: string): Promise<ChatResult> {
    const block = await readPayload(http, cid, signal);
    return parseChatResult(readJson(await openAtRest(block, keyring.identity)));
  }
}

async function seal(
  { channel, keyring, request, idempotencyKey }: SealedAsk,
  taskId: TaskId,
): Promise<SealedTaskRequest> {
  const features = featuresOf(request);
  const bytes = toUtf8(JSON.stringify(request));
  const sealer = await channel.sealer(taskId, 'client');
  const atRest = await sealAtRest(bytes, [await recipientOf(keyring.identity)]);
  return {
    idempotencyKey,
    model: request.model,
    maxPromptTokens: maxPromptTokensOf(request),
    maxTokens: maxTokensOf(request),
    ...(features.length > 0 ? { features } : {}),
    request: await sealer.seal(bytes, true),
    sealedRequest: toBase64(atRest),
  };
}

/** Opens the primary's frames. A new primary starts over; what was given out stays. */
class StreamReader {
  readonly #channel: Channel;
  readonly #taskId: TaskId;
  readonly #given: GivenText;
  #author: Address | undefined;
  #opener: FrameOpener | undefined;
  #answer = new AnswerParts();
  #end: Pick<ChatResult, 'finishReason' | 'usage'> | undefined;

  constructor(channel: Channel, taskId: TaskId, given: GivenText) {
    this.#channel = channel;
    this.#taskId = taskId;
    this.#given = given;
  }

  /** What came so far. */
  get said(): Pick<AnswerParts, 'text' | 'calls'> {
    return this.#answer;
  }

  async start(primary: Address): Promise<void> {
    this.#author = primary;
    this.#opener = await this.#channel.opener(this.#taskId, primary);
    this.#answer = new AnswerParts();
    this.#end = undefined;
  }

  async read(author: Address, frame: Frame): Promise<void> {
    if (this.#opener === undefined || !sameAddress(author, this.#author ?? '')) {
      throw new EngineError('SEAL_BROKEN', { reason: 'a frame of another miner' });
    }
    const event = parseStreamEvent(readJson(await this.#opener.open(frame)));
    if (event.type === 'end') {
      this.#end = event;
      return;
    }
    this.#answer.take(event);
    this.#given.extend(this.#answer.text);
  }

  /** The streamed answer as a result.
   * @throws SEAL_BROKEN — the stream is another miner's, or was cut short. */
  result(agreed: Address, model: string): ChatResult {
    const isWhole = this.#opener?.isEnded === true && sameAddress(agreed, this.#author ?? '');
    if (!isWhole || this.#end === undefined) {
      throw new EngineError('SEAL_BROKEN', { reason: 'the stream was cut short' });
    }
    const { finishReason, usage } = this.#end;
    const { text, callsField } = this.#answer;
    return { model, text, finishReason, usage, ...callsField };
  }
}

function readEvent(data: string): TaskStreamEvent {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch (cause) {
    throw new EngineError('ROUTER_UNREACHABLE', { reason: 'not an event' }, { cause });
  }
  if (typeof value !== 'object' || value === null || !('type' in value)) {
    throw new EngineError('ROUTER_UNREACHABLE', { reason: 'not an event' });
  }
  return value as TaskStreamEvent;
}
