/**
 * A miner: an outbound WebSocket to each of its routers, one model behind it that chats, and one that
 * embeds if it has one. It keeps coming back to each of them for as long as it runs; what it works on
 * outlives a lost connection, and a router that takes a session over finds its tasks under way.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../../domain/log.js';
import { serveConnection, type ConnectionDeps, type ConnectionEnd } from './connection.js';
import { TaskDesk, type DeskDeps } from './task-desk.js';

export interface MinerDeps
  extends DeskDeps, Pick<ConnectionDeps, 'wallet' | 'domain' | 'backend' | 'embedding'> {
  /** Routers, each `ws:`, `wss:`, `http:` or `https:`; one that is named twice is one. All of them
   * share what the miner can do at once. */
  readonly routerUrls: readonly string[];
  /** Waits between attempts; only tests give their own. */
  readonly waits?: ReconnectWaits;
}

export interface ReconnectWaits {
  /** Milliseconds before the first new attempt; doubled for each that follows. */
  readonly firstMs: number;
  readonly mostMs: number;
  /** After NODE_NOT_REGISTERED: the registration may still be under way. */
  readonly unregisteredMs: number;
}

const WAITS: ReconnectWaits = { firstMs: 200, mostMs: 15_000, unregisteredMs: 2_000 };

export interface Miner {
  /** Resolves when the miner has ended, which it does only by `close`. */
  readonly closed: Promise<void>;
  /** Ends connection and tasks; the backend stays open, it is the caller's. */
  close(): Promise<void>;
}

/** Starts a miner. It returns at once and connects in the background, for ever if it must.
 * @param deps - `concurrency`: generations at once, for all routers together, at least 1.
 * @see domain/wire.ts */
export function startMiner(deps: MinerDeps): Miner {
  const stop = new AbortController();
  const desk = new TaskDesk(deps);
  const shared = { ...deps, desk, connected: new Set<string>() };
  const urls = new Set(deps.routerUrls.map((url) => new URL(url).href));
  const lines = [...urls].map((routerUrl) =>
    keepConnected({ ...shared, routerUrl }, deps.waits ?? WAITS, deps.log, stop.signal),
  );
  const closed = Promise.all(lines).then(() => undefined);
  return {
    closed,
    async close() {
      stop.abort();
      desk.close();
      await closed;
    },
  };
}

async function keepConnected(
  deps: ConnectionDeps,
  waits: ReconnectWaits,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const { address: miner } = deps.wallet;
  const { host: router } = new URL(deps.routerUrl);
  for (let failures = 0; !signal.aborted;) {
    const end = await serveConnection(deps, signal, () =>
      log('info', 'miner connected', { miner, router }),
    );
    if (signal.aborted) return;
    // A router that lets a miner in only to refuse it is not asked at full speed.
    failures = end.wasWelcome && end.code === null ? 0 : failures + 1;
    log('warn', 'miner disconnected', { miner, router, code: end.code, attempt: failures });
    await delay(waitMs(end, failures, waits), undefined, { signal }).catch(() => undefined);
  }
}

/** Full jitter over an exponential ceiling, so that miners of a restarted router spread out. */
function waitMs(end: ConnectionEnd, failures: number, waits: ReconnectWaits): number {
  if (end.code === 'NODE_NOT_REGISTERED') return waits.unregisteredMs;
  const ceiling = Math.min(waits.mostMs, waits.firstMs * 2 ** Math.min(failures, 20));
  return ceiling * (0.5 + Math.random() / 2);
}
