/** Settlement: many finished tasks, one transaction. Pure sums and the shape that goes on chain. */
import { EngineError } from './errors.js';
import type { Address, Cid, Hex, SessionId, TaskId } from './ids.js';
import type { WeiString } from './money.js';
import type { SettledTask } from './task.js';

/** Charge of one session in a batch, with the tasks it is for: bit i of `mask` is task
 * `word * 256 + i`. The contract refuses a bit that was set before, so no task is paid twice. */
export interface SessionCharge {
  readonly sessionId: SessionId;
  readonly word: number;
  /** 0x and 64 hex digits. */
  readonly mask: Hex;
  readonly amountWei: WeiString;
}

export interface MinerPayment {
  readonly miner: Address;
  readonly amountWei: WeiString;
}

/** What the committee signs and `SessionPayment.settle` takes, but for the task root. */
export interface BatchSums {
  /** Ordered by session, then word. */
  readonly charges: readonly SessionCharge[];
  /** Ordered by miner. */
  readonly payments: readonly MinerPayment[];
  readonly feeWei: WeiString;
}

/** A batch on its way: a JSON document on IPFS that oracles verify before they sign. */
export interface SettlementBatch extends BatchSums {
  readonly version: 1;
  readonly batchId: Hex;
  readonly root: Hex;
  readonly tasks: readonly SettledTask[];
}

/** A settled batch as activities hand it back to the workflow. */
export interface BatchReceipt {
  readonly batchId: Hex;
  readonly batchCid: Cid;
  readonly root: Hex;
  readonly settlementTx: Hex;
}

/** Session → settlement: tasks that have ended and are to be settled. */
export interface EndedTasks {
  readonly tasks: readonly SettledTask[];
  /** The batch is not waited for: the session closes, or changes its policy. */
  readonly isUrgent: boolean;
  /** Each of the tasks is settled at once, in a batch of its own: its steps are on chain, or a
   * contract waits for it. */
  readonly isAlone: boolean;
}

/** Settlement → session: what became of its tasks. */
export interface SettlementReport {
  readonly taskIds: readonly TaskId[];
  /** False: the committee disputes them, nobody was paid, and the session gets the charges back. */
  readonly isSettled: boolean;
  /** `null` where disputed, and where a task was found settled by a transaction that is not known. */
  readonly transaction: Hex | null;
  /** The batch document; `null` where `transaction` is. */
  readonly batchCid: Cid | null;
}

/** Adds up a batch. Charges must equal payments and fees to the last wei, or it is a defect.
 * @throws INVARIANT_BROKEN — the sums of a task or of the batch do not close. */
export function sumBatch(tasks: readonly SettledTask[]): BatchSums {
  const charges = new Map<
    string,
    { sessionId: SessionId; word: number; mask: bigint; wei: bigint }
  >();
  const payments = new Map<string, { miner: Address; wei: bigint }>();
  let feeWei = 0n;
  for (const task of tasks) {
    const chargeWei = BigInt(task.chargeWei);
    const paidWei = task.payments.reduce((sum, p) => sum + BigInt(p.amountWei), 0n);
    if (chargeWei !== paidWei + BigInt(task.feeWei)) {
      throw new EngineError('INVARIANT_BROKEN', { what: 'charge of a task', taskId: task.taskId });
    }
    feeWei += BigInt(task.feeWei);
    const word = Math.floor(task.ordinal / 256);
    const key = `${task.sessionId}:${word}`;
    const charge = charges.get(key) ?? { sessionId: task.sessionId, word, mask: 0n, wei: 0n };
    const bit = 1n << BigInt(task.ordinal % 256);
    if ((charge.mask & bit) !== 0n) {
      throw new EngineError('INVARIANT_BROKEN', {
        what: 'task twice in a batch',
        taskId: task.taskId,
      });
    }
    charge.mask |= bit;
    charge.wei += chargeWei;
    charges.set(key, charge);
    for (const { miner, amountWei } of task.payments) {
      const payment = payments.get(miner.toLowerCase()) ?? { miner, wei: 0n };
      payment.wei += BigInt(amountWei);
      payments.set(miner.toLowerCase(), payment);
    }
  }
  return {
    charges: [...charges.values()]
      .sort((a, b) => compare(BigInt(a.sessionId), BigInt(b.sessionId)) || a.word - b.word)
      .map((c) => ({
        sessionId: c.sessionId,
        word: c.word,
        mask: `0x${c.mask.toString(16).padStart(64, '0')}`,
        amountWei: c.wei.toString(),
      })),
    payments: [...payments.values()]
      .sort((a, b) => compare(BigInt(a.miner), BigInt(b.miner)))
      .map((p) => ({ miner: p.miner, amountWei: p.wei.toString() })),
    feeWei: feeWei.toString(),
  };
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
