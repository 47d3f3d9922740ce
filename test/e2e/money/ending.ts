/**
 * The end of a run: faults are over, everybody leaves, and then all money must be where it belongs, by
 * the chain and by the engine's own records.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { WholeNetwork } from '../../../bench/network/whole-network.js';
import type { LayerName } from '../../../domain/config.js';
import { findEngineError } from '../../../domain/errors.js';
import type { TaskRecord } from '../../../domain/lease.js';
import { RouterHttp } from '../../../sdk/http.js';
import type { Books } from '../../../bench/network/books.js';
import { handleAt, type OpenedSession } from './clients.js';
import { EXIT_SECONDS, type Driver } from './driver.js';
import type { Tally } from './tally.js';

const POLL_MS = 500;
const CALL_MS = 60_000;
const SETTLING_MS = 15_000;

/** Closes every session, also those whose opening was cut off for the client and went on for the
 * engine, and takes the exits that are left.
 * @param deadlineMs - by the clock of `Date.now`. */
export async function leave(
  driver: Driver,
  network: WholeNetwork,
  tally: Tally,
  deadlineMs: number,
): Promise<void> {
  const exits = new Set(
    driver.sessions.filter((s) => s.exitingSinceMs !== null).map(({ id }) => id),
  );
  const [baseUrl = ''] = network.routerUrls;
  const http = new RouterHttp({ baseUrl, apiKey: network.apiKey });
  await Promise.all(
    [...driver.attempted].map(async (id) => {
      if (exits.has(id)) return;
      const error = await tryUntil(deadlineMs, () =>
        http.json(`/api/v1/sessions/${id}/close`, { method: 'POST' }),
      );
      const isOurs = driver.sessions.some((session) => session.id === id);
      if (error !== null && (isOurs || findEngineError(error)?.code !== 'SESSION_NOT_FOUND')) {
        tally.find(`session ${id} cannot be closed: ${findEngineError(error)?.code}`);
      }
    }),
  );
  const exiting = driver.sessions.filter((session) => session.exitingSinceMs !== null);
  if (exiting.length === 0) return;
  // The delay of an exit is there for this: what was done is paid first.
  await delay(SETTLING_MS);
  await driver.chain.jump(EXIT_SECONDS + 1);
  for (const session of exiting) {
    // Where the engine was faster, there is nothing left to exit from.
    await driver.chain.exit(session.owner.wallet, session.id).catch((error: unknown) => {
      tally.count(`late exit: ${findEngineError(error)?.code ?? 'INTERNAL'}`);
    });
  }
}

/** Waits until nothing is held any more.
 * @returns milliseconds that it took; `null` when the deadline came first. */
export async function untilNothingIsHeld(
  read: () => Promise<Books>,
  deadlineMs: number,
): Promise<number | null> {
  const startMs = Date.now();
  for (;;) {
    if ((await read()).heldWei === 0n) return Date.now() - startMs;
    if (Date.now() > deadlineMs) return null;
    await delay(POLL_MS);
  }
}

/** Waits until the chain has everything that the outbox sent, in some version of it.
 * @returns keys of what is in doubt still. */
export async function transactionsInDoubt(
  { pool, chains }: WholeNetwork,
  deadlineMs: number,
): Promise<string[]> {
  for (;;) {
    const { rows } = await pool.query<{ key: string; layer: LayerName; hash: string }>(
      `select key, layer, hash from engine.tx_outbox join engine.tx_attempt using (key)
       where state not in ('final', 'reverted') order by key`,
    );
    const mined = new Set<string>();
    for (const { key, layer, hash } of rows) {
      const receipt = await chains.providers[layer].getTransactionReceipt(hash).catch(() => null);
      if (receipt !== null) mined.add(key);
    }
    // What a chain forgot and got back has nobody who waits for it any more; that it is there counts.
    const doubts = new Set(rows.map(({ key }) => key).filter((key) => !mined.has(key)));
    if (doubts.size === 0 || Date.now() > deadlineMs) return [...doubts];
    await delay(POLL_MS);
  }
}

/** Compares what clients were told, what the engine has on record, and what the chain has paid. */
export async function checkRecords(
  driver: Driver,
  books: Books,
  tally: Tally,
): Promise<{ readonly acknowledged: number; readonly recorded: number }> {
  let acknowledged = 0;
  let recorded = 0;
  const seen = new Set<string>();
  for (const session of driver.sessions) {
    const found = await recordsOf(session);
    if ('error' in found) {
      tally.find(`session ${session.id}: no records, ${String(found.error)}`);
      continue;
    }
    const { records } = found;
    recorded += records.length;
    for (const { taskId } of records) {
      if (seen.has(taskId)) tally.find(`task ${taskId} is recorded twice`);
      seen.add(taskId);
    }
    checkAsks(session, records, tally);
    checkPayments(session, records, books, tally);
    acknowledged += session.asks.filter(({ acknowledged: answer }) => answer !== null).length;
  }
  for (const [id, session] of books.sessions) {
    if (!session.isClosed) tally.find(`session ${id} is open on chain`);
    if (!driver.attempted.has(id)) tally.find(`session ${id} was opened by nobody`);
  }
  return { acknowledged, recorded };
}

function checkAsks(session: OpenedSession, records: readonly TaskRecord[], tally: Tally): void {
  for (const { key, acknowledged } of session.asks) {
    if (acknowledged === null) continue;
    const record = records.find(({ taskId }) => taskId === acknowledged.taskId);
    const at = `session ${session.id} ${key}`;
    if (record === undefined) tally.find(`${at}: was answered and is not recorded`);
    else if (record.outcome !== acknowledged.outcome && record.outcome !== 'disputed') {
      tally.find(`${at}: was answered ${acknowledged.outcome}, is recorded ${record.outcome}`);
    }
  }
}

/** What is charged was paid for on chain, once; what is not charged was not. An owner's exit may come
 * before the last settlement: then it is the miners who have waited too long, and nothing is paid. */
function checkPayments(
  { id, exitingSinceMs }: OpenedSession,
  records: readonly TaskRecord[],
  books: Books,
  tally: Tally,
): void {
  const session = books.sessions.get(id);
  if (session === undefined) return;
  for (const { ordinal, chargeWei, taskId, settlementTx } of records) {
    const isPaid = session.settled.has(ordinal);
    const isCharged = BigInt(chargeWei) > 0n;
    if (isCharged && !isPaid && exitingSinceMs !== null) tally.count('task: unpaid by an exit');
    else if (isCharged !== isPaid) {
      tally.find(`session ${id} task ${taskId}: charge ${chargeWei}, on chain ${String(isPaid)}`);
    }
    if (isPaid && settlementTx === null) tally.find(`session ${id} task ${taskId}: no transaction`);
  }
  const settled = records.filter(({ ordinal }) => session.settled.has(ordinal));
  const charged = settled.reduce((sum, { chargeWei }) => sum + BigInt(chargeWei), 0n);
  if (charged !== session.chargedWei) {
    tally.find(`session ${id}: charged ${charged} on record, ${session.chargedWei} on chain`);
  }
  if (settled.length !== session.settled.size) {
    tally.find(`session ${id}: ${session.settled.size} paid, ${settled.length} on record`);
  }
}

async function recordsOf(
  session: OpenedSession,
): Promise<{ readonly records: readonly TaskRecord[] } | { readonly error: unknown }> {
  let records: readonly TaskRecord[] = [];
  const error = await tryUntil(Date.now() + CALL_MS, async () => {
    records = await handleAt(session, 0).tasks();
  });
  return error === null ? { records } : { error };
}

/** @returns the error that asking again did not mend; `null` for success. */
async function tryUntil(deadlineMs: number, work: () => Promise<unknown>): Promise<unknown> {
  for (;;) {
    try {
      await work();
      return null;
    } catch (error) {
      if (findEngineError(error)?.retryable === false || Date.now() > deadlineMs) return error;
      await delay(POLL_MS);
    }
  }
}
