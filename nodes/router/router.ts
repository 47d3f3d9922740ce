/** A router: HTTP face, miners' hub and activities around one set of sessions. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { BlockStore } from '../../adapters/ipfs/block-store.js';
import type { NetworkInfo } from '../../domain/api.js';
import type { SigningDomain } from '../../domain/attestation.js';
import type { EngineConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import { routerQueue } from '../../domain/ids.js';
import type { RouterActivities } from '../../domain/lease.js';
import type { Log } from '../../domain/log.js';
import { createApp, type AccountReader, type RouterApp } from './app.js';
import { CryptoPool } from './crypto-pool.js';
import type { SessionGateway } from './gateway.js';
import { MinerHub, type NodeReader } from './hub.js';
import type { Judge } from './judge.js';
import { createRouterActivities, DRAIN_MS } from './lease.js';
import { Sessions } from './sessions.js';

/** Answers that are still being written when a router closes get so long. */
const CLOSE_MS = 500;

export interface RouterDeps {
  /** Names the router to miners, and its task queue (`routerQueue`). */
  readonly routerId: string;
  readonly config: Pick<
    EngineConfig['router'],
    | 'host'
    | 'port'
    | 'apiKeys'
    | 'limits'
    | 'cors'
    | 'signIn'
    | 'maxPromptBytes'
    | 'maxBodyBytes'
    | 'firstTokenMs'
  >;
  readonly network: NetworkInfo;
  /** EIP-712 domain of the miners' messages. */
  readonly signingDomain: SigningDomain;
  /** The router's age identity, a reader at level `link`. */
  readonly identity: string;
  readonly blockStore: BlockStore;
  readonly registry: NodeReader;
  readonly gateway: SessionGateway;
  readonly judge: Judge;
  /** Reads the token on the service layer. */
  readonly accounts: AccountReader;
  readonly log: Log;
  /** @defaultValue SILENCE_MS of domain/wire.ts */
  readonly silenceMs?: number;
}

export interface Router {
  readonly app: RouterApp;
  readonly hub: MinerHub;
  readonly crypto: CryptoPool;
  readonly sessions: Sessions;
  /** For the Temporal worker of this process, on `routerQueue(routerId)` and the shared queue. */
  readonly activities: RouterActivities;
}

/** Puts a router together without listening. */
export function createRouter(deps: RouterDeps): Router {
  const { routerId, config, signingDomain, registry, log, silenceMs } = deps;
  const crypto = new CryptoPool();
  const hub = new MinerHub({
    routerId,
    crypto,
    signingDomain,
    registry,
    log,
    ...(silenceMs === undefined ? {} : { silenceMs }),
  });
  const sessions = new Sessions({
    ...deps,
    hub,
    crypto,
    firstTokenMs: config.firstTokenMs,
    taskQueue: routerQueue(routerId),
  });
  const app = createApp({ ...deps, hub, crypto, sessions, limits: config });
  const activities = createRouterActivities({ ...deps, hub, crypto, sessions });
  return { app, hub, crypto, sessions, activities };
}

export interface RunningRouter extends Router {
  /** `http://host:port`, with the port that was bound. */
  readonly url: string;
  /** Takes no new requests, gives running ones until the deadline, then closes everything. Stop the
   * Temporal worker first: leases are handed over by its shutdown. */
  close(drainMs?: number): Promise<void>;
}

/** Starts a router on `config.host` and `config.port` (0 = any free one).
 * @throws PORT_TAKEN */
export async function startRouter(deps: RouterDeps): Promise<RunningRouter> {
  const router = createRouter(deps);
  const listener = getRequestListener(router.app.fetch);
  const server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
  router.hub.attach(server);
  await listen(server, deps.config.host, deps.config.port);
  const { port } = server.address() as AddressInfo;
  deps.log('info', 'router listening', { routerId: deps.routerId, port });
  return {
    ...router,
    url: `http://${deps.config.host}:${port}`,
    async close(drainMs = DRAIN_MS) {
      const stopped = new Promise<void>((resolve) => server.close(() => resolve()));
      await Promise.all(
        router.sessions.all().map((host) => router.sessions.release(host, drainMs)),
      );
      router.hub.close();
      server.closeIdleConnections();
      // A stream's last event is on its way to its reader; nobody else is waited for.
      const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
      await stopped;
      clearTimeout(timer);
      await router.crypto.close();
    },
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const isTaken = cause.code === 'EADDRINUSE';
      reject(new EngineError(isTaken ? 'PORT_TAKEN' : 'INTERNAL', { port }, { cause }));
    });
    server.listen(port, host, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}
