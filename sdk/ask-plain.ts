/**
 * A request at level `open` or `link`: the router seals for its client, which then speaks as any
 * OpenAI client does. CIDs and verdict come from the task's record afterwards.
 */
import { taskIdOf } from '../adapters/seal/task-id.js';
import { AnswerParts } from '../domain/answer-parts.js';
import { EngineError, findEngineError } from '../domain/errors.js';
import type { SessionId } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import type { Citation, ContextAsk } from '../domain/source.js';
import type { CalledTool, ChatRequest, TaskEvidence } from '../domain/task.js';
import { GivenText, identified, type Answer } from './answer.js';
import { chatBodyOf } from './chat-body.js';
import { errorOf, type RouterHttp } from './http.js';
import { readJson, readPayload } from './payloads.js';
import { withRetries } from './retry.js';

export interface PlainAsk {
  readonly http: RouterHttp;
  readonly sessionId: SessionId;
  readonly request: ChatRequest;
  /** Sources that the router is to find passages in. */
  readonly context: Partial<ContextAsk> | undefined;
  readonly idempotencyKey: string;
  readonly signal: AbortSignal | undefined;
}

interface Cited {
  readonly cortensor?: { readonly citations: readonly Citation[] };
}
interface Chunk extends Cited {
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: string | null;
      /** Pieces of calls; the first one of each has its name. */
      readonly tool_calls?: readonly {
        readonly index: number;
        readonly function: { readonly name?: string; readonly arguments: string };
      }[];
    };
    readonly finish_reason?: string | null;
  }[];
}
interface Completion extends Cited {
  readonly choices: readonly {
    readonly message: {
      readonly content: string | null;
      readonly tool_calls?: readonly { readonly function: CalledTool }[];
    };
    readonly finish_reason: string;
  }[];
}

/** What was answered, and from which passages. */
interface Said extends Pick<AnswerParts, 'text' | 'calls'> {
  readonly finishReason?: Answer['finishReason'];
  readonly citations?: readonly Citation[] | undefined;
}

class CitedParts extends AnswerParts {
  finishReason: Answer['finishReason'] = null;
  citations: readonly Citation[] | undefined;
}

/** Puts a request and reads its stream.
 * @throws EngineError — the router's, or of a task that did not end well. */
export async function askPlain(ask: PlainAsk, emit: (delta: string) => void): Promise<Answer> {
  const { sessionId, idempotencyKey, signal } = ask;
  const taskId = await taskIdOf(sessionId, idempotencyKey);
  const given = new GivenText(emit);
  let said: Said = new AnswerParts();
  try {
    await withRetries(() => {
      const parts = new CitedParts();
      said = parts;
      return readStream(ask, given, parts);
    }, signal);
  } catch (error) {
    const code = findEngineError(error)?.code;
    const hasBegun = given.text !== '' || said.calls.length > 0;
    if (code === 'NO_QUORUM') said = { text: given.text, calls: said.calls };
    // The streamed answer lost the verdict. The task has ended, and is answered from its record.
    else if (code === 'MINER_FAILED' && hasBegun) said = await readWhole(ask);
    else throw error;
  }
  const { http } = ask;
  const record = await withRetries(
    () => http.json<TaskRecord>(`/api/v1/sessions/${sessionId}/tasks/${taskId}`, { signal }),
    signal,
  );
  const { outcome, requestCid, evidenceCid, usage } = record;
  const hostCode = record.host?.code ?? null;
  return {
    text: said.text,
    toolCalls: identified(taskId, said.calls),
    finishReason: said.finishReason ?? null,
    taskId,
    outcome: outcome ?? 'failed',
    verdictAgreed: outcome === 'completed',
    requestCid,
    resultCids: evidenceCid === null ? [] : await readResultCids(ask, evidenceCid),
    usage: usage ?? { promptTokens: 0, completionTokens: 0 },
    ...(said.citations === undefined ? {} : { citations: said.citations }),
    ...(hostCode === null ? {} : { hostCode }),
  };
}

/** Reads a stream from its start.
 * @param said - takes what comes, also where the stream does not come to its end. */
async function readStream(ask: PlainAsk, given: GivenText, said: CitedParts): Promise<void> {
  let isDone = false;
  await ask.http.events('/v1/chat/completions', optionsOf(ask, true), async (data) => {
    if (data === '[DONE]') {
      isDone = true;
      return;
    }
    const chunk = JSON.parse(data) as Chunk;
    if ('error' in chunk) throw errorOf(chunk, 200);
    const { delta, finish_reason: reason } = chunk.choices?.[0] ?? {};
    const { content, tool_calls: calls = [] } = delta ?? {};
    said.finishReason = finishOf(reason) ?? said.finishReason;
    said.citations = chunk.cortensor?.citations ?? said.citations;
    said.take({ type: 'delta', text: content ?? '' });
    for (const { index, function: piece } of calls) {
      said.take({ type: 'tool-call', index, ...piece });
    }
    given.extend(said.text);
  });
  if (!isDone) throw new EngineError('ROUTER_UNREACHABLE', { reason: 'cut short' });
}

async function readWhole(ask: PlainAsk): Promise<Said> {
  const completion = await withRetries(
    () => ask.http.json<Completion>('/v1/chat/completions', optionsOf(ask, false)),
    ask.signal,
  );
  const [choice] = completion.choices;
  if (choice === undefined) throw new EngineError('ROUTER_UNREACHABLE', { reason: 'no choice' });
  const { content, tool_calls: calls = [] } = choice.message;
  const citations = completion.cortensor?.citations;
  return {
    text: content ?? '',
    calls: calls.map((call) => call.function),
    finishReason: finishOf(choice.finish_reason),
    citations,
  };
}

/** CIDs of what every miner committed to, by the task's evidence. */
export async function readResultCids(
  { http, signal }: Pick<PlainAsk, 'http' | 'signal'>,
  evidenceCid: string,
): Promise<string[]> {
  const evidence = readJson(await readPayload(http, evidenceCid, signal)) as TaskEvidence;
  return evidence.commitments.map(({ resultCid }) => resultCid);
}

/** Why an answer ended, out of OpenAI's words; `null` where it has not. */
function finishOf(reason: string | null | undefined): Answer['finishReason'] {
  if (reason === 'stop' || reason === 'length') return reason;
  return reason === 'tool_calls' ? 'tool-calls' : null;
}

function optionsOf(ask: PlainAsk, stream: boolean) {
  const { request, context, sessionId, idempotencyKey, signal } = ask;
  return {
    method: 'POST',
    body: { ...chatBodyOf(request), context, stream },
    headers: { 'x-cortensor-session': sessionId, 'idempotency-key': idempotencyKey },
    signal,
  } as const;
}
