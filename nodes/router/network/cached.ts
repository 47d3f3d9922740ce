/** What is read from afar once for all who ask at about the same time. */

export class Cached<T> {
  readonly #read: () => Promise<T>;
  readonly #freshMs: number;
  #kept: { readonly value: Promise<T>; readonly untilMs: number } | null = null;

  /** @param freshMs - a value is given out for so long, counted from when it was asked for. */
  constructor(read: () => Promise<T>, freshMs: number) {
    this.#read = read;
    this.#freshMs = freshMs;
  }

  /** The value, or the failure of the one attempt that is under way: failures are not kept. */
  get(): Promise<T> {
    const now = performance.now();
    if (this.#kept !== null && this.#kept.untilMs > now) return this.#kept.value;
    const value = this.#read();
    const kept = { value, untilMs: now + this.#freshMs };
    this.#kept = kept;
    value.catch(() => {
      if (this.#kept === kept) this.#kept = null;
    });
    return value;
  }
}

/** Gives work up at a deadline; what it would have come to is dropped.
 * @param late - made into the failure. */
export async function within<T>(ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), ms);
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
