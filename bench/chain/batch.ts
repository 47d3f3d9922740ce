/** Batches of tasks as the engine settles them. */
import { id } from 'ethers';
import { merkleRoot, taskLeaf } from '../../adapters/chain/merkle.js';
import type { ServiceChain } from '../../adapters/chain/service.js';
import { settleMessage } from '../../adapters/chain/settle-message.js';
import type { Address, Hex, SessionId } from '../../domain/ids.js';
import { sumBatch } from '../../domain/settlement.js';
import type { SettledTask } from '../../domain/task.js';
import type { CommitteeChain } from './committee-chain.js';
import { CONTENT } from './owner.js';

const PRICE_WEI = 10n ** 15n;
const FEE_WEI = 3n * 10n ** 13n;

/** A completed task whose miners are paid alike. */
export function taskOf(
  sessionId: SessionId,
  ordinal: number,
  miners: readonly Address[],
): SettledTask {
  return {
    sessionId,
    taskId: id(`${sessionId} ${ordinal}`) as Hex,
    ordinal,
    outcome: 'completed',
    requestCid: CONTENT,
    evidenceCid: CONTENT,
    resultCid: CONTENT,
    chargeWei: (PRICE_WEI * BigInt(miners.length) + FEE_WEI).toString(),
    feeWei: FEE_WEI.toString(),
    payments: miners.map((miner) => ({ miner, amountWei: PRICE_WEI.toString() })),
  };
}

/** Settles tasks in one batch, whose root is its id. @returns gas of the transaction. */
export async function settleTasks(
  chain: CommitteeChain,
  service: ServiceChain,
  tasks: readonly SettledTask[],
): Promise<{ readonly root: Hex; readonly gas: number }> {
  const root = merkleRoot(tasks.map(taskLeaf));
  const batch = { version: 1 as const, batchId: root, root, tasks, ...sumBatch(tasks) };
  const signatures = await chain.approve('Settle', service.sessionPayment, settleMessage(batch));
  return { root, gas: await chain.execute(service.encodeSettle(batch, signatures)) };
}
