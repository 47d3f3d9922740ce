/**
 * OpenAI's responses: one answer a call. Nothing is kept between calls but the task's own record, so
 * a conversation is sent whole each time.
 * @see https://platform.openai.com/docs/api-reference/responses
 */
import { z } from 'zod';
import { AnswerParts } from '../../domain/answer-parts.js';
import type { CalledTool, ChatMessage, TokenUsage } from '../../domain/task.js';
import { toolCallId, TOOL_LIMITS } from '../../domain/tools.js';
import {
  answerId,
  citedIn,
  noItems,
  nothing,
  sampling,
  tokenLimit,
  unsupported,
  type AnswerHead,
  type AnswerShape,
  type Ask,
  type EndEvent,
  type Said,
} from './chat.js';
import { sseEvent } from './sse.js';
import { choiceWords, extrasOf, formatFields, functionFields, toolName } from './tools.js';
import type { TranscriptEvent } from './transcript.js';

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
const callItem = z.looseObject({
  type: z.literal('function_call'),
  call_id: z.string().min(1).max(128),
  name: toolName,
  arguments: z.string(),
});
const outputItem = z.looseObject({
  type: z.literal('function_call_output'),
  call_id: z.string().min(1).max(128),
  output: z.union([z.string(), z.array(z.union([textPart, otherPart])).min(1)]),
});
const otherItem = z.looseObject({ type: z.enum(['reasoning', 'item_reference']) });

const functionTool = z.looseObject({ type: z.literal('function'), ...functionFields });
/** Tools of OpenAI's own. */
const otherTool = z.looseObject({
  type: z.enum(['web_search', 'file_search', 'code_interpreter', 'mcp', 'custom', 'shell']),
});
const textFormat = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('text') }),
  z.looseObject({ type: z.literal('json_object') }),
  z.looseObject({ type: z.literal('json_schema'), ...formatFields }),
]);

/** Body of `POST /v1/responses`. */
export const responsesSchema = z.looseObject({
  ...sampling,
  input: z.union([
    z.string(),
    z
      .array(z.union([message, callItem, outputItem, otherItem]))
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
  text: z.looseObject({ format: textFormat.optional() }).nullish(),
  tools: z
    .array(z.union([functionTool, otherTool]))
    .max(TOOL_LIMITS.tools)
    .nullish(),
  tool_choice: z
    .union([choiceWords, z.looseObject({ type: z.literal('function'), name: toolName })])
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
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
  'top_logprobs',
  'truncation',
]);

/** What such a body asks for.
 * @throws FEATURE_UNSUPPORTED — images, sound or files, or tools that OpenAI runs itself. */
export function askOfResponses(body: ResponsesBody): Ask {
  const { input, instructions } = body;
  const said = typeof input === 'string' ? [userMessage(input)] : toMessages(input);
  const { tools, tool_choice: choice, text } = body;
  const format = text?.format;
  const told: ChatMessage[] = instructions ? [{ role: 'system', content: instructions }] : [];
  return {
    model: body.model,
    messages: [...told, ...said],
    maxTokens: body.max_output_tokens ?? DEFAULT_MAX_TOKENS,
    temperature: body.temperature,
    topP: body.top_p,
    extras: extrasOf({
      tools: tools?.map((tool, i) => {
        const found = functionTool.safeParse(tool);
        if (!found.success) throw unsupported(`tools.${i}.type`, String(tool.type));
        return found.data;
      }),
      choice,
      parallel: body.parallel_tool_calls,
      format: format?.type === 'json_schema' ? format : format?.type,
    }),
  };
}

function userMessage(content: string): ChatMessage {
  return { role: 'user', content };
}

type Item = Exclude<ResponsesBody['input'], string>[number];

/** Items as messages: calls that follow each other, or the words before them, are one message. */
function toMessages(items: readonly Item[]): ChatMessage[] {
  const messages: ChatMessage[] = [];
  for (const [i, item] of items.entries()) {
    const call = callItem.safeParse(item).data;
    const output = outputItem.safeParse(item).data;
    const last = messages.at(-1);
    if (call !== undefined) {
      const { call_id: id, name, arguments: written } = call;
      const before = last?.role === 'assistant' ? last : null;
      if (before !== null) messages.pop();
      messages.push({
        role: 'assistant',
        content: before?.content ?? '',
        toolCalls: [...(before?.toolCalls ?? []), { id, name, arguments: written }],
      });
    } else if (output !== undefined) {
      const content = textOf(output.output, `input.${i}.output`);
      messages.push({ role: 'tool', content, toolCallId: output.call_id });
    } else messages.push(toMessage(item, i));
  }
  return messages;
}

function toMessage(item: Item, i: number): ChatMessage {
  const found = message.safeParse(item);
  if (!found.success) throw unsupported(`input.${i}`, String(item.type));
  const { role, content } = found.data;
  return {
    role: role === 'developer' ? 'system' : role,
    content: textOf(content, `input.${i}.content`),
  };
}

function textOf(content: z.infer<typeof message>['content'], field: string): string {
  if (typeof content === 'string') return content;
  return content
    .map((part) => {
      const { data } = textPart.safeParse(part);
      if (data === undefined) throw unsupported(field, part.type);
      return data.text;
    })
    .join('');
}

/** `response`, whole and as its events. */
export function responsesShape(body: ResponsesBody): AnswerShape {
  return {
    whole: (head, said, end) => ended(body, head, said, end),
    stream: (head) => {
      const stream = new ResponseStream(body, head);
      return (event) => stream.write(event);
    },
    last: '',
    failure: (failed) => {
      const { code, message: text, param } = failed.error;
      const fields = { type: 'error', sequence_number: null, code, message: text, param };
      return sseEvent({ ...fields, ...failed }, undefined, 'error');
    },
  };
}

/** Writes the events of one response. Its message begins with its first word, or at the end where
 * there is nothing else; each call is an item of its own. */
class ResponseStream {
  readonly #body: ResponsesBody;
  readonly #head: AnswerHead;
  readonly #said = new AnswerParts();
  /** Where an item is in the output: the message, and calls by their number. */
  readonly #places = new Map<'message' | number, number>();
  #sequence = 0;

  constructor(body: ResponsesBody, head: AnswerHead) {
    this.#body = body;
    this.#head = head;
  }

  write(event: TranscriptEvent): string {
    return [...this.#eventsOf(event)]
      .map(([type, fields]) =>
        sseEvent({ type, sequence_number: this.#sequence++, ...fields }, event.index, type),
      )
      .join('');
  }

  *#eventsOf(event: TranscriptEvent): Generator<readonly [type: string, fields: object]> {
    if (event.type === 'start') {
      const response = responseOf(this.#body, this.#head, { status: 'in_progress', output: [] });
      yield ['response.created', { response }];
      yield ['response.in_progress', { response }];
    } else if (event.type === 'delta') {
      this.#said.take(event);
      yield* this.#openMessage();
      const { text: delta } = event;
      yield ['response.output_text.delta', { ...this.#message, delta, logprobs: [] }];
    } else if (event.type === 'tool-call') {
      const { call, arguments: delta } = event;
      this.#said.take({ ...event, index: call });
      yield* this.#openCall(call);
      const at = { item_id: callId(this.#head, call), output_index: this.#places.get(call) };
      yield ['response.function_call_arguments.delta', { ...at, delta }];
    } else yield* this.#end(event);
  }

  *#openMessage(): Generator<readonly [string, object]> {
    if (this.#places.has('message')) return;
    this.#places.set('message', this.#places.size);
    const item = { ...itemOf(this.#head, '', 'in_progress'), content: [] };
    const { output_index } = this.#message;
    yield ['response.output_item.added', { output_index, item }];
    yield ['response.content_part.added', { ...this.#message, part: partOf('') }];
  }

  *#openCall(call: number): Generator<readonly [string, object]> {
    if (this.#places.has(call)) return;
    this.#places.set(call, this.#places.size);
    const name = this.#said.calls[call]?.name ?? '';
    const item = callItemOf(this.#head, { name, arguments: '' }, call, 'in_progress');
    yield ['response.output_item.added', { output_index: this.#places.get(call), item }];
  }

  *#end(event: EndEvent): Generator<readonly [string, object]> {
    if (this.#places.size === 0) yield* this.#openMessage();
    const status = statusOf(event);
    const { text, calls } = this.#said;
    for (const [place, output_index] of this.#places) {
      if (place === 'message') {
        yield ['response.output_text.done', { ...this.#message, text, logprobs: [] }];
        yield ['response.content_part.done', { ...this.#message, part: partOf(text) }];
        const item = itemOf(this.#head, text, status);
        yield ['response.output_item.done', { output_index, item }];
      } else {
        const call = calls[place] ?? { name: '', arguments: '' };
        const at = { item_id: callId(this.#head, place), output_index };
        yield ['response.function_call_arguments.done', { ...at, ...call }];
        const item = callItemOf(this.#head, call, place, status);
        yield ['response.output_item.done', { output_index, item }];
      }
    }
    const response = ended(this.#body, this.#head, this.#said, event);
    yield [status === 'completed' ? 'response.completed' : 'response.incomplete', { response }];
  }

  get #message() {
    const output_index = this.#places.get('message') ?? 0;
    return { item_id: answerId('msg_', this.#head), output_index, content_index: 0 };
  }
}

function ended(
  body: ResponsesBody,
  head: AnswerHead,
  { text, calls }: Said,
  end: EndEvent,
): object {
  const status = statusOf(end);
  const words = text === '' && calls.length > 0 ? [] : [itemOf(head, text, status)];
  return responseOf(body, head, {
    status,
    output: [...words, ...calls.map((call, i) => callItemOf(head, call, i, status))],
    usage: usageOf(end.usage),
    ...citedIn(head),
    ...(status === 'incomplete' ? { incomplete_details: { reason: 'max_output_tokens' } } : {}),
  });
}

function statusOf({ finishReason }: EndEvent): 'completed' | 'incomplete' {
  return finishReason === 'length' ? 'incomplete' : 'completed';
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
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    store: false,
    temperature: body.temperature ?? 0,
    text: { format: body.text?.format ?? { type: 'text' } },
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
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

/** The id of a call as an item; clients answer the call by `call_id`. */
function callId(head: AnswerHead, call: number): string {
  return `${answerId('fc_', head)}_${call}`;
}

function callItemOf(head: AnswerHead, called: CalledTool, call: number, status: string) {
  const { name, arguments: written } = called;
  const call_id = toolCallId(head.taskId, call);
  return {
    type: 'function_call',
    id: callId(head, call),
    call_id,
    name,
    arguments: written,
    status,
  };
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
