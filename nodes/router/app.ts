/** The router's HTTP face: middleware, routes, and the one place where errors become answers. */
import { randomUUID } from 'node:crypto';
import type { HttpBindings } from '@hono/node-server';
import { Hono, type Context } from 'hono';
import { cors } from 'hono/cors';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { BlockStore } from '../../adapters/ipfs/block-store.js';
import type { AccountInfo, NetworkInfo } from '../../domain/api.js';
import type { SigningDomain } from '../../domain/attestation.js';
import type { EngineConfig } from '../../domain/config.js';
import type { ErasureControl } from '../../domain/erasure.js';
import { EngineError } from '../../domain/errors.js';
import type { ExportControl } from '../../domain/export.js';
import type { Address } from '../../domain/ids.js';
import type { Log } from '../../domain/log.js';
import { STREAM_PATH, STREAM_PROTOCOL } from '../../domain/stream.js';
import type { CryptoPool } from './crypto-pool.js';
import { errorBody, publicError, retryHeaders } from './errors.js';
import type { SessionGateway } from './gateway.js';
import type { Caller } from './guard/caller.js';
import type { Guard } from './guard/guard.js';
import type { MinerHub } from './hub.js';
import type { Judge } from './judge.js';
import type { NetworkReader } from './network/chain-reader.js';
import type { DependencyStatus } from './network/status.js';
import { addDocumentRoutes } from './openapi/routes.js';
import type { TaskRecords } from './records.js';
import { Relay, RELAY_HEADER, ROUTER_HEADER } from './relay.js';
import { addAuthRoutes } from './routes/auth.js';
import { addChangeRoutes } from './routes/changes.js';
import { addErasureRoutes } from './routes/erasures.js';
import { addExportRoutes } from './routes/exports.js';
import { addJobRoutes } from './routes/jobs.js';
import { addNetworkRoutes } from './routes/network.js';
import { addOpenAiRoutes } from './routes/openai.js';
import { addSessionRoutes } from './routes/sessions.js';
import { addSourceRoutes, type SourceDesk } from './routes/sources.js';
import { addTaskRoutes } from './routes/tasks.js';
import type { Sessions } from './sessions.js';
import type { Signers } from './signers.js';

/** @throws CHAIN_UNREACHABLE */
export interface AccountReader {
  readAccount(address: Address): Promise<AccountInfo>;
}

export interface AppDeps {
  readonly sessions: Sessions;
  readonly hub: MinerHub;
  readonly crypto: CryptoPool;
  readonly blockStore: BlockStore;
  readonly gateway: SessionGateway;
  readonly network: NetworkInfo;
  readonly accounts: AccountReader;
  readonly erasures: ErasureControl;
  /** Exports to users' own stores; absent where nothing carries them out. */
  readonly exports?: ExportControl;
  readonly routerId: string;
  /** The router's age identity: it opens answers at level `link` for who may see them. */
  readonly identity: string;
  readonly records: TaskRecords;
  readonly signers: Signers;
  /** Asked to judge answers again. */
  readonly judge: Judge;
  readonly signingDomain: SigningDomain;
  /** What the chains say of miners and epochs. */
  readonly chainReader: NetworkReader;
  /** What the router depends on, and whether it is there. */
  readonly readDependencies: () => Promise<DependencyStatus>;
  readonly guard: Guard;
  /** Users' sources; absent where there is no embedding model. */
  readonly sources?: SourceDesk;
  readonly limits: Pick<
    EngineConfig['router'],
    'host' | 'cors' | 'signIn' | 'maxPromptBytes' | 'maxBodyBytes'
  >;
  readonly log: Log;
}
export interface AppEnv {
  /** Of the server around the app; of a request within a WebSocket, `sent` aborts when its answer is
   * out, or nobody waits for it any more. */
  Bindings: Partial<HttpBindings> & { readonly sent?: AbortSignal };
  /** What middleware leaves for routes, and they for it. */
  Variables: {
    requestId: string;
    apiKey: Caller;
    /** `performance.now()` when miners were asked; unset where none is. */
    dispatchedAt?: number;
  };
}
export type RouterApp = Hono<AppEnv>;

/** What a page of another origin may read of an answer, beside its body. */
const EXPOSED_HEADERS = [
  'x-request-id',
  'x-cortensor-task',
  'x-cortensor-host',
  'x-cortensor-overhead-ms',
  'retry-after',
  ...['requests', 'tokens'].flatMap((kind) =>
    ['limit', 'remaining', 'reset'].map((what) => `x-ratelimit-${what}-${kind}`),
  ),
];

export function createApp(deps: AppDeps): RouterApp {
  const app: RouterApp = new Hono<AppEnv>();

  app.use(async (c, next) => {
    const given = c.req.header('x-request-id') ?? '';
    const requestId = /^[\w-]{8,64}$/.test(given) ? given : randomUUID();
    c.set('requestId', requestId);
    c.header('x-request-id', requestId);
    const startedAt = performance.now();
    await next();
    const readyAt = c.get('dispatchedAt') ?? performance.now();
    c.header('x-cortensor-overhead-ms', (readyAt - startedAt).toFixed(1));
    if (c.req.header(RELAY_HEADER) !== undefined) c.header(ROUTER_HEADER, deps.routerId);
    // A client that keeps its connection would send its next request to a router that is gone.
    if (deps.guard.gate.isDraining) c.header('connection', 'close');
    deps.log('debug', 'request answered', {
      requestId,
      method: c.req.method,
      path: c.req.path,
      status: c.res.status,
      elapsedMs: Math.round(performance.now() - startedAt),
    });
  });
  if (deps.limits.cors.length > 0) {
    app.use(cors({ origin: [...deps.limits.cors], exposeHeaders: EXPOSED_HEADERS, maxAge: 600 }));
  }
  const relay = new Relay({ ...deps, fetch: (request, env) => app.fetch(request, env) });
  const refuse = (error: unknown, c: Context<AppEnv>) => {
    const known = publicError(error);
    const requestId = c.get('requestId');
    if (known.fault !== 'caller') {
      const kind = error instanceof Error ? error.name : 'unknown';
      deps.log('error', 'request failed', { requestId, code: known.code, kind });
    }
    for (const [name, value] of retryHeaders(known)) c.header(name, value);
    return c.json(errorBody(known, requestId), known.status as ContentfulStatusCode);
  };
  app.onError(async (error, c) => {
    const sessionId = error instanceof EngineError ? error.details['sessionId'] : undefined;
    const isLost = error instanceof EngineError && error.code === 'ROUTER_LEASE_LOST';
    if (!isLost || typeof sessionId !== 'string') return refuse(error, c);
    return await relay.answer(c, error, sessionId).catch((failure) => refuse(failure, c));
  });
  app.notFound((c) => {
    const error = new EngineError('REQUEST_INVALID', { expected: 'a path of the API' });
    return c.json(errorBody(error, c.get('requestId')), 404);
  });

  deps.guard.install(app);
  app.get('/healthz', (c) => {
    const { isDraining } = deps.guard.gate;
    const miners = deps.hub.connected().length;
    const sessions = deps.sessions.all().length;
    return c.json(
      { status: isDraining ? 'draining' : 'ok', miners, sessions },
      isDraining ? 503 : 200,
    );
  });
  addAuthRoutes(app, deps);
  addDocumentRoutes(app, deps);
  app.get('/api/v1/payloads/:cid', async (c) => {
    const { signal } = c.req.raw;
    const bytes = await deps.blockStore.get(c.req.param('cid'), { signal });
    return c.body(new Uint8Array(bytes), 200, {
      'content-type': 'application/octet-stream',
      'cache-control': 'private, max-age=31536000, immutable',
    });
  });
  app.get(STREAM_PATH, (c) => {
    const expected = `an upgrade to a WebSocket of ${STREAM_PROTOCOL}`;
    const error = new EngineError('REQUEST_INVALID', { expected });
    return c.json(errorBody(error, c.get('requestId')), 426, { upgrade: 'websocket' });
  });
  addOpenAiRoutes(app, deps);
  addSessionRoutes(app, deps);
  addChangeRoutes(app, deps);
  addTaskRoutes(app, deps);
  addErasureRoutes(app, deps);
  addExportRoutes(app, deps);
  addSourceRoutes(app, deps);
  addNetworkRoutes(app, deps);
  addJobRoutes(app, deps);
  return app;
}
