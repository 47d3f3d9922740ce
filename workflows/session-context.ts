/**
 * What one run of a session's workflow knows. Its parts (lease, messages, miners, money, policy)
 * share it; session.ts is the order in which they act.
 */
import { upsertSearchAttributes } from '@temporalio/workflow';
import { ArchiveIndex } from '../domain/archive-index.js';
import type { RetryPolicies } from '../domain/config.js';
import { SessionHosting, type HostingState } from '../domain/hosting.js';
import type { Address, Cid, SessionId, TaskId } from '../domain/ids.js';
import { SessionLedger, type LedgerState } from '../domain/ledger.js';
import type { KeyringRef } from '../domain/sealing.js';
import type {
  AdmittedInference,
  OpenSessionRequest,
  PolicyChange,
  ReservedMiner,
  SessionPolicy,
  SessionState,
  SessionView,
} from '../domain/session.js';
import { chainActivities, ipfsActivities, oracleActivities } from './activities.js';
import { SEARCH_ATTRIBUTES } from './messages.js';
import type { DepositOrder } from './session-deposit.js';

/** Updates that one run takes before it continues as new; Temporal allows 2,000. */
export const UPDATES_PER_RUN = 1_500;

interface SessionTerms {
  readonly chainId: number;
  readonly pricePerTokenWei: string;
  readonly feeBps: number;
  /** Judges of sealed results; they are readers of the keyring. */
  readonly validators: readonly ReservedMiner[];
  /** age recipient of the routers, readers at level `link`. */
  readonly routerRecipient: string;
  /** age recipient of the owner, a reader at level `link`; `null` when it is not registered. */
  readonly ownerRecipient: string | null;
  readonly retries: RetryPolicies;
  readonly carried?: Carried;
}

/** A session is opened for its owner's request, or serves what a contract has asked and paid for. */
export type SessionInput = SessionTerms &
  (
    | { readonly request: OpenSessionRequest; readonly inference?: never }
    | { readonly inference: AdmittedInference; readonly request?: never }
  );

/** What a run hands to the next one of its session. */
export interface Carried {
  readonly policy: SessionPolicy;
  readonly policyCid: Cid;
  readonly policyNonce: number;
  readonly openedAtMs: number;
  readonly reservedAtMs: number;
  readonly miners: readonly ReservedMiner[];
  readonly keyring: KeyringRef | null;
  readonly formerKeyrings: readonly Cid[];
  readonly ledger: LedgerState;
  /** Pages of tasks that the ledger no longer holds, oldest first. */
  readonly archive: readonly Cid[];
  /** Which tasks are on which of these pages. */
  readonly archiveIndex: readonly string[];
  /** What is on its way to the chain. */
  readonly orders: readonly DepositOrder[];
  readonly change: PolicyChange | null;
  readonly isClosing: boolean;
  /** Of a session with a host. */
  readonly hosting?: HostingState;
}

export class SessionContext {
  readonly input: SessionInput;
  readonly sessionId: SessionId;
  readonly owner: Address;
  readonly chain: ReturnType<typeof chainActivities>;
  readonly ipfs: ReturnType<typeof ipfsActivities>;
  readonly oracles: ReturnType<typeof oracleActivities>;
  readonly ledger: SessionLedger;
  /** Where the policy names a host. */
  readonly hosting: SessionHosting | null;
  policy: SessionPolicy;
  policyCid: Cid | null;
  policyNonce: number;
  miners: readonly ReservedMiner[];
  keyring: KeyringRef | null;
  /** Those that were wrapped for other miners before; they hold the same keys. */
  formerKeyrings: readonly Cid[];
  archive: readonly Cid[];
  /** Over the pages that were archived while it served. */
  readonly archiveIndex: ArchiveIndex;
  /** Names all that the session has laid on IPFS; written after its close. */
  manifestCid: Cid | null = null;
  /** Tasks whose steps this run has put on chain. */
  readonly stepped = new Set<TaskId>();
  /** Of its close; withdrawals are the ledger's. */
  refundedWei = 0n;
  failure: string | null = null;
  isCloseAsked: boolean;
  /** Tasks that no router has are not waited for. */
  isCancelled = false;
  /** When it was opened on chain. */
  openedAtMs: number;
  /** When its miners were chosen, or looked over. */
  reservedAtMs: number;
  lastTaskAtMs = Date.now();
  /** Taken by this run. */
  updates = 0;
  /** Times that settlement has asked for what it had no room for. */
  wanted = 0;
  /** Deposits and withdrawals on their way to the chain, in order. */
  orders: readonly DepositOrder[];
  /** The policy that is to take effect. */
  change: PolicyChange | null;
  /** How the owner's orders and changes of this run have ended, by their keys: `null`, or the code of
   * a refusal. */
  readonly answers = new Map<string, string | null>();
  #state: SessionState = 'Opening';

  constructor(input: SessionInput) {
    const { request, inference, carried, retries } = input;
    const { sessionId, depositWei, policy } = input.request ?? input.inference;
    this.input = input;
    // What arrived between two runs is validated before the new one has come to serving.
    if (carried !== undefined) this.#state = 'Open';
    this.sessionId = sessionId;
    this.owner = request === undefined ? input.inference.consumer : request.owner;
    this.chain = chainActivities(retries);
    this.ipfs = ipfsActivities(retries);
    this.oracles = oracleActivities(retries);
    this.policy = carried?.policy ?? policy;
    this.policyCid = carried?.policyCid ?? inference?.policyCid ?? null;
    this.policyNonce = carried?.policyNonce ?? 0;
    this.miners = carried?.miners ?? [];
    this.keyring = carried?.keyring ?? null;
    this.formerKeyrings = carried?.formerKeyrings ?? [];
    this.archive = carried?.archive ?? [];
    this.archiveIndex = new ArchiveIndex(this.archive, carried?.archiveIndex);
    this.openedAtMs = carried?.openedAtMs ?? Date.now();
    this.reservedAtMs = carried?.reservedAtMs ?? Date.now();
    this.orders = carried?.orders ?? [];
    this.change = carried?.change ?? null;
    this.isCloseAsked = carried?.isClosing ?? false;
    this.ledger = new SessionLedger(
      {
        sessionId,
        policy: this.policy,
        depositedWei: BigInt(depositWei),
        pricePerTokenWei: BigInt(input.pricePerTokenWei),
        feeBps: input.feeBps,
        settlesFree: inference !== undefined || policy.settlement === 'stepwise',
      },
      carried?.ledger,
    );
    const { host } = this.policy;
    this.hosting = host === undefined ? null : new SessionHosting(host, carried?.hosting);
    // Runs take over the attributes of those before them.
    if (carried === undefined) {
      upsertSearchAttributes([
        { key: SEARCH_ATTRIBUTES.owner, value: this.owner.toLowerCase() },
        { key: SEARCH_ATTRIBUTES.model, value: this.policy.model },
        { key: SEARCH_ATTRIBUTES.state, value: this.#state },
      ]);
    }
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Goes on to a state, and lets the session be found by it. */
  enter(state: SessionState): void {
    this.#state = state;
    upsertSearchAttributes([{ key: SEARCH_ATTRIBUTES.state, value: state }]);
  }

  /** The session closes then, whatever happens. */
  get expiresAtMs(): number {
    const { inference } = this.input;
    if (inference !== undefined) return inference.deadline * 1_000;
    return this.openedAtMs + this.policy.lifeSeconds * 1_000;
  }

  view(): SessionView {
    return {
      sessionId: this.sessionId,
      owner: this.owner,
      state: this.#state,
      policy: this.policy,
      policyCid: this.policyCid,
      policyNonce: this.policyNonce,
      expiresAtMs: this.expiresAtMs,
      pricePerTokenWei: this.input.pricePerTokenWei,
      miners: this.miners,
      validators: this.input.validators,
      keyring: this.keyring,
      budget: this.ledger.budget(this.refundedWei),
      tasks: this.ledger.counts,
      manifestCid: this.manifestCid,
      failure: this.failure,
      ...(this.hosting === null ? {} : { host: this.hosting.view() }),
    };
  }

  /** What the next run needs to go on where this one stops.
   * @param policyCid - of the policy in force. */
  carry(policyCid: Cid): Carried {
    return {
      policy: this.policy,
      policyCid,
      policyNonce: this.policyNonce,
      openedAtMs: this.openedAtMs,
      reservedAtMs: this.reservedAtMs,
      miners: this.miners,
      keyring: this.keyring,
      formerKeyrings: this.formerKeyrings,
      ledger: this.ledger.state(),
      archive: this.archive,
      archiveIndex: this.archiveIndex.state(),
      orders: this.orders,
      change: this.change,
      isClosing: this.isCloseAsked,
      ...(this.hosting === null ? {} : { hosting: this.hosting.state() }),
    };
  }
}
