/**
 * Reads a session back from a sink as counts and one SHA-256, so that a receipt can be compared with
 * what stands there now. The database hashes row by row; rows come to us in pages, in key order.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import type { ExportDigest, ExportTable } from '../../domain/export.js';
import type { SessionId } from '../../domain/ids.js';
import { inTransaction, query } from './pool.js';

/** The rows of a session, table by table: a sortable key, and the row as a JSON array. */
const ROWS: readonly (readonly [ExportTable, string])[] = [
  [
    'session',
    `select session_id::text as key, json_build_array(session_id::text, owner, state, model, level,
       redundancy, policy_cid, keyring_cid, price_per_token_wei::text, deposited_wei::text,
       charged_wei::text, refunded_wei::text)::text as row
     from cortensor.session where session_id = $1`,
  ],
  [
    'task',
    `select task_id as key, json_build_array(task_id, ordinal, state, outcome, request_cid,
       evidence_cid, prompt_tokens, completion_tokens, charge_wei::text, settlement_tx)::text as row
     from cortensor.task where session_id = $1`,
  ],
  [
    'task_result',
    `select task_id || ':' || miner as key, json_build_array(task_id, miner, result_cid, result_hash,
       score_bps, is_agreed, paid_wei::text)::text as row
     from cortensor.task_result where session_id = $1`,
  ],
  [
    'payload',
    `select cid as key, json_build_array(cid, kind, encode(sha256(bytes), 'hex'))::text as row
     from cortensor.payload where cid in (
       select unnest(array[policy_cid, keyring_cid]) from cortensor.session where session_id = $1
       union select unnest(array[request_cid, evidence_cid]) from cortensor.task
         where session_id = $1
       union select result_cid from cortensor.task_result where session_id = $1)`,
  ],
];

const PAGE_ROWS = 5_000;

/** @see Sink.readDigest */
export async function readDigest(pool: pg.Pool, sessionId: SessionId): Promise<ExportDigest> {
  const counts: Record<ExportTable, number> = { session: 0, task: 0, task_result: 0, payload: 0 };
  const hash = createHash('sha256');
  await inTransaction(pool, async (client) => {
    // One snapshot for all tables: a batch that is written meanwhile is seen whole or not at all.
    await query(client, 'set transaction isolation level repeatable read, read only');
    for (const [table, select] of ROWS) {
      hash.update(`${table}\n`);
      // The cursor keeps memory flat; "C" makes the order that of bytes, whatever the locale.
      await query(
        client,
        `declare rows_of_${table} no scroll cursor for
         select row from (${select.replaceAll('$1', `'${BigInt(sessionId)}'`)}) rows
         order by key collate "C"`,
      );
      for (;;) {
        const page = await query<{ row: string }>(
          client,
          `fetch ${PAGE_ROWS} from rows_of_${table}`,
        );
        for (const { row } of page) hash.update(`${row}\n`);
        counts[table] += page.length;
        if (page.length < PAGE_ROWS) break;
      }
    }
  });
  return { rows: counts, digest: `0x${hash.digest('hex')}` };
}
