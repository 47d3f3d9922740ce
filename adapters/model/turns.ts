/** One after the other: turns on something that only one may use at a time, first come first. */

export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Waits for the turn.
   * @param signal - gives up waiting; its reason is thrown as it is.
   * @returns what ends the turn; to be called exactly once. */
  async take(signal?: AbortSignal): Promise<() => void> {
    const before = this.#last;
    let end = (): void => {};
    this.#last = new Promise((resolve) => {
      end = resolve;
    });
    try {
      await orAborted(before, signal);
    } catch (reason) {
      // Whoever waits behind still waits for those in front.
      void before.then(end);
      throw reason;
    }
    return end;
  }
}

function orAborted(wait: Promise<void>, signal?: AbortSignal): Promise<void> {
  if (signal === undefined) return wait;
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    void wait.then(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
  });
}
