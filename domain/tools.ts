/**
 * Tools and forms of answers: what a request may ask for beyond text, within bounds that no schema of
 * a real tool meets, and how an answer's calls are put together from their pieces.
 */
import { EngineError } from './errors.js';
import type { TaskId } from './ids.js';
import type {
  AnswerBody,
  CalledTool,
  ChatMessage,
  ChatRequest,
  JsonSchema,
  ResponseFormat,
  Tool,
  ToolCall,
  ToolChoice,
} from './task.js';

/** Bounds of tools, schemas and calls. */
export const TOOL_LIMITS = {
  tools: 64,
  nameChars: 64,
  descriptionChars: 4_096,
  /** JSON of all tools together, or of a response's schema, in UTF-16 units. */
  schemaChars: 65_536,
  /** Objects and lists within each other. */
  schemaDepth: 16,
  /** Of one answer or message. */
  calls: 64,
} as const;

/** A string of a form with more words than this is prose: longer than names, dates and addresses. */
const PROSE_WORDS = 12;

/** How a JSON object or list begins. */
const FORM = /^\s*[[{]/;

/** Names of tools and schemas, as OpenAI has them. */
export const TOOL_NAME = /^[a-zA-Z0-9_-]{1,64}$/;

/** The fields of a request that tell of tools and forms; those that are absent stay absent.
 * @throws PROMPT_INVALID — with the field, and what was expected of it. */
export function parseToolFields(
  fields: Readonly<Record<string, unknown>>,
): Pick<ChatRequest, 'tools' | 'toolChoice' | 'parallelToolCalls' | 'responseFormat'> {
  const { tools, toolChoice, parallelToolCalls, responseFormat } = fields;
  const parsed = tools === undefined ? undefined : parseTools(tools);
  if (toolChoice !== undefined && parsed === undefined)
    throw invalid('toolChoice', 'tools beside it');
  if (parallelToolCalls !== undefined && parallelToolCalls !== false) {
    throw invalid('parallelToolCalls', 'false, or none');
  }
  return {
    ...(parsed === undefined ? {} : { tools: parsed }),
    ...(toolChoice === undefined ? {} : { toolChoice: parseChoice(toolChoice, parsed ?? []) }),
    ...(parallelToolCalls === undefined ? {} : { parallelToolCalls }),
    ...(responseFormat === undefined ? {} : { responseFormat: parseFormat(responseFormat) }),
  };
}

/** The fields of a message that tell of calls.
 * @throws PROMPT_INVALID — calls of anybody but an assistant, or a tool's message that answers none. */
export function parseMessageCalls(
  role: ChatMessage['role'],
  { toolCalls, toolCallId }: Readonly<Record<string, unknown>>,
): Pick<ChatMessage, 'toolCalls' | 'toolCallId'> {
  if ((toolCallId !== undefined) !== (role === 'tool')) {
    throw invalid('toolCallId', 'one in each message of a tool, and in no other');
  }
  if (toolCallId !== undefined && !isId(toolCallId)) throw invalid('toolCallId', 'an id of a call');
  if (toolCalls !== undefined && role !== 'assistant') throw invalid('toolCalls', 'an assistant');
  // An answer without calls is put into a conversation as one with them is.
  const calls = toolCalls === undefined ? [] : parseIdentifiedCalls(toolCalls);
  return {
    ...(calls.length === 0 ? {} : { toolCalls: calls }),
    ...(toolCallId === undefined ? {} : { toolCallId }),
  };
}

/** The calls of an answer. What is called, and with what, may be anything: it is judged like text.
 * @throws REQUEST_INVALID — it is no list of calls. */
export function parseCalls(value: unknown): CalledTool[] {
  if (!Array.isArray(value) || value.length > TOOL_LIMITS.calls) {
    throw unfit('toolCalls', `at most ${TOOL_LIMITS.calls} calls`);
  }
  return value.map((call: unknown) => {
    if (!isCall(call)) throw unfit('toolCalls', 'a name and arguments');
    return { name: call.name, arguments: call.arguments };
  });
}

/** The id of a call in an answer: the same for the same task, also when it is read again. */
export function toolCallId(taskId: TaskId, index: number): string {
  return `call_${taskId.slice(2, 26)}_${index}`;
}

/** What two answers must have equal before it matters how near their texts are: the calls of tools,
 * and, of a text that is a JSON object or list (a form), its data. Data are keys, the order of
 * lists, numbers, booleans, nulls, and strings of up to PROSE_WORDS words. A longer string is prose, of
 * which the numbers must be equal, and the words only as near as other texts. White space and the order
 * of keys are as the model likes. Empty for text alone. */
export function exactKey({ text, toolCalls = [] }: Pick<AnswerBody, 'text' | 'toolCalls'>): string {
  const form = dataOfForm(text);
  if (form === null && toolCalls.length === 0) return '';
  return JSON.stringify([form, ...toolCalls.map(textOfCall)]);
}

/** What an answer is embedded as: a form in its canonical form, so that the same one filled in alike is
 * the same text. */
export function comparedText({ text, ...rest }: Pick<AnswerBody, 'text' | 'toolCalls'>): string {
  return textOfAnswer({ text: FORM.test(text) ? canonicalJson(text) : text, ...rest });
}

/** An answer as one text, with its calls in their canonical form. */
export function textOfAnswer({
  text,
  toolCalls = [],
}: Pick<AnswerBody, 'text' | 'toolCalls'>): string {
  return [text, ...toolCalls.map(textOfCall)].filter((part) => part !== '').join('\n');
}

function textOfCall({ name, arguments: written }: CalledTool): string {
  return `${name} ${canonicalJson(written)}`;
}

/** @returns a form's data; `null` where the text is no form, one that was cut short for instance. */
function dataOfForm(text: string): string | null {
  if (!FORM.test(text)) return null;
  const value = readJson(text);
  if (value === undefined) return null;
  // What cannot be compared piece by piece is compared as it was written.
  return isComparable(value, text) ? JSON.stringify(dataOf(value)) : text;
}

/** A form with its prose left out, but for the numbers in it. Each string has a mark of its kind. */
function dataOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dataOf);
  if (typeof value === 'string') return isProse(value) ? `~${numbersIn(value)}` : `=${value}`;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(sortedEntries(value).map(([key, item]) => [key, dataOf(item)]));
}

function isProse(text: string): boolean {
  return text.trim().split(/\s+/).length > PROSE_WORDS;
}

/** Numbers, dates and times of a text, whatever order its sentences have. */
function numbersIn(text: string): string {
  return (text.match(/[-\u2212]?\p{N}+(?:[.,:/-]\p{N}+)*/gu) ?? []).sort().join(' ');
}

/** @returns the text as it was written where it is not JSON, or cannot be compared piece by piece. */
function canonicalJson(written: string): string {
  const value = readJson(written);
  return isComparable(value, written) ? JSON.stringify(inOrder(value)) : written;
}

/** @returns `undefined` where a text is not JSON. */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether a value is JSON, not too deep, and read alike by every reader: without whole numbers that this
 * one has rounded, and without two keys of one name, of which readers take the one or the other. */
function isComparable(value: unknown, written: string): boolean {
  const isShallow = depthOf(value, TOOL_LIMITS.schemaDepth) <= TOOL_LIMITS.schemaDepth;
  return value !== undefined && isShallow && isExact(value) && !hasTwins(written);
}

/** @param json - well-formed. */
function hasTwins(json: string): boolean {
  const open: Set<string>[] = [];
  for (const [token, key, colon] of json.matchAll(/("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[{}]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (key !== undefined && colon !== undefined) {
      const name = JSON.parse(key) as string;
      const names = open.at(-1);
      if (names?.has(name) === true) return true;
      names?.add(name);
    }
  }
  return false;
}

function isExact(value: unknown): boolean {
  if (typeof value === 'number') return Math.abs(value) <= Number.MAX_SAFE_INTEGER;
  return typeof value !== 'object' || value === null || Object.values(value).every(isExact);
}

/** Sorts the keys of all objects. */
function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(sortedEntries(value).map(([key, item]) => [key, inOrder(item)]));
}

function sortedEntries(value: object): [string, unknown][] {
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
}

function parseTools(value: unknown): Tool[] {
  const isList = Array.isArray(value) && value.length >= 1 && value.length <= TOOL_LIMITS.tools;
  if (!isList) throw invalid('tools', `1 to ${TOOL_LIMITS.tools} tools`);
  const tools = value.map(parseTool);
  if (new Set(tools.map(({ name }) => name)).size < tools.length) {
    throw invalid('tools', 'a name of its own for each');
  }
  if (JSON.stringify(tools).length > TOOL_LIMITS.schemaChars) {
    throw invalid('tools', `at most ${TOOL_LIMITS.schemaChars} characters of JSON`);
  }
  return tools;
}

function parseTool(value: unknown): Tool {
  if (!isRecord(value)) throw invalid('tools', 'a tool');
  const { name, description, parameters, strict } = value;
  if (!isName(name)) throw invalid('tools.name', '1 to 64 letters, digits, _ and -');
  const isDescription =
    typeof description === 'string' && description.length <= TOOL_LIMITS.descriptionChars;
  if (description !== undefined && !isDescription) {
    throw invalid('tools.description', `at most ${TOOL_LIMITS.descriptionChars} characters`);
  }
  return {
    name,
    ...(description === undefined ? {} : { description: description as string }),
    ...(parameters === undefined
      ? {}
      : { parameters: parseSchema(parameters, 'tools.parameters') }),
    ...parseStrict(strict, 'tools.strict'),
  };
}

function parseChoice(value: unknown, tools: readonly Tool[]): ToolChoice {
  if (value === 'auto' || value === 'none' || value === 'required') return value;
  const name = isRecord(value) ? value['name'] : undefined;
  if (!tools.some((tool) => tool.name === name)) {
    throw invalid('toolChoice', 'auto | none | required | the name of a tool');
  }
  return { name: name as string };
}

function parseFormat(value: unknown): ResponseFormat {
  const { type, name, schema, strict } = isRecord(value) ? value : {};
  if (type === 'json-object') return { type };
  if (type !== 'json-schema') throw invalid('responseFormat.type', 'json-object | json-schema');
  if (!isName(name)) throw invalid('responseFormat.name', '1 to 64 letters, digits, _ and -');
  return {
    type,
    name,
    schema: parseSchema(schema, 'responseFormat.schema'),
    ...parseStrict(strict, 'responseFormat.strict'),
  };
}

function parseSchema(value: unknown, field: string): JsonSchema {
  const { schemaDepth, schemaChars } = TOOL_LIMITS;
  if (!isRecord(value)) throw invalid(field, 'a JSON schema');
  // Depth first: what is deeper is not walked any further.
  if (depthOf(value, schemaDepth) > schemaDepth) {
    throw invalid(field, `at most ${schemaDepth} levels`);
  }
  const text = JSON.stringify(value);
  if (text.length > schemaChars) throw invalid(field, `at most ${schemaChars} characters of JSON`);
  return value;
}

function parseStrict(strict: unknown, field: string): { strict?: boolean } {
  if (strict === undefined) return {};
  if (typeof strict !== 'boolean') throw invalid(field, 'true or false');
  return { strict };
}

function parseIdentifiedCalls(value: unknown): ToolCall[] {
  const isList = Array.isArray(value) && value.length <= TOOL_LIMITS.calls;
  if (!isList) throw invalid('toolCalls', `at most ${TOOL_LIMITS.calls} calls`);
  return value.map((call: unknown) => {
    if (!isCall(call) || !('id' in call) || !isId(call.id)) {
      throw invalid('toolCalls', 'id, name and arguments');
    }
    return { id: call.id, name: call.name, arguments: call.arguments };
  });
}

/** @returns how deep objects and lists lie in each other, counted no further than just beyond `most`. */
function depthOf(value: unknown, most: number): number {
  if (typeof value !== 'object' || value === null) return 0;
  if (most < 0) return 1;
  let deepest = 0;
  for (const item of Object.values(value)) deepest = Math.max(deepest, depthOf(item, most - 1));
  return 1 + deepest;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCall(value: unknown): value is { readonly name: string; readonly arguments: string } {
  return isRecord(value) && isName(value['name']) && typeof value['arguments'] === 'string';
}

/** Whether a value can name a tool. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && TOOL_NAME.test(value);
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 128;
}

function invalid(field: string, expected: string): EngineError {
  return new EngineError('PROMPT_INVALID', { field, expected });
}

function unfit(field: string, expected: string): EngineError {
  return new EngineError('REQUEST_INVALID', { field, expected });
}
