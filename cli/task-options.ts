/** What commands about one task take. */
import { EngineError } from '../domain/errors.js';
import type { TaskId } from '../domain/ids.js';

export const SESSION_OPTION = {
  session: {
    value: 'SESSION',
    about: 'its session: the number, or the file of a saved one',
    isRequired: true,
  },
} as const;

/** @throws USAGE — not the id of a task. */
export function parseTask(text: string): TaskId {
  if (/^0x[0-9a-fA-F]{64}$/.test(text)) return text.toLowerCase() as TaskId;
  throw new EngineError('USAGE', { what: 'TASK', expected: '0x and 64 hex digits' });
}
