/** Requests and results of unknown origin, checked field by field before anything relies on them. */
import { parseEmbeddingRequest, vectorsOf } from './embedding.js';
import { EngineError } from './errors.js';
import type {
  ChatMessage,
  ChatRequest,
  ChatResult,
  EmbeddingRequest,
  InferenceRequest,
  StreamEvent,
  TokenUsage,
} from './task.js';
import { parseCalls, parseMessageCalls, parseToolFields } from './tools.js';
import { utf8Bytes } from './utf8.js';

const ROLES: readonly ChatMessage['role'][] = ['system', 'user', 'assistant', 'tool'];
const FINISH_REASONS: readonly ChatResult['finishReason'][] = [
  'stop',
  'length',
  'tool-calls',
  'embedding',
];
/** Most tokens that one answer may have. */
export const MAX_COMPLETION_TOKENS = 4_096;
const MAX_STOPS = 4;
const MAX_STOP_CHARS = 64;

/** Around each message and each prompt, a chat template adds tokens of its own. */
const TEMPLATE_TOKENS_PER_MESSAGE = 16;
const TEMPLATE_TOKENS = 64;
/** Around tools and schemas, a template explains what they are for. */
const INSTRUCTION_TOKENS = 512;

/** The most tokens that a prompt can have: byte-level vocabularies have none below one byte. What a
 * session reserves for, and no more than which is ever billed. */
export function maxPromptTokensOf(
  request: Omit<Partial<ChatRequest>, 'model'> | EmbeddingRequest,
): number {
  if ('input' in request) {
    return request.input.reduce(
      (sum, text) => sum + TEMPLATE_TOKENS_PER_MESSAGE + utf8Bytes(text),
      0,
    );
  }
  const { messages = [], tools, responseFormat } = request;
  const templates = TEMPLATE_TOKENS + TEMPLATE_TOKENS_PER_MESSAGE * messages.length;
  const extras = [tools, responseFormat].filter((extra) => extra !== undefined);
  return (
    messages.reduce((sum, message) => sum + messageBytes(message), templates) +
    extras.reduce((sum, extra) => sum + INSTRUCTION_TOKENS + utf8Bytes(JSON.stringify(extra)), 0)
  );
}

function messageBytes({ content, toolCalls = [], toolCallId = '' }: ChatMessage): number {
  return toolCalls.reduce(
    (sum, call) => sum + TEMPLATE_TOKENS_PER_MESSAGE + utf8Bytes(JSON.stringify(call)),
    utf8Bytes(content) + utf8Bytes(toolCallId),
  );
}

/** The most tokens that an answer can have; vectors have none. */
export function maxTokensOf(request: InferenceRequest): number {
  return 'kind' in request ? 0 : request.maxTokens;
}

/** Checks a request of either kind.
 * @throws PROMPT_INVALID — with the field, and what was expected of it. */
export function parseInferenceRequest(value: unknown): InferenceRequest {
  const fields = record(value, 'request', 'PROMPT_INVALID');
  const { kind } = fields;
  if (kind === 'embedding') return parseEmbeddingRequest(fields);
  if (kind !== undefined) throw invalid('kind', 'embedding, or none');
  return parseChatRequest(fields);
}

/** Checks a request in plain form.
 * @throws PROMPT_INVALID — with the field, and what was expected of it. */
export function parseChatRequest(value: unknown): ChatRequest {
  const fields = record(value, 'request', 'PROMPT_INVALID');
  const { model, messages, maxTokens, temperature, topP, stop } = fields;
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
    ...(stop === undefined ? {} : { stop: parseStop(stop) }),
    ...parseToolFields(fields),
  };
}

/** Checks a result in plain form.
 * @throws REQUEST_INVALID — with the field, and what was expected of it. */
export function parseChatResult(value: unknown): ChatResult {
  const fields = record(value, 'result', 'REQUEST_INVALID');
  const { model, text } = fields;
  if (typeof model !== 'string') throw unfit('model', 'the name of a model');
  if (typeof text !== 'string') throw unfit('text', 'a text');
  const finishReason = parseFinishReason(fields['finishReason']);
  const toolCalls = fields['toolCalls'] === undefined ? [] : parseCalls(fields['toolCalls']);
  if (finishReason === 'tool-calls' && toolCalls.length === 0) {
    throw unfit('toolCalls', 'at least one call');
  }
  if (finishReason === 'embedding' && vectorsOf({ text, finishReason }) === null) {
    throw unfit('text', 'unit vectors');
  }
  const usage = parseUsage(fields['usage']);
  return { model, text, finishReason, usage, ...(toolCalls.length > 0 ? { toolCalls } : {}) };
}

/** Checks what was inside a frame of a task's stream.
 * @throws REQUEST_INVALID — with the field, and what was expected of it. */
export function parseStreamEvent(value: unknown): StreamEvent {
  const fields = record(value, 'event', 'REQUEST_INVALID');
  const { type, text, finishReason, usage } = fields;
  if (type === 'delta' && typeof text === 'string') return { type, text };
  if (type === 'tool-call') {
    const { index, name, arguments: piece } = fields;
    const isKnown = Number.isInteger(index) && (name === undefined || typeof name === 'string');
    if (!isKnown || typeof piece !== 'string') throw unfit('tool-call', "a piece of a tool's call");
    return {
      type,
      index: index as number,
      ...(name === undefined ? {} : { name }),
      arguments: piece,
    };
  }
  if (type === 'end') {
    return { type, finishReason: parseFinishReason(finishReason), usage: parseUsage(usage) };
  }
  throw unfit('type', 'delta | tool-call | end');
}

function parseMessage(value: unknown): ChatMessage {
  const fields = record(value, 'messages', 'PROMPT_INVALID');
  const { role, content } = fields;
  const known = ROLES.find((r) => r === role);
  if (known === undefined) throw invalid('role', ROLES.join(' | '));
  if (typeof content !== 'string') throw invalid('content', 'a text');
  return { role: known, content, ...parseMessageCalls(known, fields) };
}

function parseStop(value: unknown): string[] {
  const isValid =
    Array.isArray(value) &&
    value.length >= 1 &&
    value.length <= MAX_STOPS &&
    value.every((stop) => typeof stop === 'string' && stop !== '' && stop.length <= MAX_STOP_CHARS);
  if (!isValid) {
    throw invalid('stop', `1 to ${MAX_STOPS} texts of 1 to ${MAX_STOP_CHARS} characters`);
  }
  return value as string[];
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
