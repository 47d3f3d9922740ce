/** A backend that answers by a function: for tests, for benchmarks, and for demonstrations of what
 * the network does with wrong answers. A token is a word with the white space before it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ChatRequest, StreamEvent } from '../../domain/task.js';
import type { GenerateOptions, InferenceBackend } from './backend.js';

/** Opens a scripted backend.
 * @param script - `answer`: the whole answer to a request; `tokensPerSecond`: how fast it streams,
 *   at once where not given. */
export function openScriptedBackend(script: {
  readonly model: string;
  readonly answer: (request: ChatRequest) => string;
  readonly tokensPerSecond?: number;
}): InferenceBackend {
  const { model, answer, tokensPerSecond } = script;
  return {
    model,
    async *generate(
      request: ChatRequest,
      { signal }: GenerateOptions,
    ): AsyncGenerator<StreamEvent> {
      signal.throwIfAborted();
      const tokens = split(answer(request));
      const written = tokens.slice(0, request.maxTokens);
      for (const text of written) {
        if (tokensPerSecond !== undefined) await pause(1_000 / tokensPerSecond, signal);
        signal.throwIfAborted();
        yield { type: 'delta', text };
      }
      const promptTokens = request.messages.reduce((sum, m) => sum + split(m.content).length, 0);
      yield {
        type: 'end',
        finishReason: written.length < tokens.length ? 'length' : 'stop',
        usage: { promptTokens, completionTokens: written.length },
      };
    },
    async close() {},
  };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // The caller's reason is thrown after the wait, not the timer's own AbortError.
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

function split(text: string): string[] {
  return text.match(/\s*\S+\s*$|\s*\S+|\s+$/g) ?? [];
}
