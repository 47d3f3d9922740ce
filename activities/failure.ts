/**
 * The edge between our errors and Temporal's: an `EngineError` becomes an `ApplicationFailure` of
 * its code, final unless the table says that a retry can mend it.
 */
import { ApplicationFailure, ApplicationFailureCategory } from '@temporalio/common';
import { CancelledFailure, CompleteAsyncError } from '@temporalio/activity';
import { findEngineError } from '../domain/errors.js';

/** Wraps every function of an activity set, so that no error leaves it untranslated. */
export function translated<T extends object>(activities: T): T {
  const wrapped = Object.entries(activities).map(([name, run]: [string, unknown]) => {
    if (typeof run !== 'function') return [name, run];
    return [
      name,
      async (...args: unknown[]) => {
        try {
          return (await run.apply(activities, args)) as unknown;
        } catch (error) {
          throw toFailure(error);
        }
      },
    ];
  });
  return Object.fromEntries(wrapped) as T;
}

/** An unknown error stays retryable and keeps its name and place only: its text may hold a secret. */
function toFailure(error: unknown): unknown {
  if (
    error instanceof ApplicationFailure ||
    error instanceof CancelledFailure ||
    error instanceof CompleteAsyncError
  ) {
    return error;
  }
  const known = findEngineError(error);
  if (known === undefined) {
    const name = error instanceof Error ? error.name : typeof error;
    const place = error instanceof Error ? placeOf(error) : '';
    return ApplicationFailure.create({ type: 'INTERNAL', message: `unexpected ${name} ${place}` });
  }
  return ApplicationFailure.create({
    type: known.code,
    message: known.message,
    nonRetryable: !known.retryable,
    details: [known.details],
    ...(known.fault === 'peer' ? { category: ApplicationFailureCategory.BENIGN } : {}),
  });
}

/** Where an error was made. Its text comes first in the stack, and may have lines that look like one. */
function placeOf({ stack = '', message }: Error): string {
  const end = stack.indexOf(message) + message.length;
  return /^\s+at .*$/m.exec(stack.slice(end))?.[0].trim() ?? '';
}
