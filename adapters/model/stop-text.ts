/** Ends a text before the stop word that begins first, wherever the borders of its tokens lie. What may
 * be the beginning of one is held back, also where another stop word was found behind it. */
export class StopText {
  readonly #stops: readonly string[];
  #held = '';
  /** True once the text was ended by a stop word: nothing more comes. */
  isStopped = false;

  /** @param stops - may be none. */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Takes what comes next.
   * @returns the text that is certain now. */
  add(text: string): string {
    if (this.isStopped) return '';
    this.#held += text;
    const certain = this.#held.length - this.#undecided();
    const at = this.#firstStop();
    return at !== null && at <= certain ? this.#stopAt(at) : this.#release(certain);
  }

  /** Ends the text.
   * @returns what was held back, as far as no stop word came of it. */
  end(): string {
    if (this.isStopped) return '';
    const at = this.#firstStop();
    return at === null ? this.#release(this.#held.length) : this.#stopAt(at);
  }

  #stopAt(at: number): string {
    this.isStopped = true;
    return this.#release(at);
  }

  #firstStop(): number | null {
    const found = this.#stops.map((stop) => this.#held.indexOf(stop)).filter((at) => at >= 0);
    return found.length === 0 ? null : Math.min(...found);
  }

  /** @returns how much of the end may be the beginning of a stop word. */
  #undecided(): number {
    const longest = Math.max(0, ...this.#stops.map((stop) => stop.length - 1));
    for (let length = Math.min(longest, this.#held.length); length > 0; length--) {
      const end = this.#held.slice(-length);
      if (this.#stops.some((stop) => stop.startsWith(end))) return length;
    }
    return 0;
  }

  #release(length: number): string {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return text;
  }
}
