/**
 * OpenAI's responses: one answer a call. Nothing is kept between calls but the task's own record, so
 * a conversation is sent whole each time.
 * @see https://platform.openai.com/docs/api-reference/responses
 */
import { z } from 'zod';
import type { ChatMessage, TokenUsage } from '../../domain/task.js';
import {
  answerId,
  noItems,
  nothing,
  sampling,
  tokenLimit,
  unsupported,
  type AnswerHead,
  type AnswerShape,
  type Ask,
  type EndEvent,
} from './chat.js';
import { sseEvent } from './sse.js';

const DEFAULT_MAX_TOKENS = 512;

const textPart = z.looseObject({ type: z.enum(['input_text', 'output_text']), text: z.string() });
/** Known, so that who sends one is told what is the matter. */
const otherPart = z.looseObject({
  type: z.enum(['input_image', 'input_file', 'input_audio', 'refusal']),
});
const message = z.looseObject({
  type: z.literal('message').optional(),
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content: z.union([z.string(), z.array(z.union([textPart, otherPart])).min(1)]),
});
const otherItem = z.looseObject({
  type: z.enum(['function_call', 'function_call_output', 'reasoning', 'item_reference']),
});

/** Body of `POST /v1/responses`. */
export const responsesSchema = z.looseObject({
  ...sampling,
  input: z.union([
    z.string(),
    z
      .array(z.union([message, otherItem]))
      .min(1)
      .max(1_000),
  ]),
  instructions: z.string().nullish(),
  max_output_tokens: tokenLimit.nullish(),
  previous_response_id: nothing,
  conversation: nothing,
  prompt: nothing,
  background: z.literal(false).nullish(),
  include: noItems,
  reasoning: nothing,
  text: z.looseObject({ format: z.looseObject({ type: z.literal('text') }).optional() }).nullish(),
  tools: noItems,
  tool_choice: z.enum(['none', 'auto']).nullish(),
  top_logprobs: z.literal(0).nullish(),
  truncation: z.literal('disabled').nullish(),
});
export type ResponsesBody = z.infer<typeof responsesSchema>;

export const RESPONSES_UNSUPPORTED: ReadonlySet<string> = new Set([
  'previous_response_id',
  'conversation',
  'prompt',
  'background',
  'include',
  'reasoning',
  'text',
  'tools',
  'tool_choice',
  'top_logprobs',
  'truncation',
]);

/** What such a body asks for.
 * @throws FEATURE_UNSUPPORTED — something else than text. */
export function askOfResponses(body: ResponsesBody): Ask {
  const { input, instructions } = body;
  const said = typeof input === 'string' ? [userMessage(input)] : input.map(toMessage);
  const told: ChatMessage[] = instructions ? [{ role: 'system', content: instructions }] : [];
  return {
    model: body.model,
    messages: [...told, ...said],
    maxTokens: body.max_output_tokens ?? DEFAULT_MAX_TOKENS,
    temperature: body.temperature,
    topP: body.top_p,
  };
}

function userMessage(content: string): ChatMessage {
  return { role: 'user', content };
}

type Item = Exclude<ResponsesBody['input'], string>[number];

function toMessage(item: Item, i: number): ChatMessage {
  const found = message.safeParse(item);
  if (!found.success) throw unsupported(`input.${i}`, String(item.type));
  const { role, content } = found.data;
  const text =
    typeof content === 'string'
      ? content
      : content.map((part) => {
          const { data } = textPart.safeParse(part);
          if (data === undefined) throw unsupported(`input.${i}.content`, part.type);
          return data.text;
        });
  return {
    role: role === 'developer' ? 'system' : role,
    content: typeof text === 'string' ? text : text.join(''),
  };
}

/** `response`, whole and as its events. */
export function responsesShape(body: ResponsesBody): AnswerShape {
  return {
    whole: (head, text, end) => ended(body, head, text, end),
    stream(head) {
      let sequence = 0;
      let text = '';
      const itemId = answerId('msg_', head);
      const at = { item_id: itemId, output_index: 0, content_index: 0 };
      return (event) => {
        const write = (type: string, fields: object) =>
          sseEvent({ type, sequence_number: sequence++, ...fields }, event.index, type);
        if (event.type === 'delta') {
          text += event.text;
          return write('response.output_text.delta', { ...at, delta: event.text, logprobs: [] });
        }
        if (event.type === 'start') {
          const response = responseOf(body, head, { status: 'in_progress', output: [] });
          return [
            write('response.created', { response }),
            write('response.in_progress', { response }),
            write('response.output_item.added', {
              output_index: 0,
              item: { ...itemOf(head, '', 'in_progress'), content: [] },
            }),
            write('response.content_part.added', { ...at, part: partOf('') }),
          ].join('');
        }
        const isWhole = event.finishReason === 'stop';
        const item = itemOf(head, text, isWhole ? 'completed' : 'incomplete');
        return [
          write('response.output_text.done', { ...at, text, logprobs: [] }),
          write('response.content_part.done', { ...at, part: partOf(text) }),
          write('response.output_item.done', { output_index: 0, item }),
          write(isWhole ? 'response.completed' : 'response.incomplete', {
            response: ended(body, head, text, event),
          }),
        ].join('');
      };
    },
    last: '',
    failure: (failed) => {
      const { code, message: text, param } = failed.error;
      const fields = { type: 'error', sequence_number: null, code, message: text, param };
      return sseEvent({ ...fields, ...failed }, undefined, 'error');
    },
  };
}

function ended(body: ResponsesBody, head: AnswerHead, text: string, end: EndEvent): object {
  const status = end.finishReason === 'stop' ? 'completed' : 'incomplete';
  return responseOf(body, head, {
    status,
    output: [itemOf(head, text, status)],
    usage: usageOf(end.usage),
    ...(status === 'incomplete' ? { incomplete_details: { reason: 'max_output_tokens' } } : {}),
  });
}

function responseOf(body: ResponsesBody, head: AnswerHead, state: object): object {
  return {
    id: answerId('resp_', head),
    object: 'response',
    created_at: head.created,
    model: head.model,
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: {},
    parallel_tool_calls: false,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    store: false,
    temperature: body.temperature ?? 0,
    text: { format: { type: 'text' } },
    tool_choice: 'none',
    tools: [],
    top_p: body.top_p ?? 1,
    truncation: 'disabled',
    usage: null,
    ...state,
  };
}

function itemOf(head: AnswerHead, text: string, status: string) {
  const content = [partOf(text)];
  return { type: 'message', id: answerId('msg_', head), status, role: 'assistant', content };
}

function partOf(text: string) {
  return { type: 'output_text', text, annotations: [], logprobs: [] };
}

function usageOf({ promptTokens, completionTokens }: TokenUsage) {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + completionTokens,
  };
}
