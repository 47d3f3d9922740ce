/** The session: what a user buys. Its policy, its budget, and the states of its life. */
import { EngineError } from './errors.js';
import type { HostView } from './hosting.js';
import type { Address, Cid, Hex, SessionId } from './ids.js';
import { parseWei, type WeiString } from './money.js';
import { isClientSealed, SEALING_LEVELS, type KeyringRef, type SealingLevel } from './sealing.js';
import type { TaskSubmission } from './task.js';

export const SESSION_STATES = [
  'Opening',
  'Reserving',
  /** Miners are reserved; at a client-sealed level the client's keyring is awaited. */
  'AwaitingKeyring',
  'Open',
  /** The owner's new policy takes effect when the tasks under way have ended; none is taken. */
  'Changing',
  'Closing',
  'Closed',
  'Failed',
] as const;
export type SessionState = (typeof SESSION_STATES)[number];

/** Whom a session takes: any miner of the pool, the owner's own first, or the owner's own alone. */
export const SESSION_MODES = ['ephemeral', 'hybrid', 'dedicated'] as const;
export type SessionMode = (typeof SESSION_MODES)[number];

/** `batched`: many tasks a transaction. `stepwise`: every step of every task is on chain as well. */
export const SETTLEMENT_MODES = ['batched', 'stepwise'] as const;
export type SettlementMode = (typeof SETTLEMENT_MODES)[number];

/** What the owner asks for; its hash is on chain, all of it on IPFS. */
export interface SessionPolicy {
  readonly version: 1;
  readonly model: string;
  readonly mode: SessionMode;
  /** The owner's own miners; empty exactly in mode `ephemeral`, at most 32. */
  readonly dedicated: readonly Address[];
  /** Miners without which the session does not open, 1–32; at least `redundancy`. */
  readonly minMiners: number;
  /** Miners that are reserved at a time, `minMiners`–32. */
  readonly maxMiners: number;
  /** Miners that answer each request, 1–9. A majority of them must agree. */
  readonly redundancy: number;
  /** Oracles that may read what is sealed, and judge it, 1–9. */
  readonly validators: number;
  /** Least level of a miner by its last epoch, 0–10. */
  readonly minNodeLevel: number;
  /** Sealing level. */
  readonly level: SealingLevel;
  readonly settlement: SettlementMode;
  /** Highest price in wei a token that the owner accepts. */
  readonly priceCeilingWei: WeiString;
  /** 1–100,000. */
  readonly maxTasks: number;
  /** Seconds after which the reservation is looked over and lost miners are replaced,
   * 60–31,536,000. At client-sealed levels the miners stay: only the client could let others read. */
  readonly reserveSeconds: number;
  /** Seconds without a task after which the session closes and refunds, 60–31,536,000. */
  readonly idleSeconds: number;
  /** Seconds after which the session closes and refunds whatever happens, 60–31,536,000. */
  readonly lifeSeconds: number;
  /** Seconds in which a task must end, 5–3,600. */
  readonly taskSeconds: number;
  /** Seconds after its close for which the session's content stays pinned, 0–315,360,000; 0 = for
   * good. Always 0 at level `open`, whose content other sessions may share. */
  readonly retentionSeconds: number;
  /** Sinks of the deployment that the session is exported to when it closes, at most 8. */
  readonly sinks: readonly string[];
  /** The owner's own store, one of the deployment's hosts: requests and results go there, and leave our
   * nodes. Absent: they rest on the deployment's IPFS, as they do at level `open` always. */
  readonly host?: string;
}

/** A policy as an owner writes it: the rest is filled in by `parsePolicy`. */
export type PolicyInput = Pick<SessionPolicy, 'model' | 'priceCeilingWei'> & Partial<SessionPolicy>;

const YEAR_SECONDS = 31_536_000;
export const POLICY_LIMITS = {
  minMiners: { min: 1, max: 32 },
  maxMiners: { min: 1, max: 32 },
  redundancy: { min: 1, max: 9 },
  validators: { min: 1, max: 9 },
  minNodeLevel: { min: 0, max: 10 },
  maxTasks: { min: 1, max: 100_000 },
  reserveSeconds: { min: 60, max: YEAR_SECONDS },
  idleSeconds: { min: 60, max: YEAR_SECONDS },
  lifeSeconds: { min: 60, max: YEAR_SECONDS },
  taskSeconds: { min: 5, max: 3_600 },
  retentionSeconds: { min: 0, max: 10 * YEAR_SECONDS },
} as const;
const MAX_DEDICATED = 32;
const MAX_SINKS = 8;
/** Of what a deployment's configuration names. */
const NAME = /^[a-z0-9][a-z0-9-]{0,63}$/;

/** Fields that an owner cannot change in an open session: keys, money or evidence hang on them. */
export const FIXED_POLICY_FIELDS = [
  'version',
  'model',
  'level',
  'validators',
  'settlement',
  'host',
] as const;

/** Checks a policy of unknown origin, field by field, and fills in what it leaves out.
 * @throws POLICY_INVALID — with the field, and what was expected of it. */
export function parsePolicy(value: unknown): SessionPolicy {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('policy', 'an object');
  }
  const given = value as Record<string, unknown>;
  const redundancy = integerOf(given, 'redundancy', 3);
  const minMiners = integerOf(given, 'minMiners', redundancy);
  const policy: SessionPolicy = {
    version: oneOf(given, 'version', [1], 1),
    model: textOf(given['model'], 'model'),
    mode: oneOf(given, 'mode', SESSION_MODES, 'ephemeral'),
    dedicated: listOf(given, 'dedicated', MAX_DEDICATED, /^0x[0-9a-fA-F]{40}$/) as Address[],
    minMiners,
    // One more than asked for, so that a session outlives the loss of a miner.
    maxMiners: integerOf(given, 'maxMiners', Math.max(minMiners, redundancy + 1)),
    redundancy,
    validators: integerOf(given, 'validators', 3),
    minNodeLevel: integerOf(given, 'minNodeLevel', 0),
    level: oneOf(given, 'level', SEALING_LEVELS, 'link'),
    settlement: oneOf(given, 'settlement', SETTLEMENT_MODES, 'batched'),
    priceCeilingWei: weiOf(given, 'priceCeilingWei'),
    maxTasks: integerOf(given, 'maxTasks', 1_000),
    reserveSeconds: integerOf(given, 'reserveSeconds', 3_600),
    idleSeconds: integerOf(given, 'idleSeconds', 3_600),
    lifeSeconds: integerOf(given, 'lifeSeconds', YEAR_SECONDS),
    taskSeconds: integerOf(given, 'taskSeconds', 60),
    retentionSeconds: integerOf(given, 'retentionSeconds', 0),
    sinks: listOf(given, 'sinks', MAX_SINKS, NAME),
    ...hostOf(given['host']),
  };
  for (const field of Object.keys(given)) {
    if (!Object.hasOwn(policy, field)) throw invalid(field, 'a field of a policy');
  }
  checkTogether(policy);
  return policy;
}

/** What no field can be held to alone. */
function checkTogether(policy: SessionPolicy): void {
  const { minMiners, maxMiners, redundancy, mode, dedicated } = policy;
  if (minMiners < redundancy) throw invalid('minMiners', `at least redundancy, ${redundancy}`);
  if (maxMiners < minMiners) throw invalid('maxMiners', `at least minMiners, ${minMiners}`);
  if ((mode === 'ephemeral') !== (dedicated.length === 0)) {
    throw invalid('dedicated', 'miners in mode hybrid or dedicated, and none in mode ephemeral');
  }
  if (mode === 'dedicated' && dedicated.length < minMiners) {
    throw invalid('dedicated', `at least minMiners, ${minMiners}`);
  }
  if (policy.level === 'open' && policy.retentionSeconds !== 0) {
    throw invalid('retentionSeconds', '0 at level open');
  }
  if (policy.level === 'open' && policy.host !== undefined) {
    throw invalid('host', 'none at level open');
  }
}

function integerOf(
  given: Record<string, unknown>,
  field: keyof typeof POLICY_LIMITS,
  absent: number,
): number {
  const { min, max } = POLICY_LIMITS[field];
  const n = given[field] ?? absent;
  if (typeof n !== 'number' || !Number.isInteger(n) || n < min || n > max) {
    throw invalid(field, `an integer from ${min} to ${max}`);
  }
  return n;
}

function oneOf<T extends string | number>(
  given: Record<string, unknown>,
  field: string,
  values: readonly T[],
  absent: T,
): T {
  const value = given[field] ?? absent;
  const found = values.find((v) => v === value);
  if (found === undefined) throw invalid(field, values.join(' | '));
  return found;
}

function textOf(value: unknown, field: string): string {
  if (typeof value === 'string' && value !== '' && value.length <= 200) return value;
  throw invalid(field, `the name of a ${field}`);
}

function hostOf(value: unknown): Pick<SessionPolicy, 'host'> {
  if (value === undefined) return {};
  if (typeof value === 'string' && NAME.test(value)) return { host: value };
  throw invalid('host', 'the name of a host');
}

function weiOf(given: Record<string, unknown>, field: string): WeiString {
  const value = given[field];
  if (typeof value !== 'string') throw invalid(field, 'a decimal string of wei');
  return parseWei(value).toString();
}

function listOf(
  given: Record<string, unknown>,
  field: string,
  max: number,
  pattern: RegExp,
): readonly string[] {
  const list = given[field] ?? [];
  const isList = Array.isArray(list) && list.length <= max;
  const items: unknown[] = isList ? list : [];
  const texts = items.filter((item) => typeof item === 'string' && pattern.test(item)) as string[];
  const isUnique = new Set(texts.map((text) => text.toLowerCase())).size === items.length;
  if (!isList || !isUnique) throw invalid(field, `at most ${max} different names`);
  return texts;
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

/** More money for an open session, permitted and signed by whoever pays. */
export interface DepositRequest {
  readonly sessionId: SessionId;
  readonly payer: Address;
  readonly amountWei: WeiString;
  /** 0x and 64 hex digits, chosen by the payer: the same reference is the same deposit. */
  readonly reference: Hex;
  /** EIP-712 `Deposit`, by the payer: a permit alone would fit any session. */
  readonly signature: Hex;
  readonly permit: TokenPermit;
}

/** What is not reserved, back to the owner while the session goes on. */
export interface WithdrawalRequest {
  readonly sessionId: SessionId;
  readonly amountWei: WeiString;
  /** 0x and 64 hex digits, chosen by the owner: the same reference is the same withdrawal. */
  readonly reference: Hex;
  /** EIP-712 `WithdrawDeposit`, by the owner. */
  readonly signature: Hex;
}

/** Another policy for an open session; it counts from its first moment without tasks under way. */
export interface PolicyChange {
  readonly sessionId: SessionId;
  readonly policy: SessionPolicy;
  /** Changes before this one, from 0. */
  readonly nonce: number;
  /** EIP-712 `ChangePolicy`, by the owner. */
  readonly signature: Hex;
}

/** Checks that an open session can go on under another policy.
 * @param session.accepted - tasks it has taken.
 * @param session.reserved - its miners, where they cannot be replaced; otherwise `null`.
 * @throws POLICY_INVALID — with the field, and what was expected of it. */
export function checkPolicyChange(
  next: SessionPolicy,
  session: {
    readonly policy: SessionPolicy;
    readonly accepted: number;
    readonly pricePerTokenWei: WeiString;
    readonly reserved: number | null;
  },
): void {
  const { policy, accepted, pricePerTokenWei, reserved } = session;
  for (const field of FIXED_POLICY_FIELDS) {
    if (next[field] !== policy[field]) {
      throw invalid(field, `${policy[field] ?? 'none'}, as it was`);
    }
  }
  if (next.maxTasks < accepted) throw invalid('maxTasks', `at least ${accepted}, taken already`);
  if (parseWei(next.priceCeilingWei) < parseWei(pricePerTokenWei)) {
    throw invalid('priceCeilingWei', `at least the price, ${pricePerTokenWei}`);
  }
  if (reserved !== null && next.redundancy > reserved) {
    throw invalid('redundancy', `at most ${reserved}, the miners that can read the session`);
  }
}

/** An inference that a contract asked for: a session with one task, opened by `SessionQueue`. */
export interface InferenceRequest {
  /** Number of the request on its chain, from 1 and without gaps. */
  readonly globalId: number;
  readonly sessionId: SessionId;
  /** The contract that asks, pays, and is called back. */
  readonly consumer: Address;
  readonly clientReference: Hex;
  readonly policyHash: Hex;
  /** What its task may cost: the payment without the callback's fee. */
  readonly depositWei: WeiString;
  readonly maxTokens: number;
  /** Unix seconds; then anyone may end it on chain, with a full refund. */
  readonly deadline: number;
}

/** A request that the network can serve: what its session needs to run it without asking again. */
export interface AdmittedInference extends InferenceRequest {
  readonly policy: SessionPolicy;
  readonly policyCid: Cid;
  /** The session's one task; its request is pinned, in plain form. */
  readonly task: TaskSubmission;
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
  /** What the owner could take back now: neither reserved nor charged. */
  readonly freeWei: WeiString;
}

/** Answer of the `session` workflow's state query, and of the router's session route. */
export interface SessionView {
  readonly sessionId: SessionId;
  readonly owner: Address;
  readonly state: SessionState;
  readonly policy: SessionPolicy;
  readonly policyCid: Cid | null;
  /** Changes of the policy so far; the nonce of the next one. */
  readonly policyNonce: number;
  /** Unix milliseconds at which the session closes at the latest. */
  readonly expiresAtMs: number;
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
  /** Manifest of all that it has laid on IPFS; `null` until it is written, after the close. */
  readonly manifestCid: Cid | null;
  /** Present in state `Failed`: the code of what ended it. */
  readonly failure: string | null;
  /** Where its policy names a host: what is there, and what waits for it. */
  readonly host?: HostView;
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
