/**
 * Names of things that cross a boundary: ids of sessions and tasks, and the workflow ids and task
 * queues that are made of them, each beside the function that reads it back.
 */
import { EngineError } from './errors.js';

/** 0x and 40 hex digits, EIP-55 checksummed where it came from a wallet. Compare with `sameAddress`. */
export type Address = `0x${string}`;
/** 0x and hex digits. */
export type Hex = `0x${string}`;
/** CIDv1 in base32, `bafk…` for raw blocks. */
export type Cid = string;

/**
 * Decimal string of the session's number on chain: 63 bits, derived from owner and client reference
 * (SessionManager.sessionIdOf), so it is known before the first transaction.
 */
export type SessionId = string;
/** 0x and 64 hex digits: SHA-256 over session id and idempotency key (adapters/seal `taskIdOf`), so
 * equal requests are one task and the client can compute it too. */
export type TaskId = Hex;

export function sameAddress(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

/** @throws REQUEST_INVALID — not a decimal below 2^63. */
export function parseSessionId(text: string): SessionId {
  if (!/^[1-9]\d{0,18}$/.test(text) || BigInt(text) >= 1n << 63n) {
    throw new EngineError('REQUEST_INVALID', { field: 'session', expected: 'a session id' });
  }
  return text;
}

/** Workflow ids carry idempotency: one id, one piece of business. */
export const workflowIds = {
  onboardMiner: (layer: string, node: Address) => `onboard:${layer}:${node.toLowerCase()}`,
  onboardUser: (layer: string, user: Address) => `onboard:${layer}:${user.toLowerCase()}`,
  healthEpoch: (epoch: number) => `health:${epoch}`,
  session: (chainId: number, sessionId: SessionId) => `session:${chainId}:${sessionId}`,
  settlement: (chainId: number) => `settle:${chainId}`,
  dappRequests: (chainId: number) => `dapp:${chainId}`,
  releaseContent: (chainId: number, sessionId: SessionId) => `release:${chainId}:${sessionId}`,
  eraseSession: (chainId: number, sessionId: SessionId) => `erase:${chainId}:${sessionId}`,
  exportSession: (sessionId: SessionId, sink: string) => `export:${sessionId}:${sink}`,
  /** @param owner - a caller of the router, such as `key:NAME`. */
  ingestSource: (owner: string, source: string) => `ingest:${owner}:${source}`,
} as const;

/** The session a `session:<chainId>:<sessionId>` workflow belongs to; `undefined` for other ids. */
export function sessionOfWorkflowId(
  workflowId: string,
): { chainId: number; sessionId: SessionId } | undefined {
  const match = /^session:(\d+):(\d+)$/.exec(workflowId);
  const [, chainId, sessionId] = match ?? [];
  if (chainId === undefined || sessionId === undefined) return undefined;
  return { chainId: Number(chainId), sessionId };
}

/** Task queues by kind of work; `routerQueue` is the one of a single router process. */
export const TASK_QUEUES = {
  workflows: 'workflows',
  chain: 'chain',
  ipfs: 'ipfs',
  database: 'database',
  oracles: 'oracles',
  routers: 'routers',
} as const;
export type TaskQueueName = keyof typeof TASK_QUEUES;

export function routerQueue(routerId: string): string {
  return `router:${routerId}`;
}
