/** Rows for tests of sinks: a session with as many tasks as a test wants, two miners each. */
import type { ExportRows, TaskRow } from '../../../../domain/export.js';

export const SESSION = '9223372036854775807';
/** The widest amount of a contract. */
export const MAX_AMOUNT = (2n ** 256n - 1n).toString();

export function task(ordinal: number, change: Partial<TaskRow> = {}): TaskRow {
  return {
    sessionId: SESSION,
    taskId: `0x${ordinal.toString(16).padStart(64, '0')}`,
    ordinal,
    state: 'Ended',
    outcome: 'completed',
    requestCid: `request-${ordinal}`,
    evidenceCid: `evidence-${ordinal}`,
    promptTokens: 7,
    completionTokens: 9,
    chargeWei: '1000000000000000001',
    settlementTx: null,
    ...change,
  };
}

/** Every byte value occurs, as in ciphertext. */
export function bytes(seed: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7) % 256);
}

export function batch(tasks: readonly TaskRow[], payloadBytes = 10): ExportRows {
  const sessionId = tasks[0]?.sessionId ?? SESSION;
  return {
    session: [
      {
        sessionId,
        owner: '0x00000000000000000000000000000000000000AA',
        state: 'Open',
        model: "o'reilly\\ 模型",
        level: 'sealed',
        redundancy: 2,
        policyCid: 'policy',
        keyringCid: null,
        pricePerTokenWei: '1',
        depositedWei: MAX_AMOUNT,
        chargedWei: '0',
        refundedWei: '0',
      },
    ],
    task: tasks,
    task_result: tasks.flatMap(({ taskId, ordinal }) =>
      (['0x01', '0x02'] as const).map((miner, i) => ({
        sessionId,
        taskId,
        miner,
        resultCid: `result-${ordinal}-${i}`,
        resultHash: '0xab' as const,
        scoreBps: i === 0 ? 10_000 : null,
        isAgreed: i === 0,
        paidWei: MAX_AMOUNT,
      })),
    ),
    payload: tasks.flatMap(({ ordinal }) => [
      {
        cid: `request-${ordinal}`,
        kind: 'request' as const,
        bytes: bytes(ordinal, payloadBytes),
        text: null,
      },
      {
        cid: `result-${ordinal}-0`,
        kind: 'result' as const,
        bytes: bytes(ordinal, payloadBytes),
        text: `{"text":"naïve 🙂 ${ordinal}"}`,
      },
    ]),
  };
}
