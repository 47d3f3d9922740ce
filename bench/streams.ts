/**
 * What a thousand open streams cost one router: resident memory, and CPU while each gets a token a
 * second. Once as server-sent events, a connection each, and once over WebSockets, 64 streams on
 * each. Miners and clients are processes of their own; what is read off is the router's process alone,
 * its crypto threads included. Linux only: the figures are those of `/proc`.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bench, BenchContext, Metrics } from './bench.js';
import { startChild } from './network/child.js';
import { startNetwork, type BenchNetwork } from './network/network.js';
import type { StreamsInput, StreamsReady, Transport } from './network/streams-process.js';

const STREAMS = 1_000;
const SESSIONS = 10;
/** Long enough to open all and look at them; what is left when the bench ends is cut off. */
const PROMPT = '400@1';
const TASK_SECONDS = 600;
/** The router's first streams make it allocate and compile; they are not the thousand's. */
const WARM_UP = 100;
/** For all of them to have begun. */
const OPEN_MS = 90_000;
/** Idle streams are looked at for so long. */
const WATCH_MS = 15_000;
/** After the clients have gone, before the next ones come. */
const PAUSE_MS = 2_000;
/** Linux' clock ticks a second, in `/proc`. */
const TICKS = 100;

export const streams: Bench = {
  name: 'streams',
  what: 'CPU and resident memory of a router for 1,000 open streams, SSE and WebSocket',
  target: {},
  async run(context) {
    const network = await startNetwork(context);
    const sessions = await Promise.all(
      Array.from({ length: SESSIONS }, () =>
        network.openSession({ level: 'link', redundancy: 1, taskSeconds: TASK_SECONDS }),
      ),
    );
    await measure(context, network, { sessions, transport: 'sse', count: WARM_UP });
    const metrics: Record<string, number | null> = {};
    for (const transport of ['sse', 'websocket'] as const) {
      Object.assign(
        metrics,
        await measure(context, network, { sessions, transport, count: STREAMS }),
      );
    }
    return metrics;
  },
};

async function measure(
  { say }: BenchContext,
  network: BenchNetwork,
  load: {
    readonly sessions: readonly string[];
    readonly transport: Transport;
    readonly count: number;
  },
): Promise<Metrics> {
  const { routerUrl, routerPid, apiKey, model } = network;
  const { transport, count } = load;
  const before = usageOf(routerPid);
  const startedAt = performance.now();
  const input = { routerUrl, apiKey, model, prompt: PROMPT, ...load };
  const clients = await startChild<StreamsInput, StreamsReady>('streams-process', input, OPEN_MS);
  try {
    const opened = usageOf(routerPid);
    const seconds = (performance.now() - startedAt) / 1_000;
    await delay(WATCH_MS);
    const watched = usageOf(routerPid);
    const perThousand = 1_000 / count;
    const memory = (watched.residentMb - before.residentMb) * perThousand;
    const idle = ((watched.cpuMs - opened.cpuMs) / WATCH_MS) * 100 * perThousand;
    const opening = (opened.cpuMs - before.cpuMs) / count;
    say(
      `${count} streams by ${transport}, open after ${seconds.toFixed(1)} s: ${memory.toFixed(0)} MB ` +
        `and ${idle.toFixed(1)} % of a core a thousand, ${opening.toFixed(1)} ms of CPU to open one`,
    );
    return {
      [`mb_per_1000_${transport}`]: memory,
      [`cpu_percent_per_1000_${transport}`]: idle,
      [`open_cpu_ms_${transport}`]: opening,
    };
  } finally {
    await clients.stop();
    await delay(PAUSE_MS);
  }
}

/** What a process has used so far. */
function usageOf(pid: number): { readonly cpuMs: number; readonly residentMb: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Behind the program's name, which may hold anything: user and system time are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  const [, resident = '0'] =
    /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return { cpuMs: (ticks * 1_000) / TICKS, residentMb: Number(resident) / 1_024 };
}
