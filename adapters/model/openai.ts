/**
 * A model behind an OpenAI-compatible server: llama.cpp's, vLLM, Ollama, or a hosted one.
 * @see https://platform.openai.com/docs/api-reference/chat-streaming
 */
import { createParser } from 'eventsource-parser';
import { EngineError } from '../../domain/errors.js';
import type { ChatRequest, ChatResult, StreamEvent, TokenUsage } from '../../domain/task.js';
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
    const any = AbortSignal.any([signal, silence.signal, closing.signal]);
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
  #deltas: StreamEvent[] = [];
  #finishReason: ChatResult['finishReason'] | undefined;
  #usage: TokenUsage | undefined;
  isDone = false;

  constructor(failed: (reason: string) => EngineError) {
    this.#failed = failed;
  }

  /** Takes bytes as they arrive, and gives the text that they complete. */
  feed(bytes: Uint8Array): StreamEvent[] {
    this.#deltas = [];
    this.#parser.feed(this.#decoder.decode(bytes, { stream: true }));
    return this.#deltas;
  }

  /** The last event.
   * @throws BACKEND_FAILED — the stream broke off, or did not say what was used: billing by a guess
   *   would be worse than asking again. */
  end(): StreamEvent {
    if (this.#finishReason === undefined) throw this.#failed('the stream broke off');
    if (this.#usage === undefined) throw this.#failed('no usage in the stream');
    return { type: 'end', finishReason: this.#finishReason, usage: this.#usage };
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
    if (typeof text === 'string' && text !== '') this.#deltas.push({ type: 'delta', text });
    const finish = choice?.finish_reason;
    if (finish === 'stop' || finish === 'length') this.#finishReason = finish;
    else if (finish) throw this.#failed('neither stop nor length');
    const promptTokens = chunk.usage?.prompt_tokens;
    const completionTokens = chunk.usage?.completion_tokens;
    if (isCount(promptTokens) && isCount(completionTokens)) {
      this.#usage = { promptTokens, completionTokens };
    }
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
    readonly delta?: { readonly content?: unknown };
    readonly finish_reason?: unknown;
  }[];
  readonly usage?: {
    readonly prompt_tokens?: unknown;
    readonly completion_tokens?: unknown;
  } | null;
  readonly error?: unknown;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function toBody(model: string, request: ChatRequest, seed: number): unknown {
  return {
    model,
    messages: request.messages,
    max_tokens: request.maxTokens,
    temperature: request.temperature,
    top_p: request.topP,
    seed,
    stream: true,
    stream_options: { include_usage: true },
  };
}
