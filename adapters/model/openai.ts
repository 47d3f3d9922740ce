/**
 * A model behind an OpenAI-compatible server: llama.cpp's, vLLM, Ollama, or a hosted one.
 * @see https://platform.openai.com/docs/api-reference/chat-streaming
 */
import { createParser } from 'eventsource-parser';
import type { AnswerPiece } from '../../domain/answer-parts.js';
import { anyOf } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import { CHAT_FEATURES } from '../../domain/features.js';
import type {
  ChatMessage,
  ChatRequest,
  ChatResult,
  StreamEvent,
  TokenUsage,
} from '../../domain/task.js';
import { isName } from '../../domain/tools.js';
import type { GenerateOptions, InferenceBackend } from './backend.js';

/** Longest silence of a server, in milliseconds, before its first byte and between two. */
const SILENCE_MS = 30_000;
/** Longest event of a stream, in characters. */
const MAX_EVENT_CHARS = 1024 * 1024;

/** Opens a backend on a server; nothing is sent before the first request.
 * @param options - `baseUrl`: up to and with `/v1`, as OpenAI's own clients take it; `silenceMs`:
 *   longest wait for the next byte, 30 s where not given. */
export function openOpenAiBackend(options: {
  readonly baseUrl: string;
  readonly apiKey?: string;
  readonly model: string;
  readonly silenceMs?: number;
}): InferenceBackend {
  const { baseUrl, apiKey, model, silenceMs = SILENCE_MS } = options;
  const closing = new AbortController();
  const failed = (reason: string, cause?: unknown): EngineError =>
    new EngineError('BACKEND_FAILED', { model, reason }, { cause });

  async function* generate(
    request: ChatRequest,
    { seed, signal }: GenerateOptions,
  ): AsyncGenerator<StreamEvent> {
    signal.throwIfAborted();
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(failed('no byte in time')), silenceMs);
    const any = anyOf(signal, silence.signal, closing.signal);
    try {
      const response = await fetch(`${baseUrl.replace(/\/+$/, '')}/chat/completions`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'text/event-stream',
          ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
        },
        body: JSON.stringify(toBody(model, request, seed)),
        signal: any,
      });
      if (!response.ok || response.body === null) {
        await response.body?.cancel();
        // Never the body: it may quote the prompt or the key.
        throw failed(`status ${response.status}`);
      }
      const answer = new Answer(failed);
      for await (const bytes of response.body) {
        timer.refresh();
        yield* answer.feed(bytes);
        if (answer.isDone) break;
      }
      yield answer.end();
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof EngineError) throw cause;
      throw failed('connection', cause);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    model,
    features: CHAT_FEATURES,
    generate,
    async close() {
      closing.abort(failed('closed'));
    },
  };
}

/** What has been read of one answer. */
class Answer {
  readonly #failed: (reason: string) => EngineError;
  readonly #decoder = new TextDecoder();
  readonly #parser = createParser({
    maxBufferSize: MAX_EVENT_CHARS,
    onEvent: ({ data }) => this.#take(data),
    onError: (error) => {
      if (error.type === 'max-buffer-size-exceeded') throw this.#failed('event too long');
    },
  });
  #pieces: AnswerPiece[] = [];
  /** Names of the calls that have begun. */
  readonly #calls: string[] = [];
  #finishReason: ChatResult['finishReason'] | undefined;
  #usage: TokenUsage | undefined;
  isDone = false;

  constructor(failed: (reason: string) => EngineError) {
    this.#failed = failed;
  }

  /** Takes bytes as they arrive, and gives the pieces that they complete. */
  feed(bytes: Uint8Array): AnswerPiece[] {
    this.#pieces = [];
    this.#parser.feed(this.#decoder.decode(bytes, { stream: true }));
    return this.#pieces;
  }

  /** The last event.
   * @throws BACKEND_FAILED — the stream broke off, or did not say what was used: billing by a guess
   *   would be worse than asking again. */
  end(): StreamEvent {
    if (this.#finishReason === undefined) throw this.#failed('the stream broke off');
    if (this.#usage === undefined) throw this.#failed('no usage in the stream');
    // Some servers end an answer by `stop` when the call was demanded.
    const isCall = this.#calls.length > 0 && this.#finishReason === 'stop';
    const finishReason = isCall ? 'tool-calls' : this.#finishReason;
    if (finishReason === 'tool-calls' && this.#calls.length === 0) throw this.#failed('no calls');
    return { type: 'end', finishReason, usage: this.#usage };
  }

  #take(data: string): void {
    if (data === '[DONE]') {
      this.isDone = true;
      return;
    }
    const chunk = this.#parse(data);
    if (chunk.error !== undefined) throw this.#failed('an error in the stream');
    const choice = chunk.choices?.[0];
    const text = choice?.delta?.content;
    if (typeof text === 'string' && text !== '') this.#pieces.push({ type: 'delta', text });
    for (const call of choice?.delta?.tool_calls ?? []) this.#takeCall(call);
    const finish = choice?.finish_reason;
    if (finish === 'stop' || finish === 'length') this.#finishReason = finish;
    else if (finish === 'tool_calls') this.#finishReason = 'tool-calls';
    else if (finish) throw this.#failed('neither stop, length nor tool_calls');
    const promptTokens = chunk.usage?.prompt_tokens;
    const completionTokens = chunk.usage?.completion_tokens;
    if (isCount(promptTokens) && isCount(completionTokens)) {
      this.#usage = { promptTokens, completionTokens };
    }
  }

  /** Takes a piece of a call. Ids are the server's own, and no two servers' are alike: left out. */
  #takeCall({ index = 0, function: called }: CallChunk): void {
    const written = called?.arguments ?? '';
    const name = called?.name ?? '';
    const isKnown = this.#calls[index as number] !== undefined;
    const isNext = index === this.#calls.length && isName(name);
    if (typeof written !== 'string' || (!isKnown && !isNext)) {
      throw this.#failed('calls out of their order');
    }
    if (!isKnown) this.#calls.push(name as string);
    const opening = isKnown ? {} : { name: name as string };
    this.#pieces.push({
      type: 'tool-call',
      index: index as number,
      ...opening,
      arguments: written,
    });
  }

  #parse(data: string): Chunk {
    let value: unknown;
    try {
      value = JSON.parse(data);
    } catch {
      // No cause: the parser quotes the answer.
    }
    if (typeof value !== 'object' || value === null) throw this.#failed('not JSON');
    return value;
  }
}

/** The parts of a `chat.completion.chunk` that are read; none is taken for granted. */
interface Chunk {
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: unknown;
      readonly tool_calls?: readonly CallChunk[] | null;
    };
    readonly finish_reason?: unknown;
  }[];
  readonly usage?: {
    readonly prompt_tokens?: unknown;
    readonly completion_tokens?: unknown;
  } | null;
  readonly error?: unknown;
}

interface CallChunk {
  readonly index?: unknown;
  readonly function?: { readonly name?: unknown; readonly arguments?: unknown };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function toBody(model: string, request: ChatRequest, seed: number): unknown {
  const { stop, tools, toolChoice, parallelToolCalls } = request;
  return {
    model,
    messages: request.messages.map(toMessage),
    max_tokens: request.maxTokens,
    temperature: request.temperature,
    top_p: request.topP,
    seed,
    stream: true,
    stream_options: { include_usage: true },
    stop,
    tools: tools?.map((tool) => ({ type: 'function', function: tool })),
    tool_choice: typeof toolChoice === 'object' ? named(toolChoice.name) : toolChoice,
    parallel_tool_calls: parallelToolCalls,
    response_format: formatOf(request),
  };
}

function toMessage({ role, content, toolCalls, toolCallId }: ChatMessage): unknown {
  const calls = toolCalls?.map(({ id, name, arguments: written }) => ({
    id,
    type: 'function',
    function: { name, arguments: written },
  }));
  return { role, content, tool_calls: calls, tool_call_id: toolCallId };
}

function named(name: string): unknown {
  return { type: 'function', function: { name } };
}

function formatOf({ responseFormat }: ChatRequest): unknown {
  if (responseFormat?.type !== 'json-schema') {
    return responseFormat === undefined ? undefined : { type: 'json_object' };
  }
  const { name, schema, strict } = responseFormat;
  return { type: 'json_schema', json_schema: { name, schema, strict } };
}
