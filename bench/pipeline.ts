/**
 * Durable tasks a second through the whole pipeline: seal, store on IPFS, dispatch, check, record.
 * Answers come off a script at once, so that what is measured is what the network adds. A client's
 * request counts when its last event has come, which is when the task is recorded.
 *
 * The other side takes the same five steps as a DBOS Transact workflow: same adapters, same Kubo, same
 * kind of miners, one PostgreSQL with `fsync` on where the engine has Temporal's own database and another
 * (`network/dbos-process.ts` says what it leaves out). Sides take turns, with three miners a task and
 * with one; all that runs shares the machine's cores, idle sides included.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { SessionId } from '../domain/ids.js';
import { startPostgres } from '../servers/start/index.js';
import type { Bench, BenchContext } from './bench.js';
import { ask, quantile, runClients } from './network/ask.js';
import { startChild } from './network/child.js';
import type { DbosInput, DbosReady } from './network/dbos-process.js';
import { startNetwork, type BenchNetwork } from './network/network.js';

const CLIENTS = 64;
const SESSIONS = 10;
const WARM_UP = 64;
/** Requests of one turn; sides take turns, so that other work on the machine hits both. */
const TURN = 192;
const TURNS = 3;
const PROMPT = '8@';

export const pipeline: Bench = {
  name: 'pipeline',
  what: 'durable tasks a second, 64 clients on 10 sessions, beside DBOS Transact',
  target: { ratio_vs_dbos: { min: 2 } },
  async run(context) {
    const network = await startNetwork(context);
    const sides: Side[] = [];
    for (const miners of [3, 1]) {
      const sessions = await Promise.all(
        Array.from({ length: SESSIONS }, () =>
          network.openSession({ level: 'link', redundancy: miners }),
        ),
      );
      sides.push({ name: 'engine', miners, at: network, sessions, elapsedMs: 0, totals: [] });
    }
    sides.push(...(await openDbos(context, network)));
    for (const side of sides) await turn(side, WARM_UP);
    context.say('warm');
    for (let i = 0; i < TURNS; i++) {
      for (const side of sides) {
        const startedAt = performance.now();
        side.totals.push(...(await turn(side, TURN)));
        side.elapsedMs += performance.now() - startedAt;
      }
    }
    for (const side of sides) {
      const { name, miners, totals } = side;
      const p50 = quantile(totals, 0.5).toFixed(0);
      context.say(
        `${name}, ${miners} miners a task: ${rate(side).toFixed(1)} tasks/s, p50 ${p50} ms`,
      );
    }
    const [three, one, dbosThree, dbosOne] = sides as [Side, Side, Side, Side];
    return {
      ratio_vs_dbos: rate(three) / rate(dbosThree),
      ratio_vs_dbos_1_miner: rate(one) / rate(dbosOne),
      tasks_per_s: rate(three),
      p50_ms: quantile(three.totals, 0.5),
      p95_ms: quantile(three.totals, 0.95),
      tasks_per_s_1_miner: rate(one),
      p50_ms_1_miner: quantile(one.totals, 0.5),
      dbos_tasks_per_s: rate(dbosThree),
      dbos_p50_ms: quantile(dbosThree.totals, 0.5),
      dbos_p95_ms: quantile(dbosThree.totals, 0.95),
      dbos_tasks_per_s_1_miner: rate(dbosOne),
    };
  },
};

interface Side {
  readonly name: 'engine' | 'dbos';
  /** That answer each task. */
  readonly miners: number;
  readonly at: Parameters<typeof ask>[0];
  readonly sessions: readonly SessionId[];
  readonly totals: number[];
  elapsedMs: number;
}

async function openDbos(context: BenchContext, network: BenchNetwork): Promise<Side[]> {
  const postgres = await startPostgres({ data: join(context.data, 'dbos') });
  context.defer(() => postgres.stop());
  const groups = [3, 1].map((redundancy) =>
    Array.from({ length: SESSIONS }, () => ({
      sessionId: (randomBytes(8).readBigUInt64BE() >> 1n).toString(),
      redundancy,
    })),
  );
  const dbos = await startChild<DbosInput, DbosReady>('dbos-process', {
    config: network.config,
    miners: network.miners,
    databaseUrl: postgres.engineUrl,
    model: network.model,
    sessions: groups.flat(),
  });
  context.defer(() => dbos.stop());
  await network.connectMiners(dbos.ready.url);
  return groups.map((group) => ({
    name: 'dbos',
    miners: group[0]?.redundancy ?? 0,
    at: { ...network, routerUrl: dbos.ready.url },
    sessions: group.map(({ sessionId }) => sessionId),
    elapsedMs: 0,
    totals: [],
  }));
}

/** @returns milliseconds of each request. */
async function turn(side: Side, count: number): Promise<number[]> {
  const totals: number[] = [];
  await runClients(CLIENTS, count, async (client) => {
    const session = side.sessions[client % SESSIONS] ?? '';
    totals.push((await ask(side.at, session, PROMPT)).totalMs);
  });
  return totals;
}

function rate({ totals, elapsedMs }: Side): number {
  return totals.length / (elapsedMs / 1_000);
}
