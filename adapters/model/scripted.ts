/** A backend that answers by a function: for tests, for benchmarks, and for demonstrations of what
 * the network does with wrong answers. A token is a word with the white space before it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { AnswerPiece } from '../../domain/answer-parts.js';
import { CHAT_FEATURES } from '../../domain/features.js';
import type { CalledTool, ChatRequest, StreamEvent } from '../../domain/task.js';
import type { GenerateOptions, InferenceBackend } from './backend.js';
import { StopText } from './stop-text.js';

/** What a script says: a text, or calls of tools with it. Schemas are not looked at. */
export type ScriptedAnswer =
  | string
  | { readonly text?: string; readonly toolCalls: readonly CalledTool[] };

/** Opens a scripted backend.
 * @param script - `answer`: the whole answer to a request; `tokensPerSecond`: how fast it streams,
 *   at once where not given. */
export function openScriptedBackend(script: {
  readonly model: string;
  readonly answer: (request: ChatRequest) => ScriptedAnswer;
  readonly tokensPerSecond?: number;
}): InferenceBackend {
  const { model, answer, tokensPerSecond } = script;
  return {
    model,
    features: CHAT_FEATURES,
    async *generate(
      request: ChatRequest,
      { signal }: GenerateOptions,
    ): AsyncGenerator<StreamEvent> {
      signal.throwIfAborted();
      const pieces = piecesOf(answer(request));
      const stops = new StopText(request.stop ?? []);
      let completionTokens = 0;
      for (const piece of pieces.slice(0, request.maxTokens)) {
        if (tokensPerSecond !== undefined) await pause(1_000 / tokensPerSecond, signal);
        signal.throwIfAborted();
        completionTokens++;
        if (piece.type === 'tool-call') yield piece;
        else {
          const text = stops.add(piece.text);
          if (text !== '') yield { type: 'delta', text };
          if (stops.isStopped) break;
        }
      }
      const rest = stops.end();
      if (rest !== '') yield { type: 'delta', text: rest };
      const isCut = !stops.isStopped && completionTokens < pieces.length;
      const called = pieces.some(({ type }) => type === 'tool-call');
      const promptTokens = request.messages.reduce((sum, m) => sum + split(m.content).length, 0);
      yield {
        type: 'end',
        finishReason: isCut ? 'length' : called ? 'tool-calls' : 'stop',
        usage: { promptTokens, completionTokens },
      };
    },
    async close() {},
  };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // The caller's reason is thrown after the wait, not the timer's own AbortError.
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

function piecesOf(answer: ScriptedAnswer): AnswerPiece[] {
  const { text = '', toolCalls = [] } =
    typeof answer === 'string' ? { text: answer, toolCalls: [] } : answer;
  return [
    ...split(text).map((word) => ({ type: 'delta' as const, text: word })),
    ...toolCalls.flatMap(({ name, arguments: written }, index) => {
      const [first = '', ...more] = split(written);
      const type = 'tool-call' as const;
      return [
        { type, index, name, arguments: first },
        ...more.map((piece) => ({ type, index, arguments: piece })),
      ];
    }),
  ];
}

function split(text: string): string[] {
  return text.match(/\s*\S+\s*$|\s*\S+|\s+$/g) ?? [];
}
