/** What routers must agree on about their callers: tokens that a key has used, nonces of sign-ins. */
import type pg from 'pg';
import type { TaskId } from '../../domain/ids.js';
import { query } from './pool.js';

/** Opens both on the engine's database, which is migrated.
 * Every method throws DATABASE_UNREACHABLE and DATABASE_REFUSED. */
export function openGuardStore(pool: pg.Pool) {
  return {
    /** Tokens that a key has used in its life. */
    async readUsedTokens(keyName: string): Promise<number> {
      const [row] = await query<{ used: string }>(
        pool,
        `select coalesce(sum(tokens), 0) as used from engine.api_key_task where key_name = $1`,
        [keyName],
      );
      return Number(row?.used ?? 0);
    },

    /** Counts a task's tokens; a task that was counted before stays as it is. */
    async addUsedTokens(keyName: string, taskId: TaskId, tokens: number): Promise<void> {
      await query(
        pool,
        `insert into engine.api_key_task (key_name, task_id, tokens) values ($1, $2, $3)
         on conflict do nothing`,
        [keyName, taskId, tokens],
      );
    },

    /** Marks a nonce as used.
     * @returns false when it was used before. */
    async useNonce(nonce: string, expiresAtMs: number): Promise<boolean> {
      await query(pool, `delete from engine.sign_in_nonce where expires_at < now()`);
      const rows = await query(
        pool,
        `insert into engine.sign_in_nonce (nonce, expires_at) values ($1, $2)
         on conflict do nothing returning nonce`,
        [nonce, new Date(expiresAtMs)],
      );
      return rows.length > 0;
    },
  };
}
