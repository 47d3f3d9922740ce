/**
 * The statements that write a batch: one a table, each taking columns as arrays, so that a thousand
 * rows are one round trip and the statement's text is always the same.
 */
import type pg from 'pg';
import type { PayloadRow, SessionRow, TaskResultRow, TaskRow } from '../../domain/export.js';
import { query } from './pool.js';

type Client = Pick<pg.PoolClient, 'query'>;

/** Rows a statement, and bytes of payload a statement (they travel as hexadecimal, twice as long). */
const MAX_ROWS = 1_000;
const MAX_BYTES = 8 * 1024 * 1024;

export async function upsertSessions(client: Client, rows: readonly SessionRow[]): Promise<void> {
  for (const chunk of chunks(lastByKey(rows, (r) => r.sessionId))) {
    await query(
      client,
      `insert into cortensor.session (session_id, owner, state, model, level, redundancy,
         policy_cid, keyring_cid, price_per_token_wei, deposited_wei, charged_wei, refunded_wei)
       select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],
         $6::integer[], $7::text[], $8::text[], $9::numeric[], $10::numeric[], $11::numeric[],
         $12::numeric[])
       on conflict (session_id) do update set
         owner = excluded.owner, state = excluded.state, model = excluded.model,
         level = excluded.level, redundancy = excluded.redundancy,
         policy_cid = excluded.policy_cid, keyring_cid = excluded.keyring_cid,
         price_per_token_wei = excluded.price_per_token_wei,
         deposited_wei = excluded.deposited_wei, charged_wei = excluded.charged_wei,
         refunded_wei = excluded.refunded_wei`,
      [
        chunk.map((r) => r.sessionId),
        chunk.map((r) => r.owner),
        chunk.map((r) => r.state),
        chunk.map((r) => r.model),
        chunk.map((r) => r.level),
        chunk.map((r) => r.redundancy),
        chunk.map((r) => r.policyCid),
        chunk.map((r) => r.keyringCid),
        chunk.map((r) => r.pricePerTokenWei),
        chunk.map((r) => r.depositedWei),
        chunk.map((r) => r.chargedWei),
        chunk.map((r) => r.refundedWei),
      ],
    );
  }
}

export async function upsertTasks(client: Client, rows: readonly TaskRow[]): Promise<void> {
  for (const chunk of chunks(lastByKey(rows, (r) => r.taskId))) {
    await query(
      client,
      `insert into cortensor.task (task_id, session_id, ordinal, state, outcome, request_cid,
         evidence_cid, prompt_tokens, completion_tokens, charge_wei, settlement_tx)
       select * from unnest($1::text[], $2::bigint[], $3::integer[], $4::text[], $5::text[],
         $6::text[], $7::text[], $8::integer[], $9::integer[], $10::numeric[], $11::text[])
       on conflict (task_id) do update set
         session_id = excluded.session_id, ordinal = excluded.ordinal, state = excluded.state,
         outcome = excluded.outcome, request_cid = excluded.request_cid,
         evidence_cid = excluded.evidence_cid, prompt_tokens = excluded.prompt_tokens,
         completion_tokens = excluded.completion_tokens, charge_wei = excluded.charge_wei,
         settlement_tx = excluded.settlement_tx`,
      [
        chunk.map((r) => r.taskId),
        chunk.map((r) => r.sessionId),
        chunk.map((r) => r.ordinal),
        chunk.map((r) => r.state),
        chunk.map((r) => r.outcome),
        chunk.map((r) => r.requestCid),
        chunk.map((r) => r.evidenceCid),
        chunk.map((r) => r.promptTokens),
        chunk.map((r) => r.completionTokens),
        chunk.map((r) => r.chargeWei),
        chunk.map((r) => r.settlementTx),
      ],
    );
  }
}

export async function upsertResults(client: Client, rows: readonly TaskResultRow[]): Promise<void> {
  for (const chunk of chunks(lastByKey(rows, (r) => `${r.taskId}:${r.miner}`))) {
    await query(
      client,
      `insert into cortensor.task_result (task_id, session_id, miner, result_cid, result_hash,
         score_bps, is_agreed, paid_wei)
       select * from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[],
         $6::integer[], $7::boolean[], $8::numeric[])
       on conflict (task_id, miner) do update set
         session_id = excluded.session_id, result_cid = excluded.result_cid,
         result_hash = excluded.result_hash, score_bps = excluded.score_bps,
         is_agreed = excluded.is_agreed, paid_wei = excluded.paid_wei`,
      [
        chunk.map((r) => r.taskId),
        chunk.map((r) => r.sessionId),
        chunk.map((r) => r.miner),
        chunk.map((r) => r.resultCid),
        chunk.map((r) => r.resultHash),
        chunk.map((r) => r.scoreBps),
        chunk.map((r) => r.isAgreed),
        chunk.map((r) => r.paidWei),
      ],
    );
  }
}

/** A block never changes under its CID, so one that is there stays as it is. */
export async function upsertPayloads(client: Client, rows: readonly PayloadRow[]): Promise<void> {
  for (const chunk of chunks(
    lastByKey(rows, (r) => r.cid),
    (r) => r.bytes.byteLength,
  )) {
    await query(
      client,
      `insert into cortensor.payload (cid, kind, bytes)
       select * from unnest($1::text[], $2::text[], $3::bytea[])
       on conflict (cid) do nothing`,
      [chunk.map((r) => r.cid), chunk.map((r) => r.kind), chunk.map((r) => Buffer.from(r.bytes))],
    );
  }
}

/** A statement may not touch one row twice: of rows under one key the last one counts. */
function lastByKey<Row>(rows: readonly Row[], keyOf: (row: Row) => string): Row[] {
  return [...new Map(rows.map((row) => [keyOf(row), row])).values()];
}

function* chunks<Row>(
  rows: readonly Row[],
  bytesOf: (row: Row) => number = () => 0,
): Generator<Row[]> {
  let chunk: Row[] = [];
  let bytes = 0;
  for (const row of rows) {
    const more = bytesOf(row);
    if (chunk.length === MAX_ROWS || (chunk.length > 0 && bytes + more > MAX_BYTES)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(row);
    bytes += more;
  }
  if (chunk.length > 0) yield chunk;
}
