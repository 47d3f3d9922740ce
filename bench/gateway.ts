/**
 * What stands between a client and a model, and what it costs: a plain reverse proxy (`node:http` on
 * both sides), LiteLLM's proxy, and this router, all before one script that answers like an
 * OpenAI-compatible server at once. Clients stream; the sides take turns.
 *
 * The two proxies pass on. The router dispatches to a miner over its WebSocket, sealed, checks its
 * signatures, and ends an answer only when it is at rest and recorded: its whole answers have that in
 * them. With one miner it does once what the proxies do once; with three, its default, three times.
 */
import type { SessionId } from '../domain/ids.js';
import type { Bench } from './bench.js';
import { ask, quantile, runClients } from './network/ask.js';
import { startChild } from './network/child.js';
import { startLiteLlm } from './network/litellm.js';
import { startNetwork } from './network/network.js';
import type { ProxyInput, ProxyReady } from './network/proxy-process.js';

const CLIENTS = 8;
const WARM_UP = 32;
/** Requests of one turn. */
const TURN = 64;
const TURNS = 4;
/** Eight tokens, at once. */
const PROMPT = '8@';

export const gateway: Bench = {
  name: 'gateway',
  what: "the router's overhead, beside a plain reverse proxy's and LiteLLM's; 8 clients",
  target: { ratio_vs_litellm: { max: 1 } },
  async run(context) {
    const network = await startNetwork(context);
    const proxy = await startChild<ProxyInput, ProxyReady>('proxy-process', {
      targetUrl: network.backendUrl,
    });
    context.defer(() => proxy.stop());
    const liteLlm = await startLiteLlm(context, { url: network.backendUrl, model: network.model });
    const open = async (redundancy: number) => network.openSession({ level: 'link', redundancy });
    const sides: readonly GatewaySide[] = [
      sideOf('backend', network, null),
      sideOf('proxy', { ...network, backendUrl: proxy.ready.url }, null),
      sideOf('litellm', { ...network, routerUrl: liteLlm.url, apiKey: liteLlm.apiKey }, ''),
      sideOf('router', network, await open(1)),
      sideOf('router3', network, await open(3)),
    ];
    for (const side of sides) await turn(side, WARM_UP);
    context.say('warm');
    for (let i = 0; i < TURNS; i++) {
      for (const side of sides) {
        const startedAt = performance.now();
        await turn(side, TURN, side);
        side.elapsedMs += performance.now() - startedAt;
      }
    }
    const [backend, proxied, liteLlmSide, router, router3] = sides.map((side) => {
      const found = {
        rate: side.firsts.length / (side.elapsedMs / 1_000),
        first50: quantile(side.firsts, 0.5),
        first95: quantile(side.firsts, 0.95),
        total50: quantile(side.totals, 0.5),
        total95: quantile(side.totals, 0.95),
      };
      context.say(
        `${side.name}: ${found.rate.toFixed(0)} requests/s, first token p50 ` +
          `${found.first50.toFixed(1)} ms, p95 ${found.first95.toFixed(1)} ms, whole answer p50 ` +
          `${found.total50.toFixed(1)} ms, p95 ${found.total95.toFixed(1)} ms`,
      );
      return found;
    }) as [Found, Found, Found, Found, Found];
    return {
      ratio_vs_litellm:
        (router.first50 - backend.first50) / (liteLlmSide.first50 - backend.first50),
      ratio_vs_litellm_whole:
        (router.total50 - backend.total50) / (liteLlmSide.total50 - backend.total50),
      overhead_p50_ms: router.first50 - backend.first50,
      overhead_p95_ms: router.first95 - backend.first95,
      overhead_p50_ms_3_miners: router3.first50 - backend.first50,
      overhead_p95_ms_3_miners: router3.first95 - backend.first95,
      proxy_overhead_p50_ms: proxied.first50 - backend.first50,
      proxy_overhead_p95_ms: proxied.first95 - backend.first95,
      litellm_overhead_p50_ms: liteLlmSide.first50 - backend.first50,
      litellm_overhead_p95_ms: liteLlmSide.first95 - backend.first95,
      whole_overhead_p50_ms: router.total50 - backend.total50,
      proxy_whole_overhead_p50_ms: proxied.total50 - backend.total50,
      litellm_whole_overhead_p50_ms: liteLlmSide.total50 - backend.total50,
      requests_per_s: router.rate,
      requests_per_s_3_miners: router3.rate,
      proxy_requests_per_s: proxied.rate,
      litellm_requests_per_s: liteLlmSide.rate,
      backend_requests_per_s: backend.rate,
    };
  },
};

interface GatewaySide {
  readonly name: string;
  readonly at: Parameters<typeof ask>[0];
  /** `null` asks the backend's URL; what is no router reads nothing into a session. */
  readonly session: SessionId | null;
  readonly firsts: number[];
  readonly totals: number[];
  elapsedMs: number;
}

function sideOf(name: string, at: GatewaySide['at'], session: SessionId | null): GatewaySide {
  return { name, at, session, firsts: [], totals: [], elapsedMs: 0 };
}

interface Found {
  readonly rate: number;
  readonly first50: number;
  readonly first95: number;
  readonly total50: number;
  readonly total95: number;
}

async function turn(side: GatewaySide, count: number, into?: GatewaySide): Promise<void> {
  await runClients(CLIENTS, count, async () => {
    const { firstMs, totalMs } = await ask(side.at, side.session, PROMPT);
    into?.firsts.push(firstMs);
    into?.totals.push(totalMs);
  });
}
