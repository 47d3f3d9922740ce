/** A task with every step in a transaction of its own, as Cortensor has it, on the same contracts. */
import { id, Wallet } from 'ethers';
import { precommitmentOf } from '../../adapters/chain/precommitment.js';
import { QueueChain } from '../../adapters/chain/queue.js';
import type { ServiceChain } from '../../adapters/chain/service.js';
import { signMessage } from '../../adapters/chain/sign.js';
import { digestOf } from '../../adapters/ipfs/cid.js';
import { signingDomain } from '../../domain/attestation.js';
import type { Address, Hex, SessionId } from '../../domain/ids.js';
import { settleTasks, taskOf } from './batch.js';
import { CHAIN_ID, type CommitteeChain } from './committee-chain.js';
import { CONTENT } from './owner.js';

const MINERS = 3;
const USAGE = { promptTokens: 200, completionTokens: 300 } as const;

/** Queues, assigns, acks, precommits, commits and ends one task of three miners, and settles it in a
 * batch of its own. @returns gas of all twelve transactions. */
export async function measureSteps(
  chain: CommitteeChain,
  service: ServiceChain,
  task: { readonly sessionId: SessionId; readonly ordinal: number },
): Promise<number> {
  const queue = new QueueChain(chain.provider, chain.contracts);
  const wallets = Array.from({ length: MINERS }, (_, i) => new Wallet(id(`step miner ${i}`)));
  const miners = wallets.map(({ address }) => address as Address);
  const settled = taskOf(task.sessionId, task.ordinal, miners);
  const { sessionId, taskId } = settled;
  const domain = signingDomain(CHAIN_ID, service.sessionPayment);
  const digest = digestOf(CONTENT);
  const results = wallets.map((wallet, i) => {
    const salt = id(`salt ${i}`) as Hex;
    const result = { sessionId, taskId, resultHash: digest, resultDigest: digest, salt };
    const precommitment = precommitmentOf({ ...result, miner: wallet.address as Address });
    return { wallet, result, precommitment };
  });

  let gas = await chain.execute(queue.encodeEnqueueTask(sessionId, taskId, CONTENT));
  gas += await chain.execute(queue.encodeAssignTask(sessionId, taskId, miners));
  for (const miner of miners) {
    gas += await chain.execute(queue.encodeAckTask(sessionId, taskId, miner));
  }
  for (const { wallet, precommitment } of results) {
    const miner = wallet.address as Address;
    const value = { sessionId, taskId, precommitment };
    const signature = await signMessage(wallet, 'Precommit', domain, value);
    gas += await chain.execute(queue.encodePrecommitTask({ ...value, miner, signature }));
  }
  for (const { wallet, result } of results) {
    const miner = wallet.address as Address;
    const value = { ...result, ...USAGE };
    const signature = await signMessage(wallet, 'Commit', domain, value);
    const commitment = { ...result, miner, usage: USAGE, resultCid: CONTENT, signature };
    gas += await chain.execute(queue.encodeCommitTask(commitment));
  }
  gas += await chain.execute(queue.encodeEndTask(sessionId, taskId, 'completed'));
  return gas + (await settleTasks(chain, service, [settled])).gas;
}
