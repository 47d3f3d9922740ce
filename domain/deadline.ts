/**
 * Deadlines as signals. `AbortSignal.any` holds its sources weakly: one that nothing else holds, as
 * the signal of `AbortSignal.timeout`, may be collected before it fires, and the wait then has no
 * end (nodejs/node issue 57736). The linter lets nothing but this file call either.
 */

/** What each signal is made of, for as long as it lives. */
const sources = new WeakMap<AbortSignal, readonly AbortSignal[]>();

/** Aborts as soon as one of the signals does, with its reason. Absent ones never do. */
export function anyOf(...signals: readonly (AbortSignal | undefined)[]): AbortSignal {
  const present = signals.filter((signal) => signal !== undefined);
  const [only] = present;
  if (only !== undefined && present.length === 1) return only;
  const any = AbortSignal.any(present);
  sources.set(any, present);
  return any;
}

/**
 * Aborts after a time with a `TimeoutError`, or as soon as one of the signals does, with its reason.
 * @param ms - real time. It keeps no process alive.
 */
export function deadlineIn(
  ms: number,
  ...signals: readonly (AbortSignal | undefined)[]
): AbortSignal {
  return anyOf(AbortSignal.timeout(ms), ...signals);
}
