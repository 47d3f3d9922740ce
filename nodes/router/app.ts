/** The router's HTTP face: middleware, routes, and the one place where errors become answers. */
import { randomUUID } from 'node:crypto';
import { Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { BlockStore } from '../../adapters/ipfs/block-store.js';
import type { AccountInfo, NetworkInfo } from '../../domain/api.js';
import type { ApiKeyConfig, EngineConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { Address } from '../../domain/ids.js';
import type { Log } from '../../domain/log.js';
import { authenticate } from './auth.js';
import type { CryptoPool } from './crypto-pool.js';
import { errorBody, publicError } from './errors.js';
import type { SessionGateway } from './gateway.js';
import type { MinerHub } from './hub.js';
import { addChangeRoutes } from './routes/changes.js';
import { addOpenAiRoutes } from './routes/openai.js';
import { addSessionRoutes } from './routes/sessions.js';
import { addTaskRoutes } from './routes/tasks.js';
import type { Sessions } from './sessions.js';

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
  readonly limits: Pick<EngineConfig['router'], 'apiKeys' | 'maxPromptBytes' | 'maxBodyBytes'>;
  readonly log: Log;
}
/** What middleware leaves for routes. */
export interface AppEnv {
  Variables: { requestId: string; apiKey: ApiKeyConfig };
}
export type RouterApp = Hono<AppEnv>;

/** Paths that need no key: liveness, and what a client must know before it can sign anything. */
const PUBLIC_PATHS: ReadonlySet<string> = new Set(['/healthz', '/api/v1/network']);

export function createApp(deps: AppDeps): RouterApp {
  const app: RouterApp = new Hono<AppEnv>();

  app.use(async (c, next) => {
    const given = c.req.header('x-request-id') ?? '';
    const requestId = /^[\w-]{8,64}$/.test(given) ? given : randomUUID();
    c.set('requestId', requestId);
    c.header('x-request-id', requestId);
    const startedAt = performance.now();
    await next();
    deps.log('debug', 'request answered', {
      requestId,
      method: c.req.method,
      path: c.req.path,
      status: c.res.status,
      elapsedMs: Math.round(performance.now() - startedAt),
    });
  });
  app.use(async (c, next) => {
    if (!PUBLIC_PATHS.has(c.req.path)) {
      c.set('apiKey', authenticate(c.req.header('authorization'), deps.limits.apiKeys));
    }
    await next();
  });
  app.onError((error, c) => {
    const known = publicError(error);
    const requestId = c.get('requestId');
    if (known.fault !== 'caller') {
      deps.log('error', 'request failed', { requestId, code: known.code, kind: error.name });
    }
    return c.json(errorBody(known, requestId), known.status as ContentfulStatusCode);
  });
  app.notFound((c) => {
    const error = new EngineError('REQUEST_INVALID', { expected: 'a path of the API' });
    return c.json(errorBody(error, c.get('requestId')), 404);
  });

  app.get('/healthz', (c) =>
    c.json({ miners: deps.hub.connected().length, sessions: deps.sessions.all().length }),
  );
  app.get('/api/v1/payloads/:cid', async (c) => {
    const { signal } = c.req.raw;
    const bytes = await deps.blockStore.get(c.req.param('cid'), { signal });
    return c.body(new Uint8Array(bytes), 200, {
      'content-type': 'application/octet-stream',
      'cache-control': 'private, max-age=31536000, immutable',
    });
  });
  addOpenAiRoutes(app, deps);
  addSessionRoutes(app, deps);
  addChangeRoutes(app, deps);
  addTaskRoutes(app, deps);
  return app;
}
