/**
 * The ledger of a session: which tasks it has taken, what is reserved for them, and what they cost.
 * Pure and deterministic: the session's workflow owns one and drives it with messages.
 *
 * Money: `charged + reserved + withdrawing <= deposited` always, with `deposited` as the chain last said
 * it; a task reserves its worst case when it is accepted, and every end releases the reservation,
 * `completed` in exchange for its charge.
 */
import { ARCHIVE_PAGE_TASKS } from './archive.js';
import { chargeOf } from './charge.js';
import type { ErrorCode } from './errors.js';
import type { Hex, SessionId, TaskId } from './ids.js';
import type { CompleteAnswer, OpenTask, SubmitAnswer, TaskRecord } from './lease.js';
import type { WeiString } from './money.js';
import { packEntries, unpackEntries, type EndedEntry, type PackedEntries } from './packed-tasks.js';
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

/** Tasks that are open, not settled, or not archived yet, at most: more than a run can hand to the
 * next in one message. Beyond, the session takes no new ones until settlement has caught up. */
const MAX_HELD_TASKS = 2_500;

/** A withdrawal by its reference: on its way, or on chain. */
export interface Withdrawal {
  readonly reference: Hex;
  readonly amountWei: WeiString;
  readonly isPending: boolean;
}

/** Withdrawals that stay known after their end, so that a repeated one is no second one. */
const REMEMBERED_WITHDRAWALS = 1_000;

/** A ledger as one JSON value, to carry it into the next run of the workflow. */
export interface LedgerState {
  readonly nextOrdinal: number;
  readonly chargedWei: WeiString;
  readonly endedCount: number;
  readonly settledCount: number;
  readonly depositedWei: WeiString;
  readonly withdrawnWei: WeiString;
  readonly withdrawals: readonly Withdrawal[];
  readonly open: readonly OpenEntry[];
  readonly ended: PackedEntries;
}

export interface LedgerTerms {
  readonly sessionId: SessionId;
  readonly policy: SessionPolicy;
  readonly depositedWei: bigint;
  readonly pricePerTokenWei: bigint;
  readonly feeBps: number;
  /** Tasks that cost nothing are settled as well: a contract can be told their end only with proof. */
  readonly settlesFree: boolean;
}

export class SessionLedger {
  readonly #terms: LedgerTerms;
  readonly #open = new Map<TaskId, OpenEntry>();
  /** In the order of their ends. */
  readonly #ended = new Map<TaskId, EndedEntry>();
  readonly #withdrawals = new Map<Hex, Withdrawal>();
  #policy: SessionPolicy;
  /** Held or charged, by the chain's last word. */
  #depositedWei: bigint;
  #withdrawnWei = 0n;
  #withdrawingWei = 0n;
  #nextOrdinal = 0;
  #chargedWei = 0n;
  #reservedWei = 0n;
  #endedCount = 0;
  #settledCount = 0;
  /** While its policy changes, a session takes no new tasks. */
  isPaused = false;

  constructor(terms: LedgerTerms, carried?: LedgerState) {
    this.#terms = terms;
    this.#policy = terms.policy;
    this.#depositedWei = terms.depositedWei;
    if (carried === undefined) return;
    this.#depositedWei = BigInt(carried.depositedWei);
    this.#withdrawnWei = BigInt(carried.withdrawnWei);
    for (const withdrawal of carried.withdrawals) {
      this.#withdrawals.set(withdrawal.reference, withdrawal);
      if (withdrawal.isPending) this.#withdrawingWei += BigInt(withdrawal.amountWei);
    }
    this.#nextOrdinal = carried.nextOrdinal;
    this.#chargedWei = BigInt(carried.chargedWei);
    this.#endedCount = carried.endedCount;
    this.#settledCount = carried.settledCount;
    for (const entry of carried.open) {
      this.#open.set(entry.taskId, entry);
      this.#reservedWei += BigInt(entry.reservedWei);
    }
    for (const entry of unpackEntries(carried.ended)) this.#ended.set(entry.taskId, entry);
  }

  /** Accepts a task and reserves its worst case; a known task answers as it did before. */
  submit(task: TaskSubmission, nowMs: number): SubmitAnswer {
    const { taskId } = task;
    const known = this.#open.get(taskId) ?? this.#ended.get(taskId);
    if (known !== undefined) {
      if (known.requestCid !== task.requestCid) return refusal(taskId, 'IDEMPOTENCY_CONFLICT');
      return { taskId, ordinal: known.ordinal, ended: this.#ended.get(taskId)?.outcome ?? null };
    }
    const isFull = this.#open.size + this.#ended.size >= MAX_HELD_TASKS;
    if (this.isPaused || isFull) return refusal(taskId, 'SESSION_BUSY');
    const { pricePerTokenWei, feeBps } = this.#terms;
    const policy = this.#policy;
    if (task.model !== policy.model) return refusal(taskId, 'MODEL_UNKNOWN');
    if (this.#nextOrdinal >= policy.maxTasks) return refusal(taskId, 'BUDGET_EXHAUSTED');
    const reservedWei = maxChargeWei({
      maxPromptTokens: task.maxPromptTokens,
      maxTokens: task.maxTokens,
      pricePerTokenWei,
      miners: policy.redundancy,
      feeBps,
    });
    if (reservedWei > this.freeWei) return refusal(taskId, 'BUDGET_EXHAUSTED');
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
      ...(completion.failure === undefined ? {} : { failure: completion.failure }),
      settlement: end.chargeWei === '0' && !this.#terms.settlesFree ? 'none' : 'pending',
      settlementTx: null,
      batchCid: null,
    });
    return { taskId, outcome, chargeWei: end.chargeWei };
  }

  /** Ends every task accepted before `beforeMs` as `expired`, free.
   * @returns their ids. */
  expire(beforeMs: number): TaskId[] {
    const late = [...this.#open.values()].filter((task) => task.acceptedAtMs < beforeMs);
    for (const { taskId } of late) this.#endFree(taskId, 'expired');
    return late.map((task) => task.taskId);
  }

  /** Ends open tasks as `cancelled`, free. A task that has ended keeps its end. */
  cancel(taskIds: readonly TaskId[]): CompleteAnswer[] {
    return taskIds.map((taskId) => this.#endFree(taskId, 'cancelled'));
  }

  #endFree(taskId: TaskId, outcome: TaskOutcome): CompleteAnswer {
    const usage = { promptTokens: 0, completionTokens: 0 };
    return this.complete({ taskId, outcome, paidMiners: [], usage });
  }

  /** Puts another policy in force, for the tasks that come from now on. */
  changePolicy(policy: SessionPolicy): void {
    this.#policy = policy;
  }

  /** Takes over what the chain says of the deposit. A withdrawal that is pending must not have gone to
   * the chain: its amount could be in there or not.
   * @param wei - held and charged, together. */
  setDeposit(wei: bigint): void {
    this.#depositedWei = wei;
  }

  /** Takes a withdrawal out of what is free; one whose reference is known changes nothing.
   * @returns false when less is free. */
  withdraw(reference: Hex, amountWei: bigint): boolean {
    if (this.#withdrawals.has(reference)) return true;
    if (amountWei > this.freeWei) return false;
    this.#withdrawingWei += amountWei;
    this.#withdrawals.set(reference, {
      reference,
      amountWei: amountWei.toString(),
      isPending: true,
    });
    return true;
  }

  /** Ends a withdrawal: the chain has it, or, refused, its amount is free again. */
  endWithdrawal(reference: Hex, isDone: boolean): void {
    const withdrawal = this.withdrawal(reference);
    if (withdrawal?.isPending !== true) return;
    const amountWei = BigInt(withdrawal.amountWei);
    this.#withdrawingWei -= amountWei;
    this.#withdrawals.delete(reference);
    if (!isDone) return;
    this.#depositedWei -= amountWei;
    this.#withdrawnWei += amountWei;
    this.#withdrawals.set(reference, { ...withdrawal, isPending: false });
    for (const [oldest, { isPending }] of this.#withdrawals) {
      if (this.#withdrawals.size <= REMEMBERED_WITHDRAWALS) return;
      if (!isPending) this.#withdrawals.delete(oldest);
    }
  }

  /** A withdrawal that is on its way, or that has been lately. */
  withdrawal(reference: Hex): Withdrawal | null {
    return this.#withdrawals.get(reference) ?? null;
  }

  /** Notes what became of charged tasks: settled on chain, or disputed, which gives the charge back.
   * Tasks without a pending charge are left as they are. */
  settle({ taskIds, isSettled, transaction, batchCid }: SettlementReport): void {
    for (const taskId of taskIds) {
      const task = this.#ended.get(taskId);
      if (task?.settlement !== 'pending') continue;
      if (!isSettled) {
        this.#chargedWei -= BigInt(task.chargeWei);
        const { evidenceCid: _, resultCid: __, ...rest } = task;
        // The end without a charge can be settled where the one with a charge could not.
        const isSettledFree = this.#terms.settlesFree && task.chargeWei !== '0';
        this.#ended.set(taskId, {
          ...(isSettledFree ? rest : task),
          outcome: 'disputed',
          settlement: isSettledFree ? 'pending' : 'disputed',
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

  /** Neither charged nor promised to a task or a withdrawal. */
  get freeWei(): bigint {
    return this.#depositedWei - this.#chargedWei - this.#reservedWei - this.#withdrawingWei;
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

  /** @param refundedWei - by the session's close; withdrawals are counted here. */
  budget(refundedWei: bigint): SessionBudget {
    return {
      depositedWei: (this.#depositedWei + this.#withdrawnWei).toString(),
      reservedWei: this.#reservedWei.toString(),
      chargedWei: this.#chargedWei.toString(),
      refundedWei: (refundedWei + this.#withdrawnWei).toString(),
      freeWei: (this.freeWei - refundedWei).toString(),
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
      ...(ended.failure === undefined ? {} : { failure: ended.failure }),
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

  /** Records of the tasks that are still known, by ordinal.
   * @param from - the least ordinal. */
  records(from = 0): TaskRecord[] {
    return [...this.#open.keys(), ...this.#ended.keys()]
      .map((taskId) => this.record(taskId))
      .filter((record) => record !== null)
      .filter((record) => record.ordinal >= from)
      .sort((a, b) => a.ordinal - b.ordinal);
  }

  state(): LedgerState {
    return {
      nextOrdinal: this.#nextOrdinal,
      chargedWei: this.#chargedWei.toString(),
      endedCount: this.#endedCount,
      settledCount: this.#settledCount,
      depositedWei: this.#depositedWei.toString(),
      withdrawnWei: this.#withdrawnWei.toString(),
      withdrawals: [...this.#withdrawals.values()],
      open: [...this.#open.values()],
      ended: packEntries([...this.#ended.values()]),
    };
  }

  /** The oldest tasks that have ended for good, a page of them, once there are so many more than are
   * remembered; never one whose money is still under way. */
  archivable(): TaskRecord[] {
    if (this.#ended.size < REMEMBERED_TASKS + ARCHIVE_PAGE_TASKS) return [];
    const page = this.finished(ARCHIVE_PAGE_TASKS);
    return page.length === ARCHIVE_PAGE_TASKS ? page : [];
  }

  /** Whether a task is open, or has ended and is not forgotten. */
  knows(taskId: TaskId): boolean {
    return this.#open.has(taskId) || this.#ended.has(taskId);
  }

  /** Whether a task has ended, and no money of it is under way any more. */
  isFinal(taskId: TaskId): boolean {
    const ended = this.#ended.get(taskId);
    return ended !== undefined && ended.settlement !== 'pending';
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
