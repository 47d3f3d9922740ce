/** Tasks that have ended, as settlement sees them. */
import type { SessionId, TaskId } from '../../domain/ids.js';
import type { SettledTask } from '../../domain/task.js';

/** A charged task: 100 wei to one miner, 5 wei fee. */
export function settledTask(sessionId: SessionId, ordinal: number): SettledTask {
  const taskId: TaskId = `0x${BigInt(sessionId).toString(16).padStart(32, '0')}${ordinal.toString(16).padStart(32, '0')}`;
  return {
    sessionId,
    taskId,
    ordinal,
    outcome: 'completed',
    requestCid: 'request-cid',
    evidenceCid: 'evidence-cid',
    chargeWei: '105',
    feeWei: '5',
    payments: [{ miner: `0x${'01'.repeat(20)}`, amountWei: '100' }],
  };
}
