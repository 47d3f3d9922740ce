/** The session: what a user buys. Its policy, its budget, and the states of its life. */
import { EngineError } from './errors.js';
import type { Address, Cid, Hex, SessionId } from './ids.js';
import { parseWei, type WeiString } from './money.js';
import { isClientSealed, SEALING_LEVELS, type KeyringRef, type SealingLevel } from './sealing.js';

export const SESSION_STATES = [
  'Opening',
  'Reserving',
  /** Miners are reserved; at a client-sealed level the client's keyring is awaited. */
  'AwaitingKeyring',
  'Open',
  'Closing',
  'Closed',
  'Failed',
] as const;
export type SessionState = (typeof SESSION_STATES)[number];

/** What the owner asks for; its hash is on chain, all of it on IPFS. */
export interface SessionPolicy {
  readonly version: 1;
  readonly model: string;
  /** Miners that answer each request, 1–9. A majority of them must agree. */
  readonly redundancy: number;
  readonly level: SealingLevel;
  /** Highest price in wei a token that the owner accepts. */
  readonly priceCeilingWei: WeiString;
  /** 1–100,000. */
  readonly maxTasks: number;
  /** Seconds without a task after which the session closes and refunds, 60–31,536,000. */
  readonly idleSeconds: number;
  /** Seconds in which a task must end, 5–3,600. */
  readonly taskSeconds: number;
}

export const POLICY_LIMITS = {
  redundancy: { min: 1, max: 9 },
  maxTasks: { min: 1, max: 100_000 },
  idleSeconds: { min: 60, max: 31_536_000 },
  taskSeconds: { min: 5, max: 3_600 },
} as const;

/** Checks a policy of unknown origin, field by field.
 * @throws POLICY_INVALID — with the field, and what was expected of it. */
export function parsePolicy(value: unknown): SessionPolicy {
  if (typeof value !== 'object' || value === null) throw invalid('policy', 'an object');
  const policy = value as Record<string, unknown>;
  if (policy['version'] !== 1) throw invalid('version', '1');
  const model = policy['model'];
  if (typeof model !== 'string' || model === '' || model.length > 200) {
    throw invalid('model', 'the name of a model');
  }
  const level = SEALING_LEVELS.find((l) => l === policy['level']);
  if (level === undefined) throw invalid('level', SEALING_LEVELS.join(' | '));
  const price = policy['priceCeilingWei'];
  if (typeof price !== 'string') throw invalid('priceCeilingWei', 'a decimal string of wei');
  parseWei(price);
  const integer = (field: keyof typeof POLICY_LIMITS): number => {
    const { min, max } = POLICY_LIMITS[field];
    const n = policy[field];
    if (typeof n !== 'number' || !Number.isInteger(n) || n < min || n > max) {
      throw invalid(field, `an integer from ${min} to ${max}`);
    }
    return n;
  };
  return {
    version: 1,
    model,
    redundancy: integer('redundancy'),
    level,
    priceCeilingWei: price,
    maxTasks: integer('maxTasks'),
    idleSeconds: integer('idleSeconds'),
    taskSeconds: integer('taskSeconds'),
  };
}

function invalid(field: string, expected: string): EngineError {
  return new EngineError('POLICY_INVALID', { field, expected });
}

/** EIP-2612 permit for the deposit, signed by the owner. */
export interface TokenPermit {
  readonly owner: Address;
  readonly valueWei: WeiString;
  /** Unix seconds. */
  readonly deadline: number;
  readonly signature: Hex;
}

/** Everything that starts a session; the router builds it from the client's signed request. */
export interface OpenSessionRequest {
  readonly sessionId: SessionId;
  readonly owner: Address;
  /** 0x and 64 hex digits, chosen by the client: the same reference is the same session. */
  readonly clientReference: Hex;
  readonly policy: SessionPolicy;
  readonly depositWei: WeiString;
  /** EIP-712 `OpenSession`, by the owner. */
  readonly signature: Hex;
  readonly permit: TokenPermit;
}

/** A miner that serves a session, with the recipient that its keyring is wrapped for. */
export interface ReservedMiner {
  readonly address: Address;
  readonly recipient: string;
}

export interface SessionBudget {
  readonly depositedWei: WeiString;
  /** Promised to tasks under way. */
  readonly reservedWei: WeiString;
  /** Charged by finished tasks, settled or not. */
  readonly chargedWei: WeiString;
  readonly refundedWei: WeiString;
}

/** Answer of the `session` workflow's state query, and of the router's session route. */
export interface SessionView {
  readonly sessionId: SessionId;
  readonly owner: Address;
  readonly state: SessionState;
  readonly policy: SessionPolicy;
  readonly policyCid: Cid | null;
  readonly pricePerTokenWei: WeiString;
  readonly miners: readonly ReservedMiner[];
  readonly validators: readonly ReservedMiner[];
  readonly keyring: KeyringRef | null;
  readonly budget: SessionBudget;
  readonly tasks: {
    readonly accepted: number;
    readonly open: number;
    readonly ended: number;
    readonly settled: number;
  };
  /** Present in state `Failed`: the code of what ended it. */
  readonly failure: string | null;
}

/** Whether tasks at this level need the client's keyring before the first request. */
export function needsClientKeyring(policy: SessionPolicy): boolean {
  return isClientSealed(policy.level);
}

/** The most a task can cost: every token of its bounds at the session's price, for every miner
 * that is asked, and the protocol's fee on top. */
export function maxChargeWei(bounds: {
  readonly maxPromptTokens: number;
  readonly maxTokens: number;
  readonly pricePerTokenWei: bigint;
  readonly miners: number;
  readonly feeBps: number;
}): bigint {
  const tokens = BigInt(bounds.maxPromptTokens + bounds.maxTokens);
  const payments = tokens * bounds.pricePerTokenWei * BigInt(bounds.miners);
  return payments + (payments * BigInt(bounds.feeBps)) / 10_000n;
}
