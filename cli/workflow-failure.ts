/** What a failed workflow failed of. */
import { ApplicationFailure } from '@temporalio/common';

/** The code of the innermost failure that has one; `INTERNAL` when none has. */
export function failureCode(error: unknown): string {
  let code = 'INTERNAL';
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    if (e instanceof ApplicationFailure && typeof e.type === 'string') code = e.type;
  }
  return code;
}
