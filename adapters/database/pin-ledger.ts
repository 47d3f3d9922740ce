/**
 * Who needs which block on IPFS, in the engine's database, so that all routers and workers agree. A
 * block's lock is taken shared to note a need and alone to end one: nobody pins what is being unpinned.
 */
import type pg from 'pg';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import { inTransaction, query } from './pool.js';

/** Needs that are noted in one transaction at most. */
const MAX_BATCH = 200;
/** Releases at once: each holds a connection while a node unpins. */
const MAX_RELEASES = 4;

interface Hold {
  readonly cid: Cid;
  readonly holder: string;
  readonly isKey: boolean;
}

interface Waiting extends Hold {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Opens the ledger on the engine's database, which is migrated. Its contract is `PinLedger` of
 * adapters/ipfs/held-store.ts. */
export function openPinLedger(pool: pg.Pool) {
  /** The last release of each lane; the next one of a lane waits for it. */
  const lanes: Promise<unknown>[] = [];
  let releases = 0;
  let waiting: Waiting[] = [];
  let isWriting = false;

  /** What gathers while one transaction runs goes into the next. */
  async function write(): Promise<void> {
    if (isWriting) return;
    isWriting = true;
    try {
      while (waiting.length > 0) {
        const batch = waiting.slice(0, MAX_BATCH);
        waiting = waiting.slice(MAX_BATCH);
        await noteAll(pool, batch).then(
          (noted) => {
            for (const one of batch) {
              if (noted.has(nameOf(one))) one.resolve();
              else one.reject(foreign(one));
            }
          },
          (error: unknown) => {
            for (const one of batch) one.reject(error);
          },
        );
      }
    } finally {
      isWriting = false;
    }
  }

  /** Ends a need on our nodes by `change`, and calls `letGo` when it was the last. */
  async function end(
    cid: Cid,
    change: (client: pg.PoolClient) => Promise<unknown[]>,
    letGo: () => Promise<void>,
  ): Promise<void> {
    const run = () =>
      inTransaction(pool, async (client) => {
        await query(client, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, [cid]);
        if ((await change(client)).length === 0) return;
        const others = await query(
          client,
          `select 1 from engine.pin where cid = $1 and host is null limit 1`,
          [cid],
        );
        if (others.length === 0) await letGo();
      });
    const lane = releases++ % MAX_RELEASES;
    const ended = (lanes[lane] ?? Promise.resolve()).then(run);
    lanes[lane] = ended.catch(() => undefined);
    await ended;
  }

  return {
    async hold(hold: Hold): Promise<void> {
      if (hold.isKey) {
        if (!(await noteKey(pool, hold))) throw foreign(hold);
        return;
      }
      await new Promise<void>((resolve, reject) => {
        waiting.push({ ...hold, resolve, reject });
        void write();
      });
    },

    async release(holder: string, cid: Cid, letGo: () => Promise<void>): Promise<void> {
      await end(
        cid,
        (client) =>
          query(client, `delete from engine.pin where cid = $1 and holder = $2 returning cid`, [
            cid,
            holder,
          ]),
        letGo,
      );
    },

    async move(holder: string, cid: Cid, host: string, letGo: () => Promise<void>): Promise<void> {
      await end(
        cid,
        (client) =>
          query(
            client,
            `update engine.pin set host = $3
             where cid = $1 and holder = $2 and host is null returning cid`,
            [cid, holder, host],
          ),
        letGo,
      );
    },

    async find(cid: Cid): Promise<{ readonly host: string | null } | null> {
      const [row] = await query<{ host: string | null }>(
        pool,
        `select host from engine.pin where cid = $1 order by host nulls first limit 1`,
        [cid],
      );
      return row ?? null;
    },

    async isHeld(holder: string, cid: Cid): Promise<boolean> {
      const rows = await query(
        pool,
        `select 1 from engine.pin where cid = $1 and holder = $2 and host is null`,
        [cid, holder],
      );
      return rows.length > 0;
    },
  };
}

/** @returns names of those that are noted: all but bytes that are another holder's keys. */
async function noteAll(pool: pg.Pool, batch: readonly Hold[]): Promise<ReadonlySet<string>> {
  const wanted = [...new Map(batch.map((one) => [nameOf(one), one])).values()];
  const rows = await query<{ cid: Cid; holder: string }>(
    pool,
    `select cid, holder from engine.hold_pins($1, $2)`,
    [wanted.map(({ cid }) => cid), wanted.map(({ holder }) => holder)],
  );
  return new Set(rows.map(nameOf));
}

/** @returns false when somebody else needs the bytes already, as whatever. */
async function noteKey(pool: pg.Pool, { cid, holder }: Hold): Promise<boolean> {
  return await inTransaction(pool, async (client) => {
    await query(client, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, [cid]);
    const rows = await query(
      client,
      `insert into engine.pin (cid, holder, is_key)
       select $1, $2, true
       where not exists (select from engine.pin where cid = $1 and holder <> $2)
       on conflict (cid, holder) do update set is_key = true, host = null
       returning cid`,
      [cid, holder],
    );
    return rows.length > 0;
  });
}

function nameOf({ cid, holder }: Pick<Hold, 'cid' | 'holder'>): string {
  return `${holder} ${cid}`;
}

function foreign({ cid }: Hold): EngineError {
  return new EngineError('REQUEST_INVALID', {
    field: 'content',
    expected: "bytes that are not another session's keys",
    cid,
  });
}
