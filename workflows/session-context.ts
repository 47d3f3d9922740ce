/**
 * What one run of a session's workflow knows. Its parts (lease, messages, miners, money) share it;
 * session.ts is the order in which they act.
 */
import type { RetryPolicies } from '../domain/config.js';
import type { Cid } from '../domain/ids.js';
import { SessionLedger, type LedgerState } from '../domain/ledger.js';
import type { KeyringRef } from '../domain/sealing.js';
import type {
  OpenSessionRequest,
  ReservedMiner,
  SessionState,
  SessionView,
} from '../domain/session.js';
import { chainActivities, ipfsActivities, oracleActivities } from './activities.js';

export interface SessionInput {
  readonly request: OpenSessionRequest;
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

/** What a run hands to the next one of its session. */
export interface Carried {
  readonly policyCid: Cid;
  readonly miners: readonly ReservedMiner[];
  readonly keyring: KeyringRef | null;
  readonly ledger: LedgerState;
  /** Pages of tasks that the ledger no longer holds, oldest first. */
  readonly archive: readonly Cid[];
  readonly isClosing: boolean;
}

export class SessionContext {
  readonly input: SessionInput;
  readonly chain: ReturnType<typeof chainActivities>;
  readonly ipfs: ReturnType<typeof ipfsActivities>;
  readonly oracles: ReturnType<typeof oracleActivities>;
  readonly ledger: SessionLedger;
  state: SessionState = 'Opening';
  policyCid: Cid | null;
  miners: readonly ReservedMiner[];
  keyring: KeyringRef | null;
  archive: readonly Cid[];
  refundedWei = 0n;
  failure: string | null = null;
  isCloseAsked: boolean;
  lastTaskAtMs = Date.now();
  /** Taken by this run. */
  updates = 0;

  constructor(input: SessionInput) {
    const { request, carried, retries } = input;
    this.input = input;
    this.chain = chainActivities(retries);
    this.ipfs = ipfsActivities(retries);
    this.oracles = oracleActivities(retries);
    this.policyCid = carried?.policyCid ?? null;
    this.miners = carried?.miners ?? [];
    this.keyring = carried?.keyring ?? null;
    this.archive = carried?.archive ?? [];
    this.isCloseAsked = carried?.isClosing ?? false;
    this.ledger = new SessionLedger(
      {
        sessionId: request.sessionId,
        policy: request.policy,
        depositedWei: BigInt(request.depositWei),
        pricePerTokenWei: BigInt(input.pricePerTokenWei),
        feeBps: input.feeBps,
      },
      carried?.ledger,
    );
  }

  get sessionId(): OpenSessionRequest['sessionId'] {
    return this.input.request.sessionId;
  }

  get policy(): OpenSessionRequest['policy'] {
    return this.input.request.policy;
  }

  view(): SessionView {
    return {
      sessionId: this.sessionId,
      owner: this.input.request.owner,
      state: this.state,
      policy: this.policy,
      policyCid: this.policyCid,
      policyNonce: 0,
      expiresAtMs: 0,
      pricePerTokenWei: this.input.pricePerTokenWei,
      miners: this.miners,
      validators: this.input.validators,
      keyring: this.keyring,
      budget: this.ledger.budget(this.refundedWei),
      tasks: this.ledger.counts,
      failure: this.failure,
    };
  }
}
