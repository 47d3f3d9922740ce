/** From the events of a route's stream to the messages of the clients' protocol. */
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import type { ErrorBody } from '../../../domain/api.js';
import { EngineError, isErrorCode } from '../../../domain/errors.js';
import type { TaskId } from '../../../domain/ids.js';
import type { Citation } from '../../../domain/source.js';
import type { ChatDelta, ServerMessage } from '../../../domain/stream.js';
import type { TaskStreamEvent } from '../../../domain/wire.js';
import { errorBody } from '../errors.js';

export interface StreamHead {
  readonly id: string;
  readonly taskId: TaskId;
  readonly requestId: string;
}

/** Reads an event; `null` where nothing of it is the client's to know. */
export type Translate = (event: EventSourceMessage) => ServerMessage | null;

/** Reads server-sent events as somebody asks for them, and nothing ahead of that.
 * @throws ROUTER_LEASE_LOST — the stream broke off: it may be resumed. */
export async function* eventsOf(
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<EventSourceMessage> {
  const pending: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => pending.push(event) });
  const decoder = new TextDecoder();
  const reader = body.getReader();
  const leave = () => void reader.cancel().catch(() => undefined);
  signal.addEventListener('abort', leave, { once: true });
  try {
    while (!signal.aborted) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        throw new EngineError('ROUTER_LEASE_LOST', {}, { cause });
      });
      if (done) return;
      parser.feed(decoder.decode(value, { stream: true }));
      yield* pending.splice(0);
    }
  } finally {
    signal.removeEventListener('abort', leave);
    leave();
  }
}

interface Chunk {
  readonly choices: readonly {
    readonly delta: ChatDelta;
    readonly finish_reason: string | null;
  }[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
  readonly cortensor?: { readonly citations: readonly Citation[] };
}

/** Chunks of a chat completion that was asked for with its usage. */
export function chatTranslator(head: StreamHead): Translate {
  const { id, taskId } = head;
  let finishReason = 'stop';
  let cited: { readonly citations?: readonly Citation[] } = {};
  return ({ data, id: eventId }) => {
    if (data === '[DONE]') return null;
    const chunk = JSON.parse(data) as Chunk | ErrorBody;
    if ('error' in chunk) return { type: 'error', id, ends: true, error: chunk.error };
    const index = Number(eventId);
    if (chunk.cortensor !== undefined) {
      cited = chunk.cortensor;
      return null;
    }
    const [choice] = chunk.choices;
    if (choice === undefined) {
      const { prompt_tokens = 0, completion_tokens = 0 } = chunk.usage ?? {};
      const usage = { promptTokens: prompt_tokens, completionTokens: completion_tokens };
      const end = { index, taskId, outcome: 'completed', finishReason, usage } as const;
      return { type: 'ended', kind: 'chat', id, ...end, ...cited };
    }
    finishReason = choice.finish_reason ?? finishReason;
    if (Object.keys(choice.delta).length === 0) return null;
    return { type: 'delta', id, index, delta: choice.delta };
  };
}

/** Events of a task, as they are. */
export function sealedTranslator({ id, requestId }: StreamHead): Translate {
  return ({ data, id: eventId }) => {
    const event = JSON.parse(data) as TaskStreamEvent;
    const index = Number(eventId);
    if (event.type === 'ended') return { type: 'ended', kind: 'sealed', id, index, event };
    if (event.type !== 'error') return { type: 'event', id, index, event };
    const error = new EngineError(isErrorCode(event.code) ? event.code : 'INTERNAL');
    return { type: 'error', id, ends: true, ...errorBody(error, requestId) };
  };
}
