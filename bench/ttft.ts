/**
 * Time to first token through the router, against the miners' own backend over plain HTTP. Three
 * sides take turns: the backend, a session at level `open`, and one at `link`, which
 * is the default and the one that counts. Three miners answer each request of a session, and while
 * the stream runs the request is sealed, pinned and recorded: that work is under way meanwhile.
 */
import type { Bench } from './bench.js';
import { ask, quantile, runClients } from './network/ask.js';
import { startNetwork } from './network/network.js';

const CLIENTS = 16;
const REDUNDANCY = 3;
const REQUESTS = 240;
const WARM_UP = 48;
/** A stream of 1.3 s, as a model at 50 tokens a second has it; its first token comes after 20 ms. */
const PROMPT = '64@50';

export const ttft: Bench = {
  name: 'ttft',
  what: "time to first token through the router, beside the miner's backend; 16 clients",
  target: { added_p50_ms: { max: 5 }, added_p95_ms: { max: 15 } },
  async run(context) {
    const network = await startNetwork(context);
    const sides = [
      { name: 'backend', session: null, firsts: [] as number[] },
      {
        name: 'open',
        session: await network.openSession({ level: 'open', redundancy: REDUNDANCY }),
        firsts: [] as number[],
      },
      {
        name: 'link',
        session: await network.openSession({ level: 'link', redundancy: REDUNDANCY }),
        firsts: [] as number[],
      },
    ] as const;
    const request = async (prompt: string, index: number, isCounted: boolean) => {
      const side = sides[index % sides.length] ?? sides[0];
      const { firstMs } = await ask(network, side.session, prompt);
      if (isCounted) side.firsts.push(firstMs);
    };
    await runClients(CLIENTS, WARM_UP, (_, index) => request('4@50', index, false));
    context.say('warm');
    await runClients(CLIENTS, REQUESTS, (_, index) => request(PROMPT, index, true));
    const [backend, open, link] = sides.map(({ name, firsts }) => {
      const [p50, p95] = [quantile(firsts, 0.5), quantile(firsts, 0.95)];
      context.say(
        `${name}: p50 ${p50.toFixed(1)} ms, p95 ${p95.toFixed(1)} ms of ${firsts.length}`,
      );
      return { p50, p95 };
    }) as [Quantiles, Quantiles, Quantiles];
    return {
      added_p50_ms: link.p50 - backend.p50,
      added_p95_ms: link.p95 - backend.p95,
      added_p50_ms_open: open.p50 - backend.p50,
      added_p95_ms_open: open.p95 - backend.p95,
      backend_p50_ms: backend.p50,
      backend_p95_ms: backend.p95,
    };
  },
};

interface Quantiles {
  readonly p50: number;
  readonly p95: number;
}
