/**
 * The ledger of a session: which tasks it has taken, what is reserved for them, and what they cost.
 * Pure and deterministic: the session's workflow owns one and drives it with messages.
 *
 * Money: `charged + reserved <= deposited` always; a task reserves its worst case when it is
 * accepted, and every end releases the reservation, `completed` in exchange for its charge.
 */
import { ARCHIVE_PAGE_TASKS } from './archive.js';
import { chargeOf } from './charge.js';
import type { ErrorCode } from './errors.js';
import type { Cid, Hex, SessionId, TaskId } from './ids.js';
import type { CompleteAnswer, OpenTask, SubmitAnswer, TaskRecord } from './lease.js';
import type { WeiString } from './money.js';
import { maxChargeWei, type SessionBudget, type SessionPolicy } from './session.js';
import type { SettlementReport } from './settlement.js';
import type { SettledTask, TaskCompletion, TaskOutcome, TaskSubmission } from './task.js';

/** Ended tasks that stay known at least: a repeated request or a query finds them. Older ones are
 * forgotten by pages, once these lie in the archive. */
export const REMEMBERED_TASKS = 1_000;

interface OpenEntry extends OpenTask {
  readonly reservedWei: WeiString;
  readonly acceptedAtMs: number;
}

interface EndedEntry extends SettledTask {
  readonly usage: TaskCompletion['usage'];
  readonly settlement: 'none' | 'pending' | 'settled' | 'disputed';
  readonly settlementTx: Hex | null;
  readonly batchCid: Cid | null;
}

/** A ledger as one JSON value, to carry it into the next run of the workflow. */
export interface LedgerState {
  readonly nextOrdinal: number;
  readonly chargedWei: WeiString;
  readonly endedCount: number;
  readonly settledCount: number;
  readonly open: readonly OpenEntry[];
  readonly ended: readonly EndedEntry[];
}

export interface LedgerTerms {
  readonly sessionId: SessionId;
  readonly policy: SessionPolicy;
  readonly depositedWei: bigint;
  readonly pricePerTokenWei: bigint;
  readonly feeBps: number;
}

export class SessionLedger {
  readonly #terms: LedgerTerms;
  readonly #open = new Map<TaskId, OpenEntry>();
  /** In the order of their ends. */
  readonly #ended = new Map<TaskId, EndedEntry>();
  #nextOrdinal = 0;
  #chargedWei = 0n;
  #reservedWei = 0n;
  #endedCount = 0;
  #settledCount = 0;

  constructor(terms: LedgerTerms, carried?: LedgerState) {
    this.#terms = terms;
    if (carried === undefined) return;
    this.#nextOrdinal = carried.nextOrdinal;
    this.#chargedWei = BigInt(carried.chargedWei);
    this.#endedCount = carried.endedCount;
    this.#settledCount = carried.settledCount;
    for (const entry of carried.open) {
      this.#open.set(entry.taskId, entry);
      this.#reservedWei += BigInt(entry.reservedWei);
    }
    for (const entry of carried.ended) this.#ended.set(entry.taskId, entry);
  }

  /** Accepts a task and reserves its worst case; a known task answers as it did before. */
  submit(task: TaskSubmission, nowMs: number): SubmitAnswer {
    const { taskId } = task;
    const known = this.#open.get(taskId) ?? this.#ended.get(taskId);
    if (known !== undefined) {
      if (known.requestCid !== task.requestCid) return refusal(taskId, 'IDEMPOTENCY_CONFLICT');
      return { taskId, ordinal: known.ordinal, ended: this.#ended.get(taskId)?.outcome ?? null };
    }
    const { policy, pricePerTokenWei, feeBps, depositedWei } = this.#terms;
    if (task.model !== policy.model) return refusal(taskId, 'MODEL_UNKNOWN');
    if (this.#nextOrdinal >= policy.maxTasks) return refusal(taskId, 'BUDGET_EXHAUSTED');
    const reservedWei = maxChargeWei({
      maxPromptTokens: task.maxPromptTokens,
      maxTokens: task.maxTokens,
      pricePerTokenWei,
      miners: policy.redundancy,
      feeBps,
    });
    if (this.#chargedWei + this.#reservedWei + reservedWei > depositedWei) {
      return refusal(taskId, 'BUDGET_EXHAUSTED');
    }
    const ordinal = this.#nextOrdinal++;
    this.#reservedWei += reservedWei;
    this.#open.set(taskId, {
      ...task,
      ordinal,
      reservedWei: reservedWei.toString(),
      acceptedAtMs: nowMs,
    });
    return { taskId, ordinal, ended: null };
  }

  /** Ends a task. A task that has ended keeps its first end; an unknown one ends as `failed`, free.
   * A completion that would cost more than was reserved is a breach and ends as `failed`. */
  complete(completion: TaskCompletion): CompleteAnswer {
    const { taskId } = completion;
    const open = this.#open.get(taskId);
    if (open === undefined) {
      const ended = this.#ended.get(taskId);
      return {
        taskId,
        outcome: ended?.outcome ?? 'failed',
        chargeWei: ended?.chargeWei ?? '0',
      };
    }
    const isPaid = completion.outcome === 'completed' && completion.evidenceCid !== undefined;
    const charge = chargeOf({
      usage: completion.usage,
      pricePerTokenWei: this.#terms.pricePerTokenWei,
      miners: isPaid ? completion.paidMiners : [],
      feeBps: this.#terms.feeBps,
    });
    const isBreach = BigInt(charge.chargeWei) > BigInt(open.reservedWei);
    const end = isBreach ? { payments: [], feeWei: '0', chargeWei: '0' } : charge;
    const outcome: TaskOutcome =
      isBreach || (completion.outcome === 'completed' && !isPaid) ? 'failed' : completion.outcome;

    this.#open.delete(taskId);
    this.#reservedWei -= BigInt(open.reservedWei);
    this.#chargedWei += BigInt(end.chargeWei);
    this.#endedCount++;
    this.#ended.set(taskId, {
      sessionId: this.#terms.sessionId,
      taskId,
      ordinal: open.ordinal,
      outcome,
      requestCid: open.requestCid,
      ...(completion.evidenceCid === undefined ? {} : { evidenceCid: completion.evidenceCid }),
      ...(completion.resultCid === undefined ? {} : { resultCid: completion.resultCid }),
      ...end,
      usage: completion.usage,
      settlement: end.chargeWei === '0' ? 'none' : 'pending',
      settlementTx: null,
      batchCid: null,
    });
    return { taskId, outcome, chargeWei: end.chargeWei };
  }

  /** Ends every task accepted before `beforeMs` as `expired`, free.
   * @returns their ids. */
  expire(beforeMs: number): TaskId[] {
    const late = [...this.#open.values()].filter((task) => task.acceptedAtMs < beforeMs);
    for (const { taskId } of late) {
      this.complete({
        taskId,
        outcome: 'expired',
        paidMiners: [],
        usage: { promptTokens: 0, completionTokens: 0 },
      });
    }
    return late.map((task) => task.taskId);
  }

  /** Notes what became of charged tasks: settled on chain, or disputed, which gives the charge back.
   * Tasks without a pending charge are left as they are. */
  settle({ taskIds, isSettled, transaction, batchCid }: SettlementReport): void {
    for (const taskId of taskIds) {
      const task = this.#ended.get(taskId);
      if (task?.settlement !== 'pending') continue;
      if (!isSettled) {
        this.#chargedWei -= BigInt(task.chargeWei);
        this.#ended.set(taskId, {
          ...task,
          outcome: 'disputed',
          settlement: 'disputed',
          chargeWei: '0',
          feeWei: '0',
          payments: [],
        });
      } else {
        this.#settledCount++;
        this.#ended.set(taskId, {
          ...task,
          settlement: 'settled',
          settlementTx: transaction,
          batchCid,
        });
      }
    }
  }

  get openTasks(): readonly OpenTask[] {
    return [...this.#open.values()];
  }

  /** Charged tasks that are not settled yet, in the order of their ends. */
  get unsettled(): readonly SettledTask[] {
    return [...this.#ended.values()].filter((task) => task.settlement === 'pending');
  }

  get accepted(): number {
    return this.#nextOrdinal;
  }

  get counts(): { accepted: number; open: number; ended: number; settled: number } {
    return {
      accepted: this.#nextOrdinal,
      open: this.#open.size,
      ended: this.#endedCount,
      settled: this.#settledCount,
    };
  }

  get chargedWei(): bigint {
    return this.#chargedWei;
  }

  budget(refundedWei: bigint): SessionBudget {
    return {
      depositedWei: this.#terms.depositedWei.toString(),
      reservedWei: this.#reservedWei.toString(),
      chargedWei: this.#chargedWei.toString(),
      refundedWei: refundedWei.toString(),
      freeWei: (this.#terms.depositedWei - this.#chargedWei - this.#reservedWei).toString(),
    };
  }

  record(taskId: TaskId): TaskRecord | null {
    const open = this.#open.get(taskId);
    if (open !== undefined) {
      return {
        taskId,
        ordinal: open.ordinal,
        state: 'Queued',
        outcome: null,
        requestCid: open.requestCid,
        evidenceCid: null,
        resultCid: null,
        usage: null,
        chargeWei: '0',
        payments: [],
        settlementTx: null,
        batchCid: null,
      };
    }
    const ended = this.#ended.get(taskId);
    if (ended === undefined) return null;
    return {
      taskId,
      ordinal: ended.ordinal,
      state: ended.settlement === 'settled' ? 'Settled' : 'Ended',
      outcome: ended.outcome,
      requestCid: ended.requestCid,
      evidenceCid: ended.evidenceCid ?? null,
      resultCid: ended.resultCid ?? null,
      usage: ended.usage,
      chargeWei: ended.chargeWei,
      payments: ended.payments,
      settlementTx: ended.settlementTx,
      batchCid: ended.batchCid,
    };
  }

  /** Records of the tasks that are still known, by ordinal. */
  records(): TaskRecord[] {
    return [...this.#open.keys(), ...this.#ended.keys()]
      .map((taskId) => this.record(taskId))
      .filter((record) => record !== null)
      .sort((a, b) => a.ordinal - b.ordinal);
  }

  state(): LedgerState {
    return {
      nextOrdinal: this.#nextOrdinal,
      chargedWei: this.#chargedWei.toString(),
      endedCount: this.#endedCount,
      settledCount: this.#settledCount,
      open: [...this.#open.values()],
      ended: [...this.#ended.values()],
    };
  }

  /** The oldest tasks that have ended for good, a page of them, once there are so many more than are
   * remembered; never one whose money is still under way. */
  archivable(): TaskRecord[] {
    if (this.#ended.size < REMEMBERED_TASKS + ARCHIVE_PAGE_TASKS) return [];
    const page = this.finished(ARCHIVE_PAGE_TASKS);
    return page.length === ARCHIVE_PAGE_TASKS ? page : [];
  }

  /** The oldest tasks that have ended for good, at most `max`. */
  finished(max: number): TaskRecord[] {
    const found: TaskRecord[] = [];
    for (const [taskId, task] of this.#ended) {
      if (found.length >= max) break;
      const record = task.settlement === 'pending' ? null : this.record(taskId);
      if (record !== null) found.push(record);
    }
    return found;
  }

  /** Forgets ended tasks that are kept elsewhere: this keeps memory and histories bounded. */
  forget(taskIds: readonly TaskId[]): void {
    for (const taskId of taskIds) this.#ended.delete(taskId);
  }
}

function refusal(taskId: TaskId, code: ErrorCode): SubmitAnswer {
  return { taskId, refused: code };
}
