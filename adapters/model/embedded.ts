/**
 * A GGUF model inside the process, under llama.cpp's CPU build. Made to be repeated: what a request
 * and a seed gave once, they give on every machine of one build, because each generation has the
 * model to itself, starts from an empty cache, and reads its prompt in batches of fixed length
 * (sums of floats depend on how work is batched).
 */
import {
  getLlama,
  LlamaGrammarEvaluationState,
  LlamaLogLevel,
  resolveChatWrapper,
  type ChatHistoryItem,
  type ChatWrapper,
  type LlamaContextSequence,
  type LlamaGrammar,
  type LlamaModel,
  type Token,
} from 'node-llama-cpp';
import { anyOf } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import type { ModelFeature } from '../../domain/features.js';
import type { ChatMessage, ChatRequest, StreamEvent } from '../../domain/task.js';
import type { GenerateOptions, InferenceBackend } from './backend.js';
import {
  callSchema,
  DemandedCall,
  demandedTools,
  tellOfTools,
  writtenOut,
} from './demanded-call.js';
import { toGrammarSchema } from './grammar-schema.js';
import { StopText } from './stop-text.js';
import { TokenText } from './token-text.js';
import { Turns } from './turns.js';

/** Tokens of a prompt that are read in one go; between two goes an abort is noticed. */
const BATCH_TOKENS = 128;
const DEFAULT_CONTEXT_TOKENS = 4_096;
/** Candidates that sampling looks at; llama.cpp's own default. */
const TOP_K = 40;

/** Loads a model. Generations of one backend run one after the other.
 * @param options - `path`: GGUF file; `threads`: 1 where not given, and never more than cores, which
 *   makes llama.cpp a hundred times slower; `contextTokens`: prompt and answer together, 4,096 where
 *   not given.
 * @throws BACKEND_FAILED — no such file, not a model, or no memory for it. */
export async function openEmbeddedModel(options: {
  readonly path: string;
  readonly name: string;
  readonly threads?: number;
  readonly contextTokens?: number;
}): Promise<InferenceBackend> {
  const { path, name, threads = 1, contextTokens = DEFAULT_CONTEXT_TOKENS } = options;
  try {
    const llama = await getLlama({
      gpu: false,
      // Only the binary that came with the package: nothing is compiled or downloaded.
      build: 'never',
      skipDownload: true,
      progressLogs: false,
      logLevel: LlamaLogLevel.disabled,
      maxThreads: threads,
    });
    const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
    const context = await model.createContext({
      contextSize: contextTokens,
      batchSize: BATCH_TOKENS,
      sequences: 1,
      threads,
    });
    const parts = { model, contextTokens, sequence: context.getSequence() };
    return new EmbeddedModel(name, parts, () => llama.dispose());
  } catch (cause) {
    throw new EngineError('BACKEND_FAILED', { model: name, reason: 'not loaded' }, { cause });
  }
}

class EmbeddedModel implements InferenceBackend {
  readonly model: string;
  /** No `tools`: a model of this size cannot be trusted to know when a call is called for. */
  readonly features: readonly ModelFeature[] = [
    'stop',
    'json-object',
    'json-schema',
    'tool-choice',
  ];
  readonly #llama: LlamaModel;
  readonly #contextTokens: number;
  readonly #sequence: LlamaContextSequence;
  readonly #chat: ChatWrapper;
  readonly #dispose: () => Promise<void>;
  readonly #turns = new Turns();
  readonly #closing = new AbortController();

  constructor(
    name: string,
    parts: { model: LlamaModel; contextTokens: number; sequence: LlamaContextSequence },
    dispose: () => Promise<void>,
  ) {
    this.model = name;
    this.#llama = parts.model;
    this.#contextTokens = parts.contextTokens;
    this.#sequence = parts.sequence;
    this.#chat = resolveChatWrapper(parts.model);
    this.#dispose = dispose;
  }

  async *generate(request: ChatRequest, options: GenerateOptions): AsyncGenerator<StreamEvent> {
    const signal = anyOf(options.signal, this.#closing.signal);
    signal.throwIfAborted();
    const demanded = demandedTools(request);
    const { messages } = request;
    const prompt = this.#tokenize(demanded.length > 0 ? tellOfTools(messages, demanded) : messages);
    const room = this.#contextTokens - prompt.length;
    if (room < 1) {
      throw new EngineError('PROMPT_TOO_LARGE', {
        tokens: prompt.length,
        maxTokens: this.#contextTokens - 1,
      });
    }
    const endTurn = await this.#turns.take(signal);
    try {
      const limit = Math.min(request.maxTokens, room);
      yield* this.#run(prompt, { request, seed: options.seed, limit, signal });
    } catch (cause) {
      if (options.signal.aborted || cause instanceof EngineError) throw cause;
      throw new EngineError('BACKEND_FAILED', { model: this.model }, { cause });
    } finally {
      endTurn();
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new EngineError('BACKEND_FAILED', { model: this.model, reason: 'closed' }));
    await this.#turns.take();
    await this.#dispose();
  }

  async *#run(
    prompt: readonly Token[],
    job: { request: ChatRequest; seed: number; limit: number; signal: AbortSignal },
  ): AsyncGenerator<StreamEvent> {
    const rest = await this.#read(prompt, job.signal);
    const text = new TokenText(this.#llama);
    let completionTokens = 0;
    let isCut = false;
    const grammar = await this.#grammarOf(job.request);
    const call = demandedTools(job.request).length > 0 ? new DemandedCall() : null;
    // A grammar goes on with empty lines once the answer is whole.
    const ends = (grammar?.stopGenerationTriggers ?? []).map((end) => String(end));
    const words = call === null ? (job.request.stop ?? []) : [];
    const stops = new StopText([...words, ...ends]);
    const eventsOf = (delta: string): readonly StreamEvent[] => {
      if (call !== null) return call.add(delta);
      return delta === '' ? [] : [{ type: 'delta', text: delta }];
    };
    const tokens = this.#sequence.evaluate(rest, {
      temperature: job.request.temperature,
      topP: job.request.topP,
      topK: TOP_K,
      minP: 0,
      seed: job.seed,
      ...(grammar === null
        ? {}
        : {
            grammarEvaluationState: new LlamaGrammarEvaluationState({
              model: this.#llama,
              grammar,
            }),
          }),
    });
    for await (const token of tokens) {
      job.signal.throwIfAborted();
      completionTokens++;
      yield* eventsOf(stops.add(text.add(token)));
      if (stops.isStopped) break;
      isCut = completionTokens >= job.limit;
      if (isCut) break;
    }
    yield* eventsOf(stops.add(text.end()) + stops.end());
    if (call !== null) yield* call.end();
    const isShort = call === null ? isCut && !stops.isStopped : !call.isWhole;
    const finishReason = isShort ? 'length' : call === null ? 'stop' : 'tool-calls';
    const usage = { promptTokens: prompt.length, completionTokens };
    yield { type: 'end', finishReason, usage };
  }

  /** @throws FEATURE_UNSUPPORTED — a schema that no grammar can be made of. */
  async #grammarOf(request: ChatRequest): Promise<LlamaGrammar | null> {
    const { responseFormat } = request;
    const { llama } = this.#llama;
    const tools = demandedTools(request);
    if (tools.length > 0) return llama.createGrammarForJsonSchema(callSchema(tools));
    if (responseFormat === undefined) return null;
    if (responseFormat.type === 'json-object') return llama.getGrammarFor('json');
    return llama.createGrammarForJsonSchema(toGrammarSchema(responseFormat.schema));
  }

  /** Reads all of the prompt but its last batch, which the caller evaluates. */
  async #read(prompt: readonly Token[], signal: AbortSignal): Promise<Token[]> {
    await this.#sequence.clearHistory();
    let at = 0;
    for (; prompt.length - at > BATCH_TOKENS; at += BATCH_TOKENS) {
      signal.throwIfAborted();
      const batch = prompt.slice(at, at + BATCH_TOKENS);
      await this.#sequence.evaluateWithoutGeneratingNewTokens(batch);
    }
    signal.throwIfAborted();
    return prompt.slice(at);
  }

  /** Renders the messages by the model's own template. Their contents are tokenized as plain text:
   * a control token that a user writes out stays text. */
  #tokenize(messages: readonly ChatMessage[]): Token[] {
    const chatHistory = messages.map(toHistoryItem);
    // Templates expect the turn that is to be written; an empty one opens it.
    chatHistory.push({ type: 'model', response: [] });
    const { contextText } = this.#chat.generateContextState({ chatHistory });
    return contextText.tokenize(this.#llama.tokenizer);
  }
}

function toHistoryItem(message: ChatMessage): ChatHistoryItem {
  switch (message.role) {
    case 'system':
      return { type: 'system', text: message.content };
    case 'user':
      return { type: 'user', text: message.content };
    case 'assistant':
      return { type: 'model', response: [writtenOut(message)] };
    case 'tool':
      return { type: 'user', text: message.content };
  }
}
