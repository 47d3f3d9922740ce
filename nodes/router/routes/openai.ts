/** `/v1`: what any OpenAI client speaks. At levels `open` and `link` the router seals for it. */
import { createHash, randomUUID } from 'node:crypto';
import type { Context } from 'hono';
import { openAtRest } from '../../../adapters/seal/at-rest.js';
import type { Channel } from '../../../adapters/seal/channel.js';
import { taskIdOf } from '../../../adapters/seal/task-id.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { maxPromptTokensOf } from '../../../domain/chat.js';
import { EngineError } from '../../../domain/errors.js';
import { parseSessionId, type SessionId } from '../../../domain/ids.js';
import type { ChatRequest } from '../../../domain/task.js';
import type { AppDeps, AppEnv, RouterApp } from '../app.js';
import { authorise } from '../auth.js';
import { readJson } from '../body.js';
import {
  chatSchema,
  chunks,
  completion,
  toChatRequest,
  type ChatBody,
  type CompletionHead,
} from '../chat.js';
import { errorBody, publicError } from '../errors.js';
import type { ServedTask, SessionHost } from '../session-host.js';
import { KEEP_ALIVE, resumeFrom, sseEvent, sseResponse } from '../sse.js';
import { readTranscript } from '../transcript.js';

export function addOpenAiRoutes(app: RouterApp, deps: AppDeps): void {
  const { network, limits } = deps;

  app.get('/v1/models', (c) =>
    c.json({
      object: 'list',
      data: network.models.map(({ name }) => ({
        id: name,
        object: 'model',
        created: 0,
        owned_by: 'cortensor',
      })),
    }),
  );

  app.post('/v1/chat/completions', async (c) => {
    const body = await readJson(c.req.raw, chatSchema, {
      maxBytes: limits.maxBodyBytes,
      tooLarge: 'PROMPT_TOO_LARGE',
      notText: 'PROMPT_INVALID',
    });
    const request = toChatRequest(body, limits.maxPromptBytes);
    if (!network.models.some(({ name }) => name === request.model)) {
      throw new EngineError('MODEL_UNKNOWN', { model: request.model });
    }
    const host = await deps.sessions.require(chooseSession(c, body));
    const { model } = host.lease.policy;
    if (model !== request.model) {
      throw new EngineError('MODEL_UNKNOWN', { model: request.model, ofSession: model });
    }
    const { channel } = host.keys;
    if (channel === null) throw new EngineError('SESSION_SEALED');
    const key = c.req.header('idempotency-key') ?? randomUUID();
    const task = await accept(deps, host, channel, request, key);
    const reply = { deps, host, channel, task, body };
    return body.stream === true ? answerStream(c, reply) : answerWhole(c, reply);
  });
}

/** Header, body, or the only session of the API key. */
function chooseSession(c: Context<AppEnv>, body: ChatBody): SessionId {
  const key = c.get('apiKey');
  const only = key.sessions.length === 1 ? key.sessions[0] : undefined;
  const named = c.req.header('x-cortensor-session') ?? body.session_id ?? only;
  if (named === undefined) {
    throw new EngineError('REQUEST_INVALID', {
      field: 'x-cortensor-session',
      expected: 'a session id in this header or in session_id',
    });
  }
  const sessionId = parseSessionId(named);
  authorise(key, sessionId);
  return sessionId;
}

async function accept(
  deps: AppDeps,
  host: SessionHost,
  channel: Channel,
  request: ChatRequest,
  idempotencyKey: string,
): Promise<ServedTask> {
  const { sessionId, keyring } = host.lease;
  const { identity } = host.keys;
  const taskId = await taskIdOf(sessionId, idempotencyKey);
  const bytes = encodeJson(request);
  const sealer = await channel.sealer(taskId, 'client');
  return host.accept({
    taskId,
    maxPromptTokens: maxPromptTokensOf(request),
    maxTokens: request.maxTokens,
    frame: await sealer.seal(bytes, true),
    fingerprint: createHash('sha256').update(bytes).digest('hex'),
    atRest: async () => (keyring === null ? bytes : deps.crypto.seal(bytes, [keyring.recipient])),
    isSame: async (block) => {
      const plain = identity === null ? block : await openAtRest(block, identity);
      return Buffer.compare(plain, bytes) === 0;
    },
  });
}

interface Reply {
  readonly deps: AppDeps;
  readonly host: SessionHost;
  readonly channel: Channel;
  readonly task: ServedTask;
  readonly body: ChatBody;
}

function transcript({ deps, host, channel, task }: Reply, isLive: boolean, signal: AbortSignal) {
  const { identity } = host.keys;
  return readTranscript({ task, channel, identity, blockStore: deps.blockStore, isLive, signal });
}

async function answerWhole(c: Context<AppEnv>, reply: Reply): Promise<Response> {
  const { task, body } = reply;
  let text = '';
  for await (const event of transcript(reply, false, c.req.raw.signal)) {
    if (event?.type === 'delta') text += event.text;
    if (event?.type !== 'end') continue;
    return c.json(completion(headOf(task, body.model), text, event), 200, headersOf(task));
  }
  // The client has gone; the task runs on, and its idempotency key finds it again.
  throw new EngineError('INTERNAL', { reason: 'the request was aborted' });
}

async function answerStream(c: Context<AppEnv>, reply: Reply): Promise<Response> {
  const { deps, task, body } = reply;
  await refuseEarly(task, c.req.raw.signal);
  const head = headOf(task, body.model);
  const from = resumeFrom(c.req.header('last-event-id'));
  const hasUsage = body.stream_options?.include_usage === true;
  const requestId = c.get('requestId');
  return sseResponse(async function* (signal) {
    try {
      for await (const event of transcript(reply, true, signal)) {
        if (event === null) yield KEEP_ALIVE;
        else if (event.index >= from) {
          const parts = chunks(head, event, hasUsage);
          yield parts.map((part) => sseEvent(part, event.index)).join('');
        }
      }
      yield sseEvent('[DONE]');
    } catch (error) {
      deps.log('warn', 'stream failed', { requestId, code: publicError(error).code });
      yield sseEvent(errorBody(publicError(error), requestId));
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

function headOf(task: ServedTask, model: string): CompletionHead {
  const created = Math.floor(task.startedAt / 1_000);
  return { id: `chatcmpl-${task.taskId.slice(2, 34)}`, created, model };
}

function headersOf(task: ServedTask): Record<string, string> {
  return { 'x-cortensor-task': task.taskId };
}
