/** Progress of long steps that say little themselves. */
import type { Kitchen } from './types.js';

const SAY_EVERY_MS = 1_000;

/**
 * Reports once a second until the returned function is called.
 * @param describe - is given the whole seconds since the start.
 */
export function tellProgress(
  { report }: Kitchen,
  describe: (seconds: number) => { readonly message: string; readonly fraction?: number },
): () => void {
  const startMs = Date.now();
  const say = (): void => {
    const { message, fraction } = describe(Math.round((Date.now() - startMs) / 1_000));
    report(message, fraction);
  };
  say();
  const timer = setInterval(say, SAY_EVERY_MS);
  return () => clearInterval(timer);
}
