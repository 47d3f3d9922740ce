/** Ids of tasks, which clients and routers compute alike: equal requests are one task. */
import { EngineError } from '../../domain/errors.js';
import type { SessionId, TaskId } from '../../domain/ids.js';
import { toHex, toUtf8 } from './bytes.js';

/** Computes the id of a request in a session: SHA-256 over `cortensor/task/1|<session>|<key>`.
 * @param idempotencyKey - any text, chosen by the client.
 * @throws REQUEST_INVALID — the key is empty or not well-formed Unicode. */
export async function taskIdOf(sessionId: SessionId, idempotencyKey: string): Promise<TaskId> {
  // Lone surrogates would all encode to the same bytes: two keys, one task.
  if (idempotencyKey === '' || /\p{Surrogate}/u.test(idempotencyKey)) {
    throw new EngineError('REQUEST_INVALID', { field: 'idempotencyKey', expected: 'a text' });
  }
  const preimage = toUtf8(`cortensor/task/1|${sessionId}|${idempotencyKey}`);
  return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', preimage)));
}

/** Derives the sampling seed of a task, 0 to 2^31 − 1: the same for every miner that is asked. */
export function seedOf(taskId: TaskId): number {
  return Number.parseInt(taskId.slice(2, 10), 16) >>> 1;
}
