/** A call of a tool that a grammar makes a model write: as JSON with a name and arguments, which is taken
 * apart as it comes. */
import type { ChatMessage, ChatRequest, Tool, ToolCallEvent } from '../../domain/task.js';
import { toGrammarSchema, type GrammarSchema } from './grammar-schema.js';

/** What the JSON of a call begins with. Names have no characters that JSON escapes. */
const HEAD = /^\s*\{\s*"name"\s*:\s*"([\w-]+)"\s*,\s*"arguments"\s*:\s*(?=\S)/;
/** What may be the end of the JSON around the arguments. */
const TAIL = /[\s}]*$/;
/** Where no parameters are told of, there are none. */
const NO_PARAMETERS = { type: 'object', properties: {} } as const;

/** The tools of which a request demands that one is called; empty where it demands none. */
export function demandedTools({ tools = [], toolChoice }: ChatRequest): readonly Tool[] {
  if (typeof toolChoice === 'object') return tools.filter(({ name }) => name === toolChoice.name);
  return toolChoice === 'required' ? tools : [];
}

/** What holds a model to a call of one of the tools.
 * @throws FEATURE_UNSUPPORTED — parameters that no grammar can hold arguments to. */
export function callSchema(tools: readonly Tool[]): GrammarSchema {
  const calls = tools.map(({ name, parameters = NO_PARAMETERS }) => ({
    type: 'object',
    properties: { name: { const: name }, arguments: parameters },
    required: ['name', 'arguments'],
  }));
  return toGrammarSchema(calls.length === 1 ? calls[0] : { oneOf: calls });
}

/** Tells a model of the tools, in the conversation's first message: a grammar alone would have it call
 * what it has never heard of. */
export function tellOfTools(
  messages: readonly ChatMessage[],
  tools: readonly Tool[],
): readonly ChatMessage[] {
  const told = tools.map(({ name, description, parameters }) =>
    JSON.stringify({ name, description, parameters }),
  );
  const lines = ['You call functions. These are there:', ...told, 'Answer with one call as JSON.'];
  const [first, ...rest] = messages;
  if (first?.role !== 'system') return [{ role: 'system', content: lines.join('\n') }, ...messages];
  return [{ ...first, content: `${first.content}\n\n${lines.join('\n')}` }, ...rest];
}

/** An assistant's message as the model itself would have written it. */
export function writtenOut({ content, toolCalls = [] }: ChatMessage): string {
  const calls = toolCalls.map(
    ({ name, arguments: written }) => `{"name": ${JSON.stringify(name)}, "arguments": ${written}}`,
  );
  return [content, ...calls].filter((part) => part !== '').join('\n');
}

/** Takes the JSON of one call apart. */
export class DemandedCall {
  #text = '';
  #isNamed = false;
  /** What may belong to the JSON around the arguments. */
  #held = '';

  /** Whether the call is there from its beginning to its end. */
  get isWhole(): boolean {
    try {
      JSON.parse(this.#text);
      return true;
    } catch {
      return false;
    }
  }

  /** Takes the next piece of text.
   * @returns what is certain of the call now. */
  add(text: string): ToolCallEvent[] {
    this.#text += text;
    if (this.#isNamed) return this.#release(text, {});
    const [head = '', name] = HEAD.exec(this.#text) ?? [];
    if (name === undefined) return [];
    this.#isNamed = true;
    return this.#release(this.#text.slice(head.length), { name });
  }

  /** @returns what was held back. */
  end(): ToolCallEvent[] {
    const rest = this.isWhole ? this.#held.replace(/\s*\}\s*$/, '') : this.#held;
    return this.#isNamed && rest !== '' ? [{ type: 'tool-call', index: 0, arguments: rest }] : [];
  }

  #release(text: string, opening: { readonly name?: string }): ToolCallEvent[] {
    const all = this.#held + text;
    const [tail = ''] = TAIL.exec(all) ?? [];
    const certain = all.slice(0, all.length - tail.length);
    this.#held = tail;
    if (certain === '' && opening.name === undefined) return [];
    return [{ type: 'tool-call', index: 0, ...opening, arguments: certain }];
  }
}
