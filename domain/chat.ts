/** Requests and results of unknown origin, checked field by field before anything relies on them. */
import { EngineError } from './errors.js';
import type { ChatMessage, ChatRequest, ChatResult, StreamEvent, TokenUsage } from './task.js';

const ROLES: readonly ChatMessage['role'][] = ['system', 'user', 'assistant'];
const FINISH_REASONS: readonly ChatResult['finishReason'][] = ['stop', 'length'];
/** Most tokens that one answer may have. */
export const MAX_COMPLETION_TOKENS = 4_096;

/** Around each message and each prompt, a chat template adds tokens of its own. */
const TEMPLATE_TOKENS_PER_MESSAGE = 16;
const TEMPLATE_TOKENS = 64;

/** The most tokens that a prompt can have: byte-level vocabularies have none below one byte. What a
 * session reserves for, and no more than which is ever billed. */
export function maxPromptTokensOf({ messages }: Pick<ChatRequest, 'messages'>): number {
  const templates = TEMPLATE_TOKENS + TEMPLATE_TOKENS_PER_MESSAGE * messages.length;
  return messages.reduce((sum, { content }) => sum + utf8Bytes(content), templates);
}

/** Counts the bytes of a text's UTF-8. */
export function utf8Bytes(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x1_0000 ? 3 : 4;
  }
  return bytes;
}

/** Checks a request in plain form.
 * @throws PROMPT_INVALID — with the field, and what was expected of it. */
export function parseChatRequest(value: unknown): ChatRequest {
  const fields = record(value, 'request', 'PROMPT_INVALID');
  const { model, messages, maxTokens, temperature, topP } = fields;
  if (typeof model !== 'string' || model === '') throw invalid('model', 'the name of a model');
  if (!Array.isArray(messages) || messages.length === 0) {
    throw invalid('messages', 'at least one message');
  }
  return {
    model,
    messages: messages.map(parseMessage),
    maxTokens: number(maxTokens, 'maxTokens', 1, MAX_COMPLETION_TOKENS, true),
    temperature: number(temperature, 'temperature', 0, 2),
    topP: number(topP, 'topP', 0, 1),
  };
}

/** Checks a result in plain form.
 * @throws REQUEST_INVALID — with the field, and what was expected of it. */
export function parseChatResult(value: unknown): ChatResult {
  const { model, text, finishReason, usage } = record(value, 'result', 'REQUEST_INVALID');
  if (typeof model !== 'string') throw unfit('model', 'the name of a model');
  if (typeof text !== 'string') throw unfit('text', 'a text');
  return { model, text, finishReason: parseFinishReason(finishReason), usage: parseUsage(usage) };
}

/** Checks what was inside a frame of a task's stream.
 * @throws REQUEST_INVALID — with the field, and what was expected of it. */
export function parseStreamEvent(value: unknown): StreamEvent {
  const { type, text, finishReason, usage } = record(value, 'event', 'REQUEST_INVALID');
  if (type === 'delta' && typeof text === 'string') return { type, text };
  if (type === 'end') {
    return { type, finishReason: parseFinishReason(finishReason), usage: parseUsage(usage) };
  }
  throw unfit('type', 'delta | end');
}

function parseMessage(value: unknown): ChatMessage {
  const { role, content } = record(value, 'messages', 'PROMPT_INVALID');
  const known = ROLES.find((r) => r === role);
  if (known === undefined) throw invalid('role', ROLES.join(' | '));
  if (typeof content !== 'string') throw invalid('content', 'a text');
  return { role: known, content };
}

function parseFinishReason(value: unknown): ChatResult['finishReason'] {
  const known = FINISH_REASONS.find((r) => r === value);
  if (known === undefined) throw unfit('finishReason', FINISH_REASONS.join(' | '));
  return known;
}

function parseUsage(value: unknown): TokenUsage {
  const { promptTokens, completionTokens } = record(value, 'usage', 'REQUEST_INVALID');
  if (!isCount(promptTokens) || !isCount(completionTokens)) throw unfit('usage', 'token counts');
  return { promptTokens, completionTokens };
}

/** Token counts are `uint32` on chain. */
function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32;
}

function record(
  value: unknown,
  field: string,
  code: 'PROMPT_INVALID' | 'REQUEST_INVALID',
): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) {
    throw new EngineError(code, { field, expected: 'an object' });
  }
  return value as Record<string, unknown>;
}

function number(value: unknown, field: string, min: number, max: number, isWhole = false): number {
  const isNumber = typeof value === 'number' && value >= min && value <= max;
  if (!isNumber || (isWhole && !Number.isInteger(value))) {
    throw invalid(field, `${isWhole ? 'an integer' : 'a number'} from ${min} to ${max}`);
  }
  return value;
}

function invalid(field: string, expected: string): EngineError {
  return new EngineError('PROMPT_INVALID', { field, expected });
}

function unfit(field: string, expected: string): EngineError {
  return new EngineError('REQUEST_INVALID', { field, expected });
}
