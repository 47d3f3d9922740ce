/**
 * One request of an OpenAI client, from what it asks for to its answer. At levels `open` and `link`
 * the router seals for it. How the answer is written is the endpoint's.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Context } from 'hono';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { openAtRest } from '../../adapters/seal/at-rest.js';
import type { Channel } from '../../adapters/seal/channel.js';
import { taskIdOf } from '../../adapters/seal/task-id.js';
import { AnswerParts } from '../../domain/answer-parts.js';
import { maxPromptTokensOf, maxTokensOf } from '../../domain/chat.js';
import { EngineError, findEngineError } from '../../domain/errors.js';
import { featuresOf } from '../../domain/features.js';
import { parseSessionId, type SessionId } from '../../domain/ids.js';
import type { ContextAsk } from '../../domain/source.js';
import type { InferenceRequest } from '../../domain/task.js';
import type { AppDeps, AppEnv } from './app.js';
import {
  chatShape,
  promptBytes,
  toChatRequest,
  type AnswerHead,
  type AnswerShape,
  type Ask,
} from './chat.js';
import { begin, ground, groundOf, isSameGrounded, type Grounded } from './context.js';
import { conversationOf } from './conversation.js';
import { errorBody, publicError } from './errors.js';
import { requireModel } from './models.js';
import { requireSources } from './routes/sources.js';
import type { ServedTask, SessionHost } from './session-host.js';
import { positioned } from './positions.js';
import { KEEP_ALIVE, resumeFrom, sseResponse } from './sse.js';
import { readTranscript } from './transcript.js';

/** English text; what is counted in the end are the tokens that were billed. */
const BYTES_PER_TOKEN = 4;

export interface Question {
  readonly ask: Ask;
  readonly shape: AnswerShape;
  readonly isStream: boolean;
  /** `session_id` of the body; the header `x-cortensor-session` wins. */
  readonly sessionId: string | undefined;
  /** Passages of the caller's own sources that the answer is to rely on. */
  readonly context: ContextAsk | null | undefined;
}

/** Answers a request, whole or as a stream.
 * @throws MODEL_UNKNOWN — not served, or not by the session.
 * @throws MODEL_UNFIT — the model does not chat.
 * @throws SESSION_SEALED — only its client can seal for it.
 * @throws REQUEST_INVALID — no session is named.
 * @throws PROMPT_INVALID, PROMPT_TOO_LARGE
 * @throws CONTEXT_SEALED — a context for a session that only its client can seal for.
 * @throws as `Guard`, `Sessions.require`, `SessionHost.accept`, `ground` and `readTranscript` */
export async function answer(
  c: Context<AppEnv>,
  deps: AppDeps,
  { ask, shape, isStream, sessionId, context }: Question,
): Promise<Response> {
  const request = toChatRequest(ask, deps.limits.maxPromptBytes);
  requireModel(deps.network, request.model, 'chat');
  const held = await openSession(c, deps, sessionId).catch((error: unknown) => {
    throw context == null ? error : contextError(error);
  });
  const key = c.req.header('idempotency-key');
  if (context == null) {
    return reply(c, deps, held, await takeOn(c, deps, held, request, key), shape, isStream);
  }
  const { level } = held.host.lease.policy;
  const caller = { owner: c.get('apiKey').id, level };
  const grounded = await ground(requireSources(deps), caller, request, context);
  const task = await takeOn(c, deps, held, grounded.request, key, grounded);
  begin(task, grounded);
  return reply(c, deps, held, task, shape, isStream);
}

function reply(
  c: Context<AppEnv>,
  deps: AppDeps,
  held: HeldSession,
  task: ServedTask,
  shape: AnswerShape,
  isStream: boolean,
): Promise<Response> {
  const answered = { deps, ...held, task, head: headOf(task, held.host), shape };
  return isStream ? answerStream(c, answered) : answerWhole(c, answered);
}

function headOf(task: ServedTask, host: SessionHost): AnswerHead {
  const grounded = groundOf(task);
  return {
    taskId: task.taskId,
    created: Math.floor(task.startedAt / 1_000),
    model: host.lease.policy.model,
    ...(grounded === undefined ? {} : { grounded }),
  };
}

/** What is sealed by the client is retrieved by the client. */
function contextError(error: unknown): unknown {
  const isSealed = findEngineError(error)?.code === 'SESSION_SEALED';
  return isSealed ? new EngineError('CONTEXT_SEALED', {}, { cause: error }) : error;
}

/** A session that this router serves and seals for. */
export interface HeldSession {
  readonly host: SessionHost;
  readonly channel: Channel;
}

/** Finds the session of a request that the router is to seal.
 * @param sessionId - of the body; the header `x-cortensor-session` wins.
 * @throws SESSION_SEALED — only its client can seal for it.
 * @throws REQUEST_INVALID — no session is named.
 * @throws as `Guard.allow` and `Sessions.require` */
export async function openSession(
  c: Context<AppEnv>,
  deps: AppDeps,
  sessionId: string | undefined,
): Promise<HeldSession> {
  const chosen = chooseSession(c, sessionId);
  await deps.guard.allow(c, chosen);
  const host = await deps.sessions.require(chosen);
  const { channel } = host.keys;
  if (channel === null) throw new EngineError('SESSION_SEALED');
  return { host, channel };
}

/** Starts the task of a request, within the tokens of its caller.
 * @param key - equal keys are one task; a random one where not given.
 * @throws MODEL_UNKNOWN — the session serves another model.
 * @throws as `Guard.spend` and `SessionHost.accept` */
export async function takeOn(
  c: Context<AppEnv>,
  deps: AppDeps,
  { host, channel }: HeldSession,
  request: InferenceRequest,
  key: string = randomUUID(),
  grounded?: Grounded,
): Promise<ServedTask> {
  const { model } = request;
  const maxTokens = maxTokensOf(request);
  if (host.lease.policy.model !== model) {
    throw new EngineError('MODEL_UNKNOWN', { model, ofSession: host.lease.policy.model });
  }
  const tokens = {
    most: maxPromptTokensOf(request) + maxTokens,
    expected: Math.ceil(promptBytes(request) / BYTES_PER_TOKEN) + maxTokens,
  };
  return deps.guard.spend(c, tokens, () => accept(deps, host, channel, request, key, grounded));
}

/** Follows the answer to a task as chunks of a chat completion, whoever asked for it.
 * @throws MODEL_UNFIT — the answer is vectors.
 * @throws SESSION_SEALED — only its client can open it. */
export async function followAnswer(
  c: Context<AppEnv>,
  deps: AppDeps,
  host: SessionHost,
  task: ServedTask,
): Promise<Response> {
  const { channel } = host.keys;
  if (channel === null) throw new EngineError('SESSION_SEALED');
  requireModel(deps.network, host.lease.policy.model, 'chat');
  const shape = chatShape(true);
  return answerStream(c, { deps, host, channel, task, head: headOf(task, host), shape });
}

/** Header, body, or the only session of the API key. */
export function chooseSession(c: Context<AppEnv>, ofBody: string | undefined): SessionId {
  const { sessions } = c.get('apiKey');
  const [only] = sessions?.size === 1 ? sessions : [];
  const named = c.req.header('x-cortensor-session') ?? ofBody ?? only;
  if (named === undefined) {
    throw new EngineError('REQUEST_INVALID', {
      field: 'x-cortensor-session',
      expected: 'a session id in this header or in session_id',
    });
  }
  return parseSessionId(named);
}

async function accept(
  deps: AppDeps,
  host: SessionHost,
  channel: Channel,
  request: InferenceRequest,
  idempotencyKey: string,
  grounded: Grounded | undefined,
): Promise<ServedTask> {
  const { sessionId, keyring } = host.lease;
  const { identity } = host.keys;
  const taskId = await taskIdOf(sessionId, idempotencyKey);
  // Models fill a schema in the order in which its author wrote it down, so that is kept; whether two
  // requests are the same does not hang on it.
  const bytes = Buffer.from(JSON.stringify(request));
  const asked = grounded?.asked ?? encodeJson(request);
  const sealer = await channel.sealer(taskId, 'client');
  return host.accept({
    taskId,
    maxPromptTokens: maxPromptTokensOf(request),
    maxTokens: maxTokensOf(request),
    features: featuresOf(request),
    frame: await sealer.seal(bytes, true),
    ...('kind' in request ? {} : { conversation: conversationOf(request.messages) }),
    fingerprint: createHash('sha256').update(asked).digest('hex'),
    atRest: async () => (keyring === null ? bytes : deps.crypto.seal(bytes, [keyring.recipient])),
    isSame: async (block) => {
      const plain = identity === null ? block : await openAtRest(block, identity);
      if (grounded !== undefined) return isSameGrounded(grounded, plain);
      const recorded: unknown = JSON.parse(new TextDecoder().decode(plain));
      return Buffer.compare(encodeJson(recorded), asked) === 0;
    },
  });
}

interface Reply {
  readonly deps: AppDeps;
  readonly host: SessionHost;
  readonly channel: Channel;
  readonly task: ServedTask;
  readonly head: AnswerHead;
  readonly shape: AnswerShape;
}

function transcript(
  { deps, host, channel, task }: Omit<Reply, 'shape'>,
  isLive: boolean,
  signal: AbortSignal,
) {
  const { identity } = host.keys;
  return readTranscript({ task, channel, identity, blockStore: deps.blockStore, isLive, signal });
}

/** Answers in one piece, when the task has ended.
 * @throws as `readTranscript` */
export async function answerWhole(
  c: Context<AppEnv>,
  reply: Omit<Reply, 'shape'> & { readonly shape: Pick<AnswerShape, 'whole'> },
): Promise<Response> {
  const { task, head, shape } = reply;
  const said = new AnswerParts();
  for await (const event of transcript(reply, false, c.req.raw.signal)) {
    if (event?.type === 'delta') said.take(event);
    if (event?.type === 'tool-call') said.take({ ...event, index: event.call });
    if (event?.type !== 'end') continue;
    return c.json(shape.whole(head, said, event), 200, await endHeadersOf(task));
  }
  // The client has gone; the task runs on, and its idempotency key finds it again.
  throw new EngineError('INTERNAL', { reason: 'the request was aborted' });
}

async function answerStream(c: Context<AppEnv>, reply: Reply): Promise<Response> {
  const { deps, task, head, shape } = reply;
  await refuseEarly(task, c.req.raw.signal);
  const from = resumeFrom(c.req.header('last-event-id'));
  const requestId = c.get('requestId');
  return sseResponse(async function* (signal) {
    const write = shape.stream(head);
    try {
      for await (const next of positioned(transcript(reply, true, signal), from)) {
        const text = next === null ? KEEP_ALIVE : write(next.event);
        // The end is told again to whoever asks for it again.
        if (next?.isKnown !== true || next.event.type === 'end') yield text;
      }
      if (shape.last !== '') yield shape.last;
    } catch (error) {
      deps.log('warn', 'stream failed', { requestId, code: publicError(error).code });
      yield shape.failure(errorBody(publicError(error), requestId));
    }
  }, headersOf(task));
}

/** A task that was refused before anything came of it is answered with the error's own status. */
async function refuseEarly(task: ServedTask, signal: AbortSignal): Promise<void> {
  for await (const first of task.stream.read({ from: 0, idleMs: 1_000, signal })) {
    if (first?.event.type === 'error') await task.conclusion;
    if (first !== null) return;
  }
}

/** Of an answer that is whole: also what keeps it from the session's host. */
async function endHeadersOf(task: ServedTask): Promise<Record<string, string>> {
  const { hostCode } = await task.conclusion;
  const hosting: Record<string, string> =
    hostCode === undefined ? {} : { 'x-cortensor-host': hostCode };
  return { ...headersOf(task), ...hosting };
}

function headersOf(task: ServedTask): Record<string, string> {
  return { 'x-cortensor-task': task.taskId };
}
