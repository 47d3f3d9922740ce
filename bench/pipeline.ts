/**
 * Durable tasks a second through the whole pipeline: seal, store on IPFS, dispatch, check, record.
 * Answers come off a script at once, so that what is measured is what the network adds. A client's
 * request counts when its last event has come, which is when the task is recorded.
 *
 * The other side, the same steps as a DBOS Transact workflow, is not here: that package is none of
 * the project's dependencies. Its ratio is therefore not measured, and the target not met.
 */
import type { SessionId } from '../domain/ids.js';
import type { Bench } from './bench.js';
import { ask, quantile, runClients } from './network/ask.js';
import { startNetwork } from './network/network.js';

const CLIENTS = 64;
const SESSIONS = 10;
const WARM_UP = 64;
/** Requests of one turn; sides take turns, so that other work on the machine hits both. */
const TURN = 128;
const TURNS = 2;
const PROMPT = '8@';

export const pipeline: Bench = {
  name: 'pipeline',
  what: 'durable tasks a second, 64 clients on 10 sessions, instant miners',
  target: { ratio_vs_dbos: { min: 2 } },
  async run(context) {
    const network = await startNetwork(context);
    const open = (redundancy: number): Promise<SessionId[]> =>
      Promise.all(
        Array.from({ length: SESSIONS }, () => network.openSession({ level: 'link', redundancy })),
      );
    const sides = [
      { miners: 3, sessions: await open(3), elapsedMs: 0, totals: [] as number[] },
      { miners: 1, sessions: await open(1), elapsedMs: 0, totals: [] as number[] },
    ] satisfies [Side, Side];
    const turn = async (side: Side, count: number): Promise<number[]> => {
      const totals: number[] = [];
      await runClients(CLIENTS, count, async (client) => {
        const session = side.sessions[client % SESSIONS] ?? '';
        totals.push((await ask(network, session, PROMPT)).totalMs);
      });
      return totals;
    };
    for (const side of sides) await turn(side, WARM_UP);
    context.say('warm');
    for (let i = 0; i < TURNS; i++) {
      for (const side of sides) {
        const startedAt = performance.now();
        side.totals.push(...(await turn(side, TURN)));
        side.elapsedMs += performance.now() - startedAt;
      }
    }
    const rate = (side: Side) => side.totals.length / (side.elapsedMs / 1_000);
    const [three, one] = sides;
    for (const side of sides) {
      context.say(`${side.miners} miners a task: ${rate(side).toFixed(1)} tasks/s`);
    }
    context.say('the same steps as a DBOS Transact workflow: not measured');
    return {
      ratio_vs_dbos: null,
      tasks_per_s: rate(three),
      p50_ms: quantile(three.totals, 0.5),
      p95_ms: quantile(three.totals, 0.95),
      tasks_per_s_1_miner: rate(one),
      p50_ms_1_miner: quantile(one.totals, 0.5),
    };
  },
};

interface Side {
  readonly miners: number;
  readonly sessions: readonly SessionId[];
  readonly totals: number[];
  elapsedMs: number;
}
