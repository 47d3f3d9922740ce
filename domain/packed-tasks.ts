/**
 * Settled tasks in few bytes, for what one run of a workflow hands to the next: names that many tasks
 * share are written once. A task of nine miners takes 500 bytes in place of 1,400.
 */
import type { Address, Cid, SessionId, TaskId } from './ids.js';
import type { WeiString } from './money.js';
import { TASK_OUTCOMES, type SettledTask } from './task.js';

type PackedTask = readonly [
  session: number,
  taskId: TaskId,
  ordinal: number,
  outcome: number,
  requestCid: Cid,
  evidenceCid: Cid | null,
  resultCid: Cid | null,
  chargeWei: WeiString,
  feeWei: WeiString,
  payments: readonly (readonly [miner: number, amountWei: WeiString])[],
];

export interface PackedTasks {
  readonly sessions: readonly SessionId[];
  readonly miners: readonly Address[];
  readonly tasks: readonly PackedTask[];
}

/** Packs tasks; their order stays. */
export function packTasks(tasks: readonly SettledTask[]): PackedTasks {
  const sessions = new Map<SessionId, number>();
  const miners = new Map<Address, number>();
  const packed = tasks.map((task): PackedTask => [
    indexOf(sessions, task.sessionId),
    task.taskId,
    task.ordinal,
    TASK_OUTCOMES.indexOf(task.outcome),
    task.requestCid,
    task.evidenceCid ?? null,
    task.resultCid ?? null,
    task.chargeWei,
    task.feeWei,
    task.payments.map(({ miner, amountWei }) => [indexOf(miners, miner), amountWei]),
  ]);
  return { sessions: [...sessions.keys()], miners: [...miners.keys()], tasks: packed };
}

/** Unpacks what `packTasks` made. */
export function unpackTasks({ sessions, miners, tasks }: PackedTasks): SettledTask[] {
  return tasks.map(
    ([session, taskId, ordinal, outcome, requestCid, evidenceCid, resultCid, ...rest]) => {
      const [chargeWei, feeWei, payments] = rest;
      return {
        sessionId: sessions[session] ?? '',
        taskId,
        ordinal,
        outcome: TASK_OUTCOMES[outcome] ?? 'failed',
        requestCid,
        ...(evidenceCid === null ? {} : { evidenceCid }),
        ...(resultCid === null ? {} : { resultCid }),
        chargeWei,
        feeWei,
        payments: payments.map(([miner, amountWei]) => ({
          miner: miners[miner] ?? '0x',
          amountWei,
        })),
      };
    },
  );
}

function indexOf<T>(table: Map<T, number>, value: T): number {
  const known = table.get(value);
  if (known !== undefined) return known;
  table.set(value, table.size);
  return table.size - 1;
}
