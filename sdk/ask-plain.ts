/**
 * A request at level `open` or `link`: the router seals for its client, which then speaks as any
 * OpenAI client does. CIDs and verdict come from the task's record afterwards.
 */
import { taskIdOf } from '../adapters/seal/task-id.js';
import { EngineError, findEngineError } from '../domain/errors.js';
import type { SessionId } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import type { ChatRequest, TaskEvidence } from '../domain/task.js';
import { GivenText, type Answer } from './answer.js';
import { errorOf, type RouterHttp } from './http.js';
import { readJson, readPayload, refuseTools } from './payloads.js';
import { withRetries } from './retry.js';

export interface PlainAsk {
  readonly http: RouterHttp;
  readonly sessionId: SessionId;
  readonly request: ChatRequest;
  readonly idempotencyKey: string;
  readonly signal: AbortSignal | undefined;
}

interface Chunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string | null } }[];
}
interface Completion {
  readonly choices: readonly { readonly message: { readonly content: string } }[];
}

/** Puts a request and reads its stream.
 * @throws EngineError — the router's, or of a task that did not end well. */
export async function askPlain(ask: PlainAsk, emit: (delta: string) => void): Promise<Answer> {
  const { sessionId, idempotencyKey, signal } = ask;
  refuseTools(ask.request);
  const taskId = await taskIdOf(sessionId, idempotencyKey);
  const given = new GivenText(emit);
  let text: string;
  try {
    text = await withRetries(() => readStream(ask, given), signal);
  } catch (error) {
    const code = findEngineError(error)?.code;
    if (code === 'NO_QUORUM') text = given.text;
    // The streamed answer lost the verdict. The task has ended, and is answered from its record.
    else if (code === 'MINER_FAILED' && given.text !== '') text = await readWhole(ask);
    else throw error;
  }
  const { http } = ask;
  const record = await withRetries(
    () => http.json<TaskRecord>(`/api/v1/sessions/${sessionId}/tasks/${taskId}`, { signal }),
    signal,
  );
  const { outcome, requestCid, evidenceCid, usage } = record;
  return {
    text,
    taskId,
    outcome: outcome ?? 'failed',
    verdictAgreed: outcome === 'completed',
    requestCid,
    resultCids: evidenceCid === null ? [] : await readResultCids(ask, evidenceCid),
    usage: usage ?? { promptTokens: 0, completionTokens: 0 },
  };
}

async function readStream(ask: PlainAsk, given: GivenText): Promise<string> {
  let text = '';
  let isDone = false;
  await ask.http.events('/v1/chat/completions', optionsOf(ask, true), async (data) => {
    if (data === '[DONE]') {
      isDone = true;
      return;
    }
    const chunk = JSON.parse(data) as Chunk;
    if ('error' in chunk) throw errorOf(chunk, 200);
    text += chunk.choices?.[0]?.delta?.content ?? '';
    given.extend(text);
  });
  if (!isDone) throw new EngineError('ROUTER_UNREACHABLE', { reason: 'cut short' });
  return text;
}

async function readWhole(ask: PlainAsk): Promise<string> {
  const completion = await withRetries(
    () => ask.http.json<Completion>('/v1/chat/completions', optionsOf(ask, false)),
    ask.signal,
  );
  const [choice] = completion.choices;
  if (choice === undefined) throw new EngineError('ROUTER_UNREACHABLE', { reason: 'no choice' });
  return choice.message.content;
}

/** CIDs of what every miner committed to, by the task's evidence. */
export async function readResultCids(
  { http, signal }: Pick<PlainAsk, 'http' | 'signal'>,
  evidenceCid: string,
): Promise<string[]> {
  const evidence = readJson(await readPayload(http, evidenceCid, signal)) as TaskEvidence;
  return evidence.commitments.map(({ resultCid }) => resultCid);
}

function optionsOf({ request, sessionId, idempotencyKey, signal }: PlainAsk, stream: boolean) {
  return {
    method: 'POST',
    body: {
      model: request.model,
      messages: request.messages,
      max_tokens: request.maxTokens,
      temperature: request.temperature,
      top_p: request.topP,
      stop: request.stop,
      response_format: formatOf(request),
      stream,
    },
    headers: { 'x-cortensor-session': sessionId, 'idempotency-key': idempotencyKey },
    signal,
  } as const;
}

function formatOf({ responseFormat }: ChatRequest): unknown {
  if (responseFormat?.type !== 'json-schema') {
    return responseFormat === undefined ? undefined : { type: 'json_object' };
  }
  const { type: _, ...schema } = responseFormat;
  return { type: 'json_schema', json_schema: schema };
}
