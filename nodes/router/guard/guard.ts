/**
 * Whom the router lets in: each request passes the door (how many at once), shows who it is, what it
 * may do, and how much of its minute and budget is left. Routes only ask for tokens and for sessions
 * that no path names.
 */
import { getConnInfo } from '@hono/node-server/conninfo';
import type { Context } from 'hono';
import type { EngineConfig } from '../../../domain/config.js';
import { EngineError } from '../../../domain/errors.js';
import { parseSessionId, type Address, type SessionId } from '../../../domain/ids.js';
import type { Log } from '../../../domain/log.js';
import type { AppEnv, RouterApp } from '../app.js';
import type { ServedTask } from '../session-host.js';
import type { Signers } from '../signers.js';
import { Budgets, type GuardStore } from './budget.js';
import {
  authenticate,
  authorise,
  isPublic,
  noteOwnership,
  requireScope,
  scopeOf,
  type Caller,
} from './caller.js';
import { Gate } from './gate.js';
import { rateHeaders, Rates, type RateState } from './rates.js';
import { SignIn } from './sign-in.js';

export interface GuardDeps {
  readonly config: Pick<EngineConfig['router'], 'apiKeys' | 'limits' | 'signIn'>;
  /** Of the service layer. */
  readonly chainId: number;
  /** Shared by all routers of the deployment. */
  readonly secret: string;
  readonly store: GuardStore;
  readonly signers: Signers;
  /** @throws SESSION_NOT_FOUND, TEMPORAL_UNREACHABLE */
  readonly ownerOf: (sessionId: SessionId) => Promise<Address>;
  readonly log: Log;
}

/** The most tokens that a task can come to, and what is expected of it. */
export interface TokenAsk {
  readonly most: number;
  readonly expected: number;
}

/** Answered whatever else is going on. */
const UNGATED: ReadonlySet<string> = new Set(['/healthz']);

export class Guard {
  readonly gate: Gate;
  readonly signIn: SignIn;
  readonly #deps: GuardDeps;
  readonly #rates = new Rates();
  readonly #budgets: Budgets;

  constructor(deps: GuardDeps) {
    const { config, secret, chainId, store, signers } = deps;
    this.#deps = deps;
    this.gate = new Gate(config.limits);
    this.#budgets = new Budgets(store);
    this.signIn = new SignIn({
      secret,
      chainId,
      tokenMs: config.signIn.tokenMs,
      signers,
      useNonce: (nonce, expiresAtMs) => store.useNonce(nonce, expiresAtMs),
    });
  }

  /** Puts the guard before all routes that are added later. */
  install(app: RouterApp): void {
    app.use(async (c, next) => {
      if (UNGATED.has(c.req.path)) return next();
      // Refused before anything is counted: another router will count it.
      if (this.gate.isClosed) throw new EngineError('ROUTER_DRAINING');
      const caller = isPublic(c.req.path) ? anyone(c, this.#deps.config.limits) : this.#know(c);
      setRate(c, await this.#rates.take(caller, 'requests', 1));
      const leave = await this.gate.enter();
      leaveAtEnd(c, leave);
      try {
        await next();
      } finally {
        // Without a server around it, an app has nothing that tells when an answer is out.
        if (c.env?.outgoing === undefined && c.env?.sent === undefined) leave();
      }
    });
    app.use('/api/v1/sessions/:id/*', async (c, next) => {
      await this.allow(c, parseSessionId(c.req.param('id')));
      await next();
    });
  }

  /** Lets the caller use a session.
   * @throws API_KEY_INVALID — it is not the caller's.
   * @throws SESSION_NOT_FOUND, TEMPORAL_UNREACHABLE — of a wallet's, whose owner is looked up. */
  async allow(c: Context<AppEnv>, sessionId: SessionId): Promise<void> {
    const caller = c.get('apiKey');
    if (caller.wallet !== null) {
      noteOwnership(caller, sessionId, await this.#deps.ownerOf(sessionId));
    }
    authorise(caller, sessionId);
  }

  /** Starts a task within the caller's tokens, which are set right when its usage is known.
   * @throws RATE_LIMITED, KEY_BUDGET_EXHAUSTED, DATABASE_UNREACHABLE
   * @throws as `start` */
  async spend(
    c: Context<AppEnv>,
    ask: TokenAsk,
    start: () => Promise<ServedTask>,
  ): Promise<ServedTask> {
    const caller = c.get('apiKey');
    const free = await this.#budgets.reserve(caller, ask.most);
    try {
      setRate(c, await this.#rates.take(caller, 'tokens', ask.expected));
      const task = await start();
      c.set('dispatchedAt', performance.now());
      void this.#settle(caller, ask, task).finally(free);
      return task;
    } catch (error) {
      free();
      throw error;
    }
  }

  /** Waits until what was used is counted. */
  async settled(): Promise<void> {
    await this.#budgets.settled();
  }

  /** Finds who an `Authorization` header names.
   * @throws API_KEY_INVALID */
  identify(authorization: string | undefined): Caller {
    const { apiKeys: keys, limits: rates } = this.#deps.config;
    const openToken = (token: string) => this.signIn.openToken(token);
    return authenticate(authorization, { keys, openToken, rates });
  }

  #know(c: Context<AppEnv>): Caller {
    const caller = this.identify(c.req.header('authorization'));
    requireScope(caller, scopeOf(c.req.method, c.req.path));
    c.set('apiKey', caller);
    return caller;
  }

  /** Never rejects: the answer does not depend on it. */
  async #settle(caller: Caller, ask: TokenAsk, task: ServedTask): Promise<void> {
    let used = 0;
    try {
      const { usage } = await task.conclusion;
      used = usage.promptTokens + usage.completionTokens;
    } catch {
      // Not recorded, so not billed; whoever reads the task's stream is told why.
    }
    await this.#rates.correct(caller, 'tokens', used - ask.expected);
    await this.#budgets.count(caller, task.taskId, used).catch((cause: unknown) => {
      this.#deps.log('error', 'tokens of a key were not counted', {
        caller: caller.id,
        taskId: task.taskId,
        kind: cause instanceof Error ? cause.name : 'unknown',
      });
    });
  }
}

/** Those without a key, by where they come from. */
function anyone(c: Context<AppEnv>, rates: Caller['rates']): Caller {
  const from = c.env?.incoming === undefined ? 'here' : getConnInfo(c).remote.address;
  return {
    id: `address:${from}`,
    scopes: [],
    sessions: new Set(),
    wallet: null,
    rates,
    budgetTokens: null,
  };
}

function setRate(c: Context<AppEnv>, state: RateState): void {
  for (const [name, value] of rateHeaders(state)) c.header(name, value);
}

/** A stream leaves when its connection is done with it, not when its head is out. */
function leaveAtEnd(c: Context<AppEnv>, leave: () => void): void {
  const { outgoing, sent } = c.env ?? {};
  if (outgoing?.destroyed === true || sent?.aborted === true) return leave();
  outgoing?.once('close', leave);
  sent?.addEventListener('abort', leave, { once: true });
}
