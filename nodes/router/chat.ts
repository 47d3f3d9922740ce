/**
 * OpenAI's chat completions: what is read of a request, and the exact shapes of the answers.
 * @see https://platform.openai.com/docs/api-reference/chat
 */
import { z } from 'zod';
import type { AnswerParts } from '../../domain/answer-parts.js';
import { parseChatRequest } from '../../domain/chat.js';
import { EngineError } from '../../domain/errors.js';
import type { ChatMessage, ChatRequest, InferenceRequest, TokenUsage } from '../../domain/task.js';
import { utf8Bytes } from '../../domain/utf8.js';
import type { ErrorBody } from '../../domain/api.js';
import type { TaskId } from '../../domain/ids.js';
import { contextSchema, type Grounded } from './context.js';
import { toolCallId } from '../../domain/tools.js';
import { sseEvent } from './sse.js';
import {
  chatCalls,
  chatFormat,
  chatToolChoice,
  chatTools,
  extrasOf,
  stopSchema,
  toToolCall,
  type Extras,
} from './tools.js';
import type { TranscriptEvent } from './transcript.js';

const DEFAULT_MAX_TOKENS = 512;

const textPart = z.object({ type: z.literal('text'), text: z.string() });
/** Known, so that who sends one is told what is the matter. */
const otherPart = z.looseObject({ type: z.enum(['image_url', 'input_audio', 'file']) });
const content = z.union([z.string(), z.array(z.union([textPart, otherPart])).min(1)]);
const message = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
  /** An assistant that only called tools has none. */
  content: content.nullish(),
  tool_calls: chatCalls,
  tool_call_id: z.string().min(1).max(128).optional(),
});

/** What the bodies of all of OpenAI's text endpoints have in common. */
export const tokenLimit = z.number().int().min(1).max(4_096);
export const sampling = {
  model: z.string().min(1).max(200),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  stream: z.boolean().nullish(),
  /** Ours: the session that pays. */
  session_id: z.string().optional(),
  /** Ours: sources of the caller that the answer is to rely on. */
  context: contextSchema.nullish(),
};
export const streamOptions = z.looseObject({ include_usage: z.boolean().optional() }).nullish();
/** A field that may be left out, or say that there is nothing. */
export const nothing = z.null().optional();
export const noItems = z.array(z.never()).max(0).nullish();

/** Body of `POST /v1/chat/completions`. Fields that change nothing here are let through. */
export const chatSchema = z.looseObject({
  ...sampling,
  messages: z.array(message).min(1).max(1_000),
  max_tokens: tokenLimit.nullish(),
  max_completion_tokens: tokenLimit.nullish(),
  stream_options: streamOptions,
  n: z.literal(1).nullish(),
  stop: stopSchema,
  seed: z.int().nullish(),
  tools: chatTools,
  tool_choice: chatToolChoice,
  parallel_tool_calls: z.boolean().nullish(),
  functions: noItems,
  function_call: z.enum(['none', 'auto']).nullish(),
  logprobs: z.literal(false).nullish(),
  top_logprobs: z.literal(0).nullish(),
  logit_bias: z.strictObject({}).nullish(),
  response_format: chatFormat,
  presence_penalty: z.literal(0).nullish(),
  frequency_penalty: z.literal(0).nullish(),
  reasoning_effort: z.literal('none').nullish(),
  modalities: z.array(z.literal('text')).nullish(),
  audio: nothing,
  prediction: nothing,
  web_search_options: nothing,
});
export type ChatBody = z.infer<typeof chatSchema>;

/** Asked for, these would change the answer, and no miner can be held to it: better refused. */
export const CHAT_UNSUPPORTED: ReadonlySet<string> = new Set([
  'n',
  'functions',
  'function_call',
  'logprobs',
  'top_logprobs',
  'logit_bias',
  'presence_penalty',
  'frequency_penalty',
  'reasoning_effort',
  'modalities',
  'audio',
  'prediction',
  'web_search_options',
]);

/** A request's fields that decide the answer, whatever body they came in. */
export interface Ask {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  readonly maxTokens: number;
  readonly temperature: number | null | undefined;
  readonly topP: number | null | undefined;
  /** Beyond text. */
  readonly extras?: Extras;
}

/** What a chat body asks for.
 * @throws FEATURE_UNSUPPORTED — images, sound or files, or a seed that would be broken. */
export function askOfChat(body: ChatBody): Ask {
  if (body.seed != null && (body.temperature ?? 0) > 0) {
    throw new EngineError('FEATURE_UNSUPPORTED', {
      field: 'seed',
      expected: 'temperature 0: each task has its own seed, which miners are compared by',
    });
  }
  const { tool_choice: choice, response_format: format } = body;
  return {
    model: body.model,
    messages: body.messages.map(toMessage),
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? DEFAULT_MAX_TOKENS,
    temperature: body.temperature,
    topP: body.top_p,
    extras: extrasOf({
      stop: body.stop,
      tools: body.tools?.map((tool) => tool.function),
      choice: typeof choice === 'object' ? choice?.function : choice,
      parallel: body.parallel_tool_calls,
      format: format?.type === 'json_schema' ? format.json_schema : format?.type,
    }),
  };
}

/** The request as miners get it. Temperature is 0 unless asked for: answers are compared.
 * @throws PROMPT_INVALID — nothing to answer, or text that is not well-formed Unicode.
 * @throws PROMPT_TOO_LARGE — more than `maxPromptBytes` of UTF-8. */
export function toChatRequest(ask: Ask, maxPromptBytes: number): ChatRequest {
  const { model, messages, maxTokens, temperature, topP, extras } = ask;
  if (messages.every(({ content: text }) => text.trim() === '')) {
    throw new EngineError('PROMPT_INVALID', { expected: 'some text' });
  }
  if (messages.some(({ content: text }) => /\p{Surrogate}/u.test(text))) {
    throw new EngineError('PROMPT_INVALID', { expected: 'well-formed Unicode' });
  }
  const request = { model, messages, maxTokens, temperature: temperature ?? 0, topP: topP ?? 1 };
  const whole = parseChatRequest({ ...request, ...extras });
  if (promptBytes(whole) > maxPromptBytes) {
    throw new EngineError('PROMPT_TOO_LARGE', { maxPromptBytes });
  }
  return whole;
}

/** UTF-8 of all that a model reads of a request: messages, calls, tools and schemas; or texts. */
export function promptBytes(request: InferenceRequest): number {
  if ('kind' in request) return request.input.reduce((sum, text) => sum + utf8Bytes(text), 0);
  const { messages, tools, responseFormat } = request;
  const read = [...(messages ?? []).map(({ toolCalls }) => toolCalls), tools, responseFormat];
  const texts = read.filter((part) => part !== undefined).map((part) => JSON.stringify(part));
  const contents = (messages ?? []).map(({ content: text }) => text);
  return [...contents, ...texts].reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}

function toMessage(asked: z.infer<typeof message>, i: number): ChatMessage {
  const { role, content: parts, tool_calls: calls, tool_call_id: toolCallId } = asked;
  const field = `messages.${i}`;
  if (role === 'function') throw unsupported(`${field}.role`, role);
  const hasCalls = role === 'assistant' && calls != null && calls.length > 0;
  if (parts == null && !hasCalls) {
    throw new EngineError('REQUEST_INVALID', { field: `${field}.content`, expected: 'a text' });
  }
  return {
    role: role === 'developer' ? 'system' : role,
    content: parts == null ? '' : textOf(parts, field),
    ...(hasCalls ? { toolCalls: calls.map(toToolCall) } : {}),
    ...(role === 'tool' && toolCallId !== undefined ? { toolCallId } : {}),
  };
}

function textOf(parts: z.infer<typeof content>, field: string): string {
  if (typeof parts === 'string') return parts;
  return parts
    .map((part) => {
      if (part.type === 'text') return part.text as string;
      throw unsupported(`${field}.content`, part.type);
    })
    .join('');
}

/** @returns the error for a part of a conversation that no backend takes. */
export function unsupported(field: string, found: string): EngineError {
  return new EngineError('FEATURE_UNSUPPORTED', { field, found, expected: 'text' });
}

/** What all parts of one answer have in common. */
export interface AnswerHead {
  readonly taskId: TaskId;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  /** Of a request with a context: where its passages are from is known when the answer ends. */
  readonly grounded?: Pick<Grounded, 'citations'>;
}

/** Where the passages of an answer are from, as a field of it; nothing where it had no context. */
export function citedIn({ grounded }: AnswerHead): object {
  return grounded === undefined ? {} : { cortensor: { citations: grounded.citations } };
}

/** What was answered. */
export type Said = Pick<AnswerParts, 'text' | 'calls'>;

/** How an endpoint writes an answer. */
export interface AnswerShape {
  /** The answer in one piece. */
  whole(head: AnswerHead, said: Said, end: EndEvent): object;
  /** Writes a stream: called for every event from the first, also for what the client has already.
   * @returns what is sent for an event, as server-sent events. */
  stream(head: AnswerHead): (event: TranscriptEvent) => string;
  /** Written when the last event is out. */
  readonly last: string;
  /** An error in the middle of a stream. */
  failure(error: ErrorBody): string;
}

export type EndEvent = Extract<TranscriptEvent, { type: 'end' }>;

export const DONE = sseEvent('[DONE]');

/** The id of an answer: the same for the same task. */
export function answerId(prefix: string, { taskId }: AnswerHead): string {
  return `${prefix}${taskId.slice(2, 34)}`;
}

/** `chat.completion` and its chunks.
 * @param hasUsage - `stream_options.include_usage`: a last chunk with the usage, which is `null` in
 *   the others. */
export function chatShape(hasUsage: boolean): AnswerShape {
  const headOf = (head: AnswerHead, object: string) => {
    const { created, model } = head;
    return { id: answerId('chatcmpl-', head), created, model, object };
  };
  return {
    whole(head, { text, calls }, end) {
      const content = text === '' && calls.length > 0 ? null : text;
      const tool_calls = calls.map(({ name, arguments: written }, i) => ({
        id: toolCallId(head.taskId, i),
        type: 'function',
        function: { name, arguments: written },
      }));
      const called = calls.length > 0 ? { tool_calls } : {};
      const answer = { role: 'assistant', content, refusal: null, ...called };
      const finish_reason = finishOf(end);
      return {
        ...headOf(head, 'chat.completion'),
        choices: [{ index: 0, message: answer, logprobs: null, finish_reason }],
        usage: usageOf(end.usage),
        ...citedIn(head),
      };
    },
    stream(head) {
      const part = headOf(head, 'chat.completion.chunk');
      return chunkWriter(head, part, hasUsage, (event) => {
        const delta = deltaOf(head, event);
        const reason = event.type === 'end' ? finishOf(event) : null;
        return { index: 0, delta, logprobs: null, finish_reason: reason };
      });
    },
    last: DONE,
    failure: (error) => sseEvent(error),
  };
}

function deltaOf(head: AnswerHead, event: TranscriptEvent): object {
  if (event.type === 'start') return { role: 'assistant', content: '' };
  if (event.type === 'delta') return { content: event.text };
  if (event.type === 'end') return {};
  const { call: index, name, arguments: written } = event;
  const opening =
    name === undefined ? {} : { id: toolCallId(head.taskId, index), type: 'function' as const };
  const called = { ...(name === undefined ? {} : { name }), arguments: written };
  return { tool_calls: [{ index, ...opening, function: called }] };
}

/** Why an answer ended, in OpenAI's words. */
export function finishOf({ finishReason }: EndEvent): 'stop' | 'length' | 'tool_calls' {
  if (finishReason === 'tool-calls') return 'tool_calls';
  return finishReason === 'length' ? 'length' : 'stop';
}

/** Writes a chunk an event. Where passages are from comes in one of its own before the last, and the usage
 * in one after it where it is asked for.
 * @param part - what every chunk has.
 * @param choiceOf - the only choice of a chunk. */
export function chunkWriter(
  head: AnswerHead,
  part: object,
  hasUsage: boolean,
  choiceOf: (event: TranscriptEvent) => object,
): (event: TranscriptEvent) => string {
  const noUsage = hasUsage ? { usage: null } : {};
  return (event) => {
    const chunk = sseEvent({ ...part, choices: [choiceOf(event)], ...noUsage }, event.index);
    if (event.type !== 'end') return chunk;
    const cited = { ...part, choices: [], ...noUsage, ...citedIn(head) };
    const chunks = head.grounded === undefined ? chunk : sseEvent(cited, event.index) + chunk;
    if (!hasUsage) return chunks;
    return chunks + sseEvent({ ...part, choices: [], usage: usageOf(event.usage) }, event.index);
  };
}

export function usageOf({ promptTokens, completionTokens }: TokenUsage) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}
