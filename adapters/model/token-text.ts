/** Turns tokens into text as they come. A character may take several tokens, so text is held back
 * while its last character is not whole. */
import type { LlamaModel, Token } from 'node-llama-cpp';

/** What a decoder prints for bytes that are not (yet) a character. */
const REPLACEMENT = '\uFFFD';
/** UTF-8 takes at most four bytes a character, hence at most four tokens. */
const MAX_HELD = 4;
/** Tokens before the held ones that the detokenizer looks at to place white space. */
const LOOK_BACK = 4;

export class TokenText {
  readonly #model: LlamaModel;
  #before: Token[] = [];
  #held: Token[] = [];

  constructor(model: LlamaModel) {
    this.#model = model;
  }

  /** Takes the next token.
   * @returns the text that is certain now; often empty in the middle of a character. */
  add(token: Token): string {
    this.#held.push(token);
    const text = this.#model.detokenize(this.#held, false, this.#before);
    if (text.endsWith(REPLACEMENT) && this.#held.length < MAX_HELD) return '';
    return this.#release(text);
  }

  /** Ends the text.
   * @returns what was held back, broken characters included. */
  end(): string {
    if (this.#held.length === 0) return '';
    return this.#release(this.#model.detokenize(this.#held, false, this.#before));
  }

  #release(text: string): string {
    this.#before = [...this.#before, ...this.#held].slice(-LOOK_BACK);
    this.#held = [];
    return text;
  }
}
