/** Ends a text before the first of its stop words, wherever the borders of its tokens lie. What may be
 * the beginning of one is held back. */
export class StopText {
  readonly #stops: readonly string[];
  #held = '';
  /** True once a stop word was found: nothing more comes. */
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
    const at = this.#firstStop();
    if (at !== null) {
      this.isStopped = true;
      return this.#release(at);
    }
    return this.#release(this.#held.length - this.#undecided());
  }

  /** Ends the text.
   * @returns what was held back, where no stop word came of it. */
  end(): string {
    return this.isStopped ? '' : this.#release(this.#held.length);
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
