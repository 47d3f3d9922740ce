/** Who calls, and what it may do: an API key, of which only the hash is configured, or a wallet that
 * has signed in. */
import { createHash, timingSafeEqual } from 'node:crypto';
import {
  API_SCOPES,
  type ApiKeyConfig,
  type ApiScope,
  type RateLimits,
} from '../../../domain/config.js';
import { EngineError } from '../../../domain/errors.js';
import { sameAddress, type Address, type SessionId } from '../../../domain/ids.js';
import { STREAM_PATH } from '../../../domain/stream.js';

export interface Caller {
  /** `key:<name>`, or `wallet:<address>` in lower case: what is counted is counted by it. */
  readonly id: string;
  readonly scopes: readonly ApiScope[];
  /** Sessions that it may use; `null` = all. A wallet's are noted as they prove to be its own. */
  readonly sessions: Set<SessionId> | null;
  readonly wallet: Address | null;
  readonly rates: RateLimits;
  readonly budgetTokens: number | null;
}

/** Opens the token of a wallet.
 * @throws API_KEY_INVALID — not one of ours, or too old. */
export type WalletTokens = (token: string) => Address;

/** Tokens of wallets start so; a key of an operator had better not. */
export const WALLET_TOKEN_PREFIX = 'cw_';

/** Finds the caller that an `Authorization: Bearer` header names.
 * @param rates - of a caller that has none of its own.
 * @throws API_KEY_INVALID — no header, no configured key, or one that has expired. */
export function authenticate(
  header: string | undefined,
  known: {
    readonly keys: readonly ApiKeyConfig[];
    readonly openToken: WalletTokens;
    readonly rates: RateLimits;
  },
): Caller {
  const token = /^Bearer (\S+)$/i.exec(header ?? '')?.[1] ?? '';
  if (token.startsWith(WALLET_TOKEN_PREFIX)) return ofWallet(known.openToken(token), known.rates);
  const digest = createHash('sha256').update(token).digest();
  // All keys are compared, so that the time taken tells nothing about which one matched.
  let found: ApiKeyConfig | undefined;
  for (const key of known.keys) {
    const expected = Buffer.from(key.sha256, 'hex');
    if (expected.length === digest.length && timingSafeEqual(expected, digest)) found = key;
  }
  if (found === undefined || token === '') throw new EngineError('API_KEY_INVALID');
  if (found.expiresAt !== null && Date.parse(found.expiresAt) <= Date.now()) {
    throw new EngineError('API_KEY_INVALID', { expiredAt: found.expiresAt });
  }
  return ofKey(found, known.rates);
}

function ofKey(key: ApiKeyConfig, rates: RateLimits): Caller {
  return {
    id: `key:${key.name}`,
    scopes: key.scopes.length === 0 ? API_SCOPES : key.scopes,
    sessions: key.sessions.length === 0 ? null : new Set(key.sessions),
    wallet: null,
    rates: {
      requestsPerMinute: key.requestsPerMinute ?? rates.requestsPerMinute,
      tokensPerMinute: key.tokensPerMinute ?? rates.tokensPerMinute,
    },
    budgetTokens: key.budgetTokens,
  };
}

function ofWallet(wallet: Address, rates: RateLimits): Caller {
  const id = `wallet:${wallet.toLowerCase()}`;
  return { id, scopes: API_SCOPES, sessions: new Set(), wallet, rates, budgetTokens: null };
}

const PUBLIC = /^\/(healthz|openapi\.json|docs(\/.*)?|api\/v1\/(network|auth\/(nonce|sign-in)))$/;

/** Paths that need no key: liveness, what a client must know before it can sign, and how to. */
export function isPublic(path: string): boolean {
  return PUBLIC.test(path);
}

/** The scope that a route needs; a new route has one by its method and place. */
export function scopeOf(method: string, path: string): ApiScope {
  const isRead = method === 'GET' || method === 'HEAD';
  if (path.startsWith('/v1/') || path === STREAM_PATH) return 'chat';
  if (/^\/api\/v1\/(delegate|validate|context)$/.test(path)) return 'chat';
  if (/^\/api\/v1\/sessions\/[^/]+\/tasks(\/|$)/.test(path))
    return isRead ? 'sessions:read' : 'chat';
  if (/^\/api\/v1\/(sessions|payloads|sources)(\/|$)/.test(path)) {
    return isRead ? 'sessions:read' : 'sessions:write';
  }
  return isRead ? 'network:read' : 'sessions:write';
}

/** @throws KEY_SCOPE */
export function requireScope(caller: Caller, scope: ApiScope): void {
  if (!caller.scopes.includes(scope)) throw new EngineError('KEY_SCOPE', { needed: scope });
}

/** Holds a caller to its sessions. A wallet's have been looked up before (`noteOwnership`).
 * @throws API_KEY_INVALID — the caller is known, but this session is not its own. */
export function authorise(caller: Caller, sessionId: SessionId): void {
  if (caller.sessions === null || caller.sessions.has(sessionId)) return;
  throw new EngineError('API_KEY_INVALID', { sessionId });
}

/** Notes a session as a wallet's own, where it is. */
export function noteOwnership(caller: Caller, sessionId: SessionId, owner: Address): void {
  if (caller.wallet !== null && sameAddress(caller.wallet, owner)) caller.sessions?.add(sessionId);
}
