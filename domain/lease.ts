/**
 * The lease: how a router serves a session without an activity per step of a task. It is one
 * heartbeating activity; when its heartbeat stops, the workflow gives the session, with its open
 * tasks, to another router.
 */
import type { TaskHosting } from './hosting.js';
import type { Address, Cid, Hex, SessionId, TaskId } from './ids.js';
import type { Probe } from './health.js';
import type { WeiString } from './money.js';
import type { KeyringRef, Reader } from './sealing.js';
import type { ReservedMiner, SessionPolicy } from './session.js';
import type { SettledTask, TaskOutcome, TaskState, TaskSubmission, TokenUsage } from './task.js';

/** A task that was accepted and has not ended; a new lease holder dispatches it again. */
export interface OpenTask extends TaskSubmission {
  readonly ordinal: number;
}

/** All that a router needs to serve a session. */
export interface LeaseInput {
  readonly sessionId: SessionId;
  /** Of the session's workflow, for its updates. */
  readonly workflowId: string;
  readonly owner: Address;
  readonly policy: SessionPolicy;
  readonly miners: readonly ReservedMiner[];
  readonly validators: readonly ReservedMiner[];
  /** `null` at level `open`. */
  readonly keyring: KeyringRef | null;
  readonly pricePerTokenWei: WeiString;
  readonly openTasks: readonly OpenTask[];
  /** Those of the open tasks that a router which has given the lease back is about to finish. */
  readonly leaving: readonly LeavingTask[];
}

/** A task that its former router finishes, and for how long that is to be believed. */
export interface LeavingTask {
  readonly taskId: TaskId;
  /** Milliseconds from the beginning of the lease. */
  readonly forMs: number;
}

/** How a router gives a lease back. */
export interface LeaseEnd {
  /** Open tasks that it still finishes: nobody needs to dispatch them again meanwhile. */
  readonly leaving: readonly LeavingTask[];
}

/** What a router that asks for a lease knows of its holder. */
export interface ClaimTerms {
  /** Number of a lease whose holder is known to have died. */
  readonly gone?: number;
  /** Another router keeps what it holds: it is reached there. */
  readonly isPatient?: boolean;
}

/** Who has the lease from now on. */
export interface LeaseClaim {
  /** Task queue of a router, or the one that all share. */
  readonly holder: string;
  /** Of the lease, counted up within the session's run. */
  readonly number: number;
}

/** Input of the update `submitTasks`: as many tasks as gathered in a few milliseconds. */
export interface TaskBatch<T> {
  readonly tasks: readonly T[];
}

/** A task as a router hands it to the session's workflow. */
export interface SubmittedTask extends TaskSubmission {
  /** Pages of the archive that the router has looked into: the task is in none of them. */
  readonly notIn?: readonly Cid[];
}

/** Answer for each submitted task, in order. A known id answers as it did the first time. */
export type SubmitAnswer =
  | { readonly taskId: TaskId; readonly ordinal: number; readonly ended: TaskOutcome | null }
  | { readonly taskId: TaskId; readonly refused: string }
  /** Nothing is decided: one of these pages of the archive may hold it. */
  | { readonly taskId: TaskId; readonly mayBeIn: readonly Cid[] };

/** Answer for each completion, in order; recording a task twice changes nothing. */
export interface CompleteAnswer {
  readonly taskId: TaskId;
  readonly outcome: TaskOutcome;
  readonly chargeWei: WeiString;
  /** Code of what keeps the session's content from its host; absent while nothing does. */
  readonly hostCode?: string;
}

/** The record that `GET …/tasks/:taskId` and the query `task` answer with. */
export interface TaskRecord {
  readonly taskId: TaskId;
  readonly ordinal: number;
  /** Of an open task what its router says, `Queued` where none has it. */
  readonly state: TaskState | 'Settled';
  readonly outcome: TaskOutcome | null;
  /** Code of what kept the miners from an answer; absent where there is one, or nothing did. */
  readonly failure?: string;
  readonly requestCid: Cid;
  readonly evidenceCid: Cid | null;
  /** The agreed answer at rest. */
  readonly resultCid: Cid | null;
  readonly usage: TokenUsage | null;
  readonly chargeWei: WeiString;
  /** To whom the charge goes, but for the fee. */
  readonly payments: SettledTask['payments'];
  readonly settlementTx: Hex | null;
  /** The batch it was settled in, with the other leaves of its tree. */
  readonly batchCid: Cid | null;
  /** Where its content is, in a session with a host whose workflow still knows the task. */
  readonly host?: TaskHosting;
}

/** Activities that only a router process can run: it owns the miners' sockets. */
export interface RouterActivities {
  /** Serves the session until it is cancelled, the router is stopped, or there was no task for a while;
   * heartbeats every second.
   * @returns `null` where nothing was under way. */
  holdLease(input: LeaseInput): Promise<LeaseEnd | null>;
  /** Lets other miners read a session at level `link`: its keyring, wrapped for these readers.
   * @returns where it lies; the keys are the same, so what is at rest stays readable. */
  rewrapKeyring(input: {
    readonly sessionId: SessionId;
    readonly keyring: KeyringRef;
    readonly readers: readonly Reader[];
  }): Promise<KeyringRef>;
  /** Puts the same probes to every named miner that is connected, commit before reveal. Those that are
   * not get a while to connect.
   * @returns the CID of the `EpochEvidence`. */
  runProbes(input: {
    readonly epoch: number;
    readonly miners: readonly Address[];
    readonly probes: readonly Probe[];
    readonly deadlineMs: number;
  }): Promise<{ readonly evidenceCid: Cid; readonly answered: number }>;
}
