/** What a session's owner, or whoever pays, changes of it: signed here, checked by the router and
 * again by the contracts. */
import { policyHashOf } from '../adapters/seal/session-id.js';
import type { AccountInfo, NetworkInfo } from '../domain/api.js';
import { EngineError } from '../domain/errors.js';
import type { Address, Hex, SessionId } from '../domain/ids.js';
import {
  parsePolicy,
  type DepositRequest,
  type PolicyChange,
  type SessionPolicy,
  type SessionView,
  type WithdrawalRequest,
} from '../domain/session.js';
import type { RouterHttp } from './http.js';
import {
  randomReference,
  signDeposit,
  signPermit,
  signPolicyChange,
  signWithdrawal,
  type OwnerSigner,
} from './signing.js';

export interface DepositOptions {
  /** Whoever pays; need not be the owner. */
  readonly signer: OwnerSigner;
  readonly amountWei: bigint;
  /** 0x and 64 hex digits: the same reference is the same deposit.
   * @defaultValue a random one */
  readonly reference?: Hex;
  readonly signal?: AbortSignal;
}

export interface WithdrawOptions {
  readonly signer: OwnerSigner;
  readonly amountWei: bigint;
  /** 0x and 64 hex digits: the same reference is the same withdrawal.
   * @defaultValue a random one */
  readonly reference?: Hex;
  readonly signal?: AbortSignal;
}

export interface PolicyOptions {
  readonly signer: OwnerSigner;
  /** The fields that change; the others stay as they are. */
  readonly policy: Partial<SessionPolicy>;
  readonly signal?: AbortSignal;
}

/** As `SessionHandle.deposit`. */
export async function deposit(
  http: RouterHttp,
  sessionId: SessionId,
  options: DepositOptions,
): Promise<SessionView> {
  const { signer, amountWei, reference = randomReference(), signal } = options;
  requireAmount(amountWei);
  const payer = signer.address as Address;
  const network = await http.json<NetworkInfo>('/api/v1/network', { signal });
  const account = await http.json<AccountInfo>(`/api/v1/accounts/${payer}`, { signal });
  const body: DepositRequest = {
    sessionId,
    payer,
    amountWei: amountWei.toString(),
    reference,
    signature: await signDeposit(signer, network, { sessionId, amountWei, reference }),
    permit: await signPermit(signer, network, {
      valueWei: amountWei,
      nonce: BigInt(account.permitNonce),
    }),
  };
  return http.json(`/api/v1/sessions/${sessionId}/deposits`, { method: 'POST', body, signal });
}

/** As `SessionHandle.withdraw`. */
export async function withdraw(
  http: RouterHttp,
  sessionId: SessionId,
  options: WithdrawOptions,
): Promise<SessionView> {
  const { signer, amountWei, reference = randomReference(), signal } = options;
  requireAmount(amountWei);
  const network = await http.json<NetworkInfo>('/api/v1/network', { signal });
  const body: WithdrawalRequest = {
    sessionId,
    amountWei: amountWei.toString(),
    reference,
    signature: await signWithdrawal(signer, network, { sessionId, amountWei, reference }),
  };
  return http.json(`/api/v1/sessions/${sessionId}/withdrawals`, { method: 'POST', body, signal });
}

/** As `SessionHandle.changePolicy`. */
export async function changePolicy(
  http: RouterHttp,
  { sessionId, policy: current, policyNonce: nonce }: SessionView,
  options: PolicyOptions,
): Promise<SessionView> {
  const { signer, signal } = options;
  const policy = parsePolicy({ ...current, ...options.policy });
  const network = await http.json<NetworkInfo>('/api/v1/network', { signal });
  const policyHash = await policyHashOf(policy);
  const signature = await signPolicyChange(signer, network, { sessionId, policyHash, nonce });
  const body: PolicyChange = { sessionId, policy, nonce, signature };
  return http.json(`/api/v1/sessions/${sessionId}/policy`, { method: 'POST', body, signal });
}

function requireAmount(amountWei: bigint): void {
  if (amountWei <= 0n) throw new EngineError('AMOUNT_INVALID', { field: 'amountWei' });
}
