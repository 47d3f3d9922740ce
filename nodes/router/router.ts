/** A router: HTTP face, miners' hub and activities around one set of sessions. */
import type { Server } from 'node:http';
import { Server as NetServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { BlockStore } from '../../adapters/ipfs/block-store.js';
import type { NetworkInfo } from '../../domain/api.js';
import type { SigningDomain } from '../../domain/attestation.js';
import type { ErasureControl } from '../../domain/erasure.js';
import type { EngineConfig } from '../../domain/config.js';
import type { ExportControl } from '../../domain/export.js';
import { routerQueue } from '../../domain/ids.js';
import type { RouterActivities } from '../../domain/lease.js';
import type { Log } from '../../domain/log.js';
import { STREAM_PATH } from '../../domain/stream.js';
import { MINER_PATH } from '../../domain/wire.js';
import { createApp, type AccountReader, type RouterApp } from './app.js';
import { CryptoPool } from './crypto-pool.js';
import type { SessionGateway } from './gateway.js';
import type { GuardStore } from './guard/budget.js';
import { Guard } from './guard/guard.js';
import { ClientSockets } from './client-socket/sockets.js';
import type { SourceDesk } from './routes/sources.js';
import { createHttpServer, listen } from './http-server.js';
import { MinerHub, type NodeReader } from './hub.js';
import type { Judge } from './judge.js';
import { createRouterActivities, DRAIN_MS } from './lease.js';
import type { NetworkReader } from './network/chain-reader.js';
import type { DependencyStatus } from './network/status.js';
import { ownPeer, peerName } from './peers.js';
import { TaskRecords } from './records.js';
import { Sessions } from './sessions.js';
import { Signers, type ContractSignatures } from './signers.js';
import { attachUpgrades, type Upgrade } from './upgrades.js';

/** Answers that are still being written when a router closes get so long. */
const CLOSE_MS = 500;
/** A connection on which an answer has just ended may bring its client's next request for so long. */
const QUIET_MS = 1_000;

/** From the announcement that a router will be stopped to the end of its listening: balancers look
 * elsewhere in the meantime, and clients' connections are used up. */
const NOTICE_MS = 1_000;

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
  > &
    Partial<Pick<EngineConfig['router'], 'peerUrl' | 'hedgeMs'>>;
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
  /** Asks accounts that are contracts what they have signed. */
  readonly isContractSignature: ContractSignatures;
  /** Reads miners and epochs on the other layers. */
  readonly chainReader: NetworkReader;
  /** Tells whether what the router depends on is there. */
  readonly readDependencies: () => Promise<DependencyStatus>;
  /** Erases sessions that are closed. */
  readonly erasures: ErasureControl;
  /** Exports to users' own stores; absent where nothing carries them out. */
  readonly exports?: ExportControl;
  /** What all routers agree on about their callers. */
  readonly guardStore: GuardStore;
  /** Users' sources; absent where there is no embedding model. */
  readonly sources?: SourceDesk;
  readonly log: Log;
  /** @defaultValue SILENCE_MS of domain/wire.ts */
  readonly silenceMs?: number;
}

export interface Router {
  readonly app: RouterApp;
  readonly guard: Guard;
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
  const records = new TaskRecords(deps);
  const signers = new Signers(crypto, deps.isContractSignature);
  const sessions = new Sessions({
    ...deps,
    records,
    hub,
    crypto,
    firstTokenMs: config.firstTokenMs,
    hedgeMs: config.hedgeMs ?? null,
    taskQueue: routerQueue(routerId),
  });
  const guard = new Guard({
    config,
    chainId: deps.network.chainId,
    // All routers of a deployment have this identity, since a session may move to any of them.
    secret: deps.identity,
    store: deps.guardStore,
    signers,
    ownerOf: async (sessionId) =>
      sessions.find(sessionId)?.lease.owner ?? (await deps.gateway.view(sessionId)).owner,
    log,
  });
  const app = createApp({
    ...deps,
    records,
    signers,
    hub,
    crypto,
    sessions,
    guard,
    limits: config,
  });
  const isStopping = () => guard.gate.isDraining;
  const activities = createRouterActivities({ ...deps, hub, crypto, sessions, isStopping });
  return { app, guard, hub, crypto, sessions, activities };
}

export interface RunningRouter extends Router {
  /** `http://host:port`, with the port that was bound. */
  readonly url: string;
  /** For the Temporal workers of this process: by it other routers find this one. */
  readonly workerName: string;
  /** Tells everyone that it is being stopped: it is not ready, and connections end with their answers.
   * After a moment for balancers to hear of it, it listens no more. What is under way goes on; what
   * comes on an old connection is answered by the router that gets the session next. */
  drain(): Promise<void>;
  /** Drains, gives what is under way until the deadline, then closes everything. Stop the Temporal
   * worker between the two: leases are handed over by its shutdown. */
  close(drainMs?: number): Promise<void>;
}

/** Starts a router on `config.host` and `config.port` (0 = any free one).
 * @throws PORT_TAKEN */
export async function startRouter(deps: RouterDeps): Promise<RunningRouter> {
  const router = createRouter(deps);
  const { host, limits } = deps.config;
  const server = createHttpServer(router.app, limits);
  const { guard, app, hub } = router;
  const clients = new ClientSockets({ ...deps, app, guard, limits: deps.config });
  attachUpgrades(
    server,
    new Map<string, Upgrade>([
      [MINER_PATH, (request, socket, head) => hub.upgrade(request, socket, head)],
      [STREAM_PATH, (request, socket, head) => clients.upgrade(request, socket, head)],
    ]),
  );
  const port = await listen(server, host, deps.config.port);
  deps.log('info', 'router listening', { routerId: deps.routerId, port });
  const { gate } = guard;
  const url = `http://${host}:${port}`;
  const self = ownPeer(deps.routerId, { host, port, peerUrl: deps.config.peerUrl ?? null });
  router.sessions.listenAs(self);
  return {
    ...router,
    url,
    workerName: peerName(self, deps.identity),
    async drain() {
      gate.announce();
      clients.drain();
      deps.log('info', 'router draining', { routerId: deps.routerId, requests: gate.inside });
      // Whoever was on the way here is served still, and connections end with their answers.
      await delay(NOTICE_MS);
      // What waits to be accepted is accepted first, in the turn that ends here.
      await new Promise((resolve) => setImmediate(resolve));
      stopListening(server);
      router.sessions.stop();
    },
    async close(drainMs = DRAIN_MS) {
      gate.announce();
      clients.drain();
      // The sessions are given up last: who was let in finds them there.
      await gate.quiet(QUIET_MS, drainMs);
      gate.drain();
      await Promise.all(
        router.sessions.all().map((held) => router.sessions.release(held, drainMs)),
      );
      const stopped = new Promise<void>((resolve) => server.close(() => resolve()));
      clients.close();
      hub.close();
      server.closeIdleConnections();
      // A stream's last event is on its way to its reader; nobody else is waited for.
      const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
      await stopped;
      clearTimeout(timer);
      await router.guard.settled();
      await router.crypto.close();
    },
  };
}

/** Takes no new connections. Those that there are stay, idle ones too: a client may be about to send
 * its next request on one, which `Server.close` of HTTP would cut off. */
function stopListening(server: Server): void {
  NetServer.prototype.close.call(server);
}
