/**
 * Settled tasks in few bytes, for what one run of a workflow hands to the next: names that many tasks
 * share are written once. A task of nine miners takes 500 bytes in place of 1,400.
 */
import type { Address, Cid, Hex, SessionId, TaskId } from './ids.js';
import type { WeiString } from './money.js';
import { TASK_OUTCOMES, type SettledTask, type TokenUsage } from './task.js';

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

const SETTLEMENTS = ['none', 'pending', 'settled', 'disputed'] as const;

/** An ended task as its session's ledger keeps it. */
export interface EndedEntry extends SettledTask {
  readonly usage: TokenUsage;
  /** Code of what kept the miners from an answer, where something did. */
  readonly failure?: string;
  readonly settlement: (typeof SETTLEMENTS)[number];
  readonly settlementTx: Hex | null;
  readonly batchCid: Cid | null;
}

export interface PackedEntries {
  readonly tasks: PackedTasks;
  /** Transaction and batch, each pair once. */
  readonly settledIn: readonly (readonly [Hex | null, Cid | null])[];
  readonly ends: readonly (readonly [
    promptTokens: number,
    completionTokens: number,
    settlement: number,
    settledIn: number,
  ])[];
  /** Codes of the failures, each with the index of its task; absent where there are none. */
  readonly failures?: readonly (readonly [task: number, code: string])[];
}

/** Packs a ledger's entries; their order stays. */
export function packEntries(entries: readonly EndedEntry[]): PackedEntries {
  const settledIn = new Map<string, number>();
  const places: (readonly [Hex | null, Cid | null])[] = [];
  const ends = entries.map(({ usage, settlement, settlementTx, batchCid }) => {
    const place = indexOf(settledIn, `${settlementTx ?? ''}|${batchCid ?? ''}`);
    places[place] = [settlementTx, batchCid];
    const { promptTokens, completionTokens } = usage;
    return [promptTokens, completionTokens, SETTLEMENTS.indexOf(settlement), place] as const;
  });
  const failures = entries.flatMap(({ failure }, i) =>
    failure === undefined ? [] : [[i, failure] as const],
  );
  return {
    tasks: packTasks(entries),
    settledIn: places,
    ends,
    ...(failures.length > 0 ? { failures } : {}),
  };
}

/** Unpacks what `packEntries` made. */
export function unpackEntries({
  tasks,
  settledIn,
  ends,
  failures = [],
}: PackedEntries): EndedEntry[] {
  const failed = new Map(failures);
  return unpackTasks(tasks).map((task, i) => {
    const failure = failed.get(i);
    const [promptTokens = 0, completionTokens = 0, settlement = 0, place = 0] = ends[i] ?? [];
    const [settlementTx, batchCid] = settledIn[place] ?? [null, null];
    const usage = { promptTokens, completionTokens };
    return {
      ...task,
      usage,
      ...(failure === undefined ? {} : { failure }),
      settlement: SETTLEMENTS[settlement] ?? 'none',
      settlementTx,
      batchCid,
    };
  });
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
