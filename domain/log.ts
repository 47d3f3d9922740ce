/** Logging as the engine's parts see it: a function, handed in. Payloads and secrets never go in. */

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Writes one line: `event` is a fixed name in the past tense, what varies goes in `fields`. */
export type Log = (
  level: LogLevel,
  event: string,
  fields?: Readonly<Record<string, string | number | boolean | null>>,
) => void;
