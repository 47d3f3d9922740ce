/**
 * Time to first token, and to the whole answer, through the router against the miners' own backend over
 * plain HTTP, at 1, 16 and 64 clients. Three sides take turns: the backend, a session at level `open`,
 * and one at `link`, which is the default and the one that counts. Three miners answer each request of
 * a session, and while the stream runs the request is sealed, pinned and recorded: that work is under
 * way meanwhile. The last event waits for the record; the backend's waits for nothing.
 */
import type { SessionId } from '../domain/ids.js';
import type { Bench, BenchContext, Metrics } from './bench.js';
import { ask, quantile, runClients, type Timing } from './network/ask.js';
import { startNetwork, type BenchNetwork } from './network/network.js';

const REDUNDANCY = 3;
const WARM_UP = 48;
/** A stream of 1.3 s, as a model at 50 tokens a second has it; its first token comes after 20 ms. */
const PROMPT = '64@50';
/** Clients, and how many requests they send in all; 16 clients are the target's. */
const LOADS = [
  { clients: 1, requests: 36 },
  { clients: 16, requests: 240 },
  { clients: 64, requests: 384 },
] as const;
const TARGET_CLIENTS = 16;

export const ttft: Bench = {
  name: 'ttft',
  what: "time to first token through the router, beside the miner's backend; 1, 16, 64 clients",
  target: { added_p50_ms: { max: 5 }, added_p95_ms: { max: 15 } },
  async run(context) {
    const network = await startNetwork(context);
    const sides: Side[] = [{ name: 'backend', session: null }];
    for (const level of ['open', 'link'] as const) {
      const session = await network.openSession({ level, redundancy: REDUNDANCY });
      sides.push({ name: level, session });
    }
    await runClients(TARGET_CLIENTS, WARM_UP, async (_, index) => {
      await ask(network, sides[index % sides.length]?.session ?? null, '4@50');
    });
    context.say('warm');
    const metrics: Record<string, number | null> = {};
    for (const load of LOADS) Object.assign(metrics, await measure(context, network, sides, load));
    return metrics;
  },
};

interface Side {
  readonly name: 'backend' | 'open' | 'link';
  /** `null` asks the backend itself. */
  readonly session: SessionId | null;
}

async function measure(
  { say }: BenchContext,
  network: BenchNetwork,
  sides: readonly Side[],
  { clients, requests }: (typeof LOADS)[number],
): Promise<Metrics> {
  const timings = sides.map(() => [] as Timing[]);
  await runClients(clients, requests, async (_, index) => {
    const at = index % sides.length;
    timings[at]?.push(await ask(network, sides[at]?.session ?? null, PROMPT));
  });
  const [backend, open, link] = sides.map(({ name }, i) => {
    const firsts = (timings[i] ?? []).map(({ firstMs }) => firstMs);
    const totals = (timings[i] ?? []).map(({ totalMs }) => totalMs);
    const found = {
      p50: quantile(firsts, 0.5),
      p95: quantile(firsts, 0.95),
      total50: quantile(totals, 0.5),
      total95: quantile(totals, 0.95),
    };
    say(
      `${clients} clients, ${name}: first token p50 ${found.p50.toFixed(1)} ms, ` +
        `p95 ${found.p95.toFixed(1)} ms; whole answer p50 ${found.total50.toFixed(0)} ms`,
    );
    return found;
  }) as [Quantiles, Quantiles, Quantiles];
  const suffix = clients === TARGET_CLIENTS ? '' : `_${clients}`;
  return {
    [`added_p50_ms${suffix}`]: link.p50 - backend.p50,
    [`added_p95_ms${suffix}`]: link.p95 - backend.p95,
    [`added_p50_ms_open${suffix}`]: open.p50 - backend.p50,
    [`added_p95_ms_open${suffix}`]: open.p95 - backend.p95,
    [`total_added_p50_ms${suffix}`]: link.total50 - backend.total50,
    [`total_added_p95_ms${suffix}`]: link.total95 - backend.total95,
    [`backend_p50_ms${suffix}`]: backend.p50,
    [`backend_p95_ms${suffix}`]: backend.p95,
  };
}

interface Quantiles {
  readonly p50: number;
  readonly p95: number;
  readonly total50: number;
  readonly total95: number;
}
