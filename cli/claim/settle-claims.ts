/**
 * A miner's own settlement, with routers and workers gone: the committee signs a batch of its tasks,
 * and the miner relays it and pays for the gas. One batch a session, so that one session's state
 * holds up no other.
 */
import { sendDirect, type Sender } from '../../adapters/chain/direct.js';
import { merkleRoot, taskLeaf } from '../../adapters/chain/merkle.js';
import type { ServiceChain } from '../../adapters/chain/service.js';
import { putJson, type BlockStore } from '../../adapters/ipfs/block-store.js';
import type { EngineError } from '../../domain/errors.js';
import { sameAddress, type Address, type Hex, type SessionId } from '../../domain/ids.js';
import { sumBatch, type SettlementBatch } from '../../domain/settlement.js';
import type { SettledTask } from '../../domain/task.js';
import type { OracleActivities } from '../../activities/oracles.js';
import { engineErrorOf } from '../workflow-failure.js';

/** Tasks of one transaction. */
const BATCH_TASKS = 100;

export interface SettleDeps {
  readonly sender: Sender;
  readonly service: Pick<ServiceChain, 'encodeSettle'>;
  readonly store: BlockStore;
  readonly committee: Pick<OracleActivities, 'collectAttestations'>;
}

export interface SettledClaim {
  readonly sessionId: SessionId;
  readonly batchId: Hex | null;
  /** `null` when the committee refused all of the tasks. */
  readonly transaction: Hex | null;
  readonly tasks: readonly SettledTask[];
  /** Tasks that the committee would not sign for, with its reason. */
  readonly refused: readonly { readonly taskId: string; readonly reason: string }[];
}

/** Cuts tasks into batches of one session each. */
export function batchesOf(tasks: readonly SettledTask[]): SettledTask[][] {
  const bySession = new Map<SessionId, SettledTask[]>();
  for (const task of tasks) {
    bySession.set(task.sessionId, [...(bySession.get(task.sessionId) ?? []), task]);
  }
  return [...bySession.values()].flatMap((all) =>
    Array.from({ length: Math.ceil(all.length / BATCH_TASKS) }, (_, i) =>
      all.slice(i * BATCH_TASKS, (i + 1) * BATCH_TASKS),
    ),
  );
}

/** Settles one session's tasks, but for those that the committee refuses.
 * @throws ATTESTATION_REFUSED, NO_QUORUM — for another reason than single tasks.
 * @throws as `sendDirect`, `BlockStore.put`. */
export async function settleClaims(
  tasks: readonly SettledTask[],
  deps: SettleDeps,
): Promise<SettledClaim> {
  const sessionId = tasks[0]?.sessionId ?? '';
  let rest = tasks;
  const refused: { taskId: string; reason: string }[] = [];
  while (rest.length > 0) {
    const batch = batchOf(rest);
    const batchCid = await putJson(deps.store, batch);
    try {
      const signatures = await deps.committee.collectAttestations({ kind: 'settle', batchCid });
      const write = deps.service.encodeSettle(batch, signatures);
      const { hash } = await sendDirect(deps.sender, write);
      return { sessionId, batchId: batch.batchId, transaction: hash, tasks: rest, refused };
    } catch (error) {
      const known = engineErrorOf(error);
      const named = namedIn(known);
      if (known === undefined || named.length === 0) throw known ?? error;
      for (const taskId of named) refused.push({ taskId, reason: known.message });
      const kept = rest.filter(({ taskId }) => !named.some((id) => sameAddress(id, taskId)));
      // Tasks that are not in the batch: asking the same again would never end.
      if (kept.length === rest.length) throw known;
      rest = kept;
    }
  }
  return { sessionId, batchId: null, transaction: null, tasks: [], refused };
}

/** What the tasks pay an account. */
export function earnedWei(tasks: readonly SettledTask[], account: Address): bigint {
  return tasks
    .flatMap(({ payments }) => payments)
    .filter(({ miner }) => sameAddress(miner, account))
    .reduce((sum, { amountWei }) => sum + BigInt(amountWei), 0n);
}

function batchOf(tasks: readonly SettledTask[]): SettlementBatch {
  const root = merkleRoot(tasks.map(taskLeaf));
  return { version: 1, batchId: root, root, tasks, ...sumBatch(tasks) };
}

/** Tasks that a committee's answer is about. */
function namedIn(error: EngineError | undefined): readonly string[] {
  if (error?.code !== 'ATTESTATION_REFUSED' && error?.code !== 'NO_QUORUM') return [];
  const { disputed, missing } = error.details;
  return [disputed, missing].flatMap((ids) =>
    typeof ids === 'string' && ids !== '' ? ids.split(',') : [],
  );
}
