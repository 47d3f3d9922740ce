/**
 * OpenAI's chat completions: what is read of a request, and the exact shapes of the answers.
 * @see https://platform.openai.com/docs/api-reference/chat
 */
import { z } from 'zod';
import { EngineError } from '../../domain/errors.js';
import type { ChatMessage, ChatRequest, TokenUsage } from '../../domain/task.js';
import type { TranscriptEvent } from './transcript.js';

const DEFAULT_MAX_TOKENS = 512;

const textPart = z.object({ type: z.literal('text'), text: z.string() });
const content = z.union([z.string(), z.array(textPart).min(1)]);
const message = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content,
});
const tokenLimit = z.number().int().min(1).max(4_096);
/** Asked for, it would change the answer, and no miner can be held to it: better refused. */
const unsupported = z.null().optional();

/** Body of `POST /v1/chat/completions`. Fields that change nothing here are let through. */
export const chatSchema = z.looseObject({
  model: z.string().min(1).max(200),
  messages: z.array(message).min(1).max(1_000),
  max_tokens: tokenLimit.nullish(),
  max_completion_tokens: tokenLimit.nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  n: z.literal(1).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
  stop: unsupported,
  tools: unsupported,
  functions: unsupported,
  logprobs: z.literal(false).nullish(),
  response_format: z.object({ type: z.literal('text') }).nullish(),
  presence_penalty: z.literal(0).nullish(),
  frequency_penalty: z.literal(0).nullish(),
  /** Ours: the session that pays. */
  session_id: z.string().optional(),
});
export type ChatBody = z.infer<typeof chatSchema>;

/** The request as miners get it. Temperature is 0 unless asked for: answers are compared.
 * @throws PROMPT_INVALID — nothing to answer, or text that is not well-formed Unicode.
 * @throws PROMPT_TOO_LARGE — more than `maxPromptBytes` of UTF-8. */
export function toChatRequest(body: ChatBody, maxPromptBytes: number): ChatRequest {
  const messages = body.messages.map(toMessage);
  if (messages.every(({ content: text }) => text.trim() === '')) {
    throw new EngineError('PROMPT_INVALID', { expected: 'some text' });
  }
  if (messages.some(({ content: text }) => /\p{Surrogate}/u.test(text))) {
    throw new EngineError('PROMPT_INVALID', { expected: 'well-formed Unicode' });
  }
  if (promptBytes(messages) > maxPromptBytes) {
    throw new EngineError('PROMPT_TOO_LARGE', { maxPromptBytes });
  }
  return {
    model: body.model,
    messages,
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? DEFAULT_MAX_TOKENS,
    temperature: body.temperature ?? 0,
    topP: body.top_p ?? 1,
  };
}

function promptBytes(messages: readonly ChatMessage[]): number {
  return messages.reduce((sum, { content: text }) => sum + Buffer.byteLength(text), 0);
}

function toMessage({ role, content: parts }: z.infer<typeof message>): ChatMessage {
  const text = typeof parts === 'string' ? parts : parts.map((part) => part.text).join('');
  return { role: role === 'developer' ? 'system' : role, content: text };
}

/** What all parts of one answer have in common. */
export interface CompletionHead {
  /** `chatcmpl-…`, of the task's id: the same for the same task. */
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
}

/** The answer in one piece. */
export function completion(
  head: CompletionHead,
  text: string,
  end: Extract<TranscriptEvent, { type: 'end' }>,
) {
  const answer = { role: 'assistant', content: text, refusal: null };
  return {
    ...head,
    object: 'chat.completion',
    choices: [{ index: 0, message: answer, logprobs: null, finish_reason: end.finishReason }],
    usage: usageOf(end.usage),
  };
}

/** The chunks that one event of the transcript becomes.
 * @param hasUsage - `stream_options.include_usage`: a last chunk with the usage, which is `null`
 *   in the others. */
export function chunks(
  head: CompletionHead,
  event: TranscriptEvent,
  hasUsage: boolean,
): readonly object[] {
  const part = { ...head, object: 'chat.completion.chunk' };
  const noUsage = hasUsage ? { usage: null } : {};
  const choice = (delta: object, finishReason: string | null) => ({
    ...part,
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
    ...noUsage,
  });
  switch (event.type) {
    case 'start':
      return [choice({ role: 'assistant', content: '' }, null)];
    case 'delta':
      return [choice({ content: event.text }, null)];
    case 'end': {
      const last = choice({}, event.finishReason);
      return hasUsage ? [last, { ...part, choices: [], usage: usageOf(event.usage) }] : [last];
    }
  }
}

function usageOf({ promptTokens, completionTokens }: TokenUsage) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}
