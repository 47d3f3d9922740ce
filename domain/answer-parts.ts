/** A streamed answer, put together from its pieces: by the miner that gives it, and by whoever reads
 * it. */
import { EngineError } from './errors.js';
import type { CalledTool, StreamEvent } from './task.js';
import { isName, TOOL_LIMITS } from './tools.js';

/** What an answer is streamed in, up to its end. */
export type AnswerPiece = Exclude<StreamEvent, { readonly type: 'end' }>;

export class AnswerParts {
  readonly #calls: { name: string; arguments: string }[] = [];
  #text = '';

  get text(): string {
    return this.#text;
  }

  /** The calls of tools so far. */
  get calls(): readonly CalledTool[] {
    return this.#calls;
  }

  /** The calls as a field of a result: absent where there are none. */
  get callsField(): { readonly toolCalls?: readonly CalledTool[] } {
    return this.#calls.length > 0 ? { toolCalls: this.#calls.map((call) => ({ ...call })) } : {};
  }

  /** Takes the next piece.
   * @throws REQUEST_INVALID — it begins a call out of turn, or goes on with one that never began. */
  take(piece: AnswerPiece): void {
    if (piece.type === 'delta') {
      this.#text += piece.text;
      return;
    }
    const { index, name } = piece;
    const known = this.#calls[index];
    if (known !== undefined && name === undefined) {
      known.arguments += piece.arguments;
      return;
    }
    const isNext = index === this.#calls.length && index < TOOL_LIMITS.calls;
    if (!isNext || !isName(name)) {
      throw new EngineError('REQUEST_INVALID', {
        field: 'tool-call',
        expected: 'calls in their order, each with a name',
      });
    }
    this.#calls.push({ name, arguments: piece.arguments });
  }

  /** All that was taken, in as few pieces as it takes. */
  pieces(): AnswerPiece[] {
    return [
      ...(this.#text === '' ? [] : [{ type: 'delta' as const, text: this.#text }]),
      ...this.#calls.map((call, index) => ({ type: 'tool-call' as const, index, ...call })),
    ];
  }
}
