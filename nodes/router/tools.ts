/** Tools, stop words and forms of answers as OpenAI's clients write them, and as the network has
 * them. What is malformed, too deep or too long is found by the domain's own parser. */
import { z } from 'zod';
import type { ChatRequest, JsonSchema, ResponseFormat, Tool, ToolCall } from '../../domain/task.js';
import { TOOL_LIMITS, TOOL_NAME } from '../../domain/tools.js';

/** What a request may ask for beyond text. */
export type Extras = Pick<
  ChatRequest,
  'stop' | 'tools' | 'toolChoice' | 'parallelToolCalls' | 'responseFormat'
>;

const stopText = z.string().min(1).max(64);
export const stopSchema = z.union([stopText, z.array(stopText).max(4)]).nullish();

export const toolName = z.string().regex(TOOL_NAME);
const jsonSchema = z.record(z.string(), z.unknown());
/** A function's fields, wherever an endpoint has them. */
export const functionFields = {
  name: toolName,
  description: z.string().max(TOOL_LIMITS.descriptionChars).nullish(),
  parameters: jsonSchema.nullish(),
  strict: z.boolean().nullish(),
};
/** A schema's fields, wherever an endpoint has them. */
export const formatFields = {
  name: toolName,
  description: z.string().nullish(),
  schema: jsonSchema.nullish(),
  strict: z.boolean().nullish(),
};

/** How a call is demanded or forbidden, without a name. */
export const choiceWords = z.enum(['none', 'auto', 'required']);

export const chatTools = z
  .array(z.object({ type: z.literal('function'), function: z.object(functionFields) }))
  .max(TOOL_LIMITS.tools)
  .nullish();
export const chatToolChoice = z
  .union([
    choiceWords,
    z.object({ type: z.literal('function'), function: z.object({ name: toolName }) }),
  ])
  .nullish();
export const chatFormat = z
  .discriminatedUnion('type', [
    z.object({ type: z.literal('text') }),
    z.object({ type: z.literal('json_object') }),
    z.object({ type: z.literal('json_schema'), json_schema: z.object(formatFields) }),
  ])
  .nullish();
/** Calls in an assistant's message. */
export const chatCalls = z
  .array(
    z.object({
      id: z.string().min(1).max(128),
      type: z.literal('function').optional(),
      function: z.object({ name: toolName, arguments: z.string() }),
    }),
  )
  .max(TOOL_LIMITS.calls)
  .nullish();

type Function = z.infer<z.ZodObject<typeof functionFields>>;
type Format = z.infer<z.ZodObject<typeof formatFields>>;

/** What was asked for, in the endpoint's words. */
export interface AskedExtras {
  readonly stop?: z.infer<typeof stopSchema>;
  readonly tools: readonly Function[] | null | undefined;
  readonly choice: z.infer<typeof choiceWords> | { readonly name: string } | null | undefined;
  readonly parallel: boolean | null | undefined;
  readonly format: 'text' | 'json_object' | Format | null | undefined;
}

/** What was asked for, in the network's words. What changes nothing is left out, so that equal
 * requests are equal: tools that must not be called, `auto`, no stop words. */
export function extrasOf({ stop, tools, choice, parallel, format }: AskedExtras): Extras {
  const stops = typeof stop === 'string' ? [stop] : (stop ?? []);
  const isCalling = tools != null && tools.length > 0 && choice !== 'none';
  const hasChoice = choice != null && choice !== 'auto' && choice !== 'none';
  return {
    ...(stops.length === 0 ? {} : { stop: stops }),
    ...(isCalling ? { tools: tools.map(toTool) } : {}),
    // Without tools it is refused further on: nothing could be called.
    ...(hasChoice ? { toolChoice: choice } : {}),
    ...(isCalling && parallel === false ? { parallelToolCalls: false as const } : {}),
    ...toFormat(format),
  };
}

/** A call of a conversation, as the network has it. */
export function toToolCall(call: NonNullable<z.infer<typeof chatCalls>>[number]): ToolCall {
  const { name, arguments: written } = call.function;
  return { id: call.id, name, arguments: written };
}

function toTool({ name, description, parameters, strict }: Function): Tool {
  return {
    name,
    ...(description == null ? {} : { description }),
    ...(parameters == null ? {} : { parameters }),
    ...(strict == null ? {} : { strict }),
  };
}

function toFormat(format: AskedExtras['format']): { responseFormat?: ResponseFormat } {
  if (format == null || format === 'text') return {};
  if (format === 'json_object') return { responseFormat: { type: 'json-object' } };
  const { name, description, schema, strict } = format;
  const described: JsonSchema = { ...(description == null ? {} : { description }), ...schema };
  const flags = strict == null ? {} : { strict };
  return { responseFormat: { type: 'json-schema', name, schema: described, ...flags } };
}
