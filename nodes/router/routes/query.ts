/** What routes read from paths and queries. */
import type { Context } from 'hono';
import { EngineError } from '../../../domain/errors.js';
import { parseSessionId, type SessionId, type TaskId } from '../../../domain/ids.js';
import type { AppEnv } from '../app.js';

export const MAX_EPOCHS_A_PAGE = 50;

/** Reads an integer.
 * @param bounds - `absent`: taken where there is no text.
 * @throws REQUEST_INVALID — not an integer of its range. */
export function readNumber<Absent extends number | null>(
  text: string | undefined,
  field: string,
  bounds: { readonly min: number; readonly max: number; readonly absent: Absent },
): number | Absent {
  const { min, max, absent } = bounds;
  if (text === undefined) return absent;
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw new EngineError('REQUEST_INVALID', { field, expected: `an integer from ${min} to ${max}` });
}

/** The task that a path names.
 * @throws REQUEST_INVALID */
export function readTask(c: Context<AppEnv, '/:id/:taskId'>): {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
} {
  return {
    sessionId: parseSessionId(c.req.param('id')),
    taskId: readTaskId(c.req.param('taskId')),
  };
}

/** Reads the id of a task of unknown origin.
 * @throws REQUEST_INVALID */
export function readTaskId(text: string): TaskId {
  const taskId = text.toLowerCase();
  if (!/^0x[0-9a-f]{64}$/.test(taskId)) {
    throw new EngineError('REQUEST_INVALID', { field: 'taskId', expected: '0x and 64 hex digits' });
  }
  return taskId as TaskId;
}
