/** A request of a contract, the example in contracts/src/example, from the asking to its callback. */
import { id, Interface, Wallet, type InterfaceAbi } from 'ethers';
import { QueueChain } from '../../adapters/chain/queue.js';
import type { ServiceChain } from '../../adapters/chain/service.js';
import { TokenChain } from '../../adapters/chain/token.js';
import { digestOf } from '../../adapters/ipfs/cid.js';
import { taskIdOf } from '../../adapters/seal/task-id.js';
import { priceCommentatorAbi, priceCommentatorBytecode } from '../../contracts/abi.js';
import type { Address, Hex } from '../../domain/ids.js';
import { settleTasks, taskOf } from './batch.js';
import type { CommitteeChain } from './committee-chain.js';
import { CONTENT, DEPOSIT_WEI } from './owner.js';

/** Asks twice, so that the second figures are those of a contract that has asked before.
 * @returns gas of the second request and of its end, callback and refund included. */
export async function measureRequest(
  chain: CommitteeChain,
  service: ServiceChain,
): Promise<{ readonly request: number; readonly fulfil: number }> {
  const queue = new QueueChain(chain.provider, chain.contracts);
  const abi = new Interface(priceCommentatorAbi as unknown as InterfaceAbi);
  const init = abi.encodeDeploy([queue.sessionQueue, digestOf(CONTENT)]).slice(2);
  const dapp = await chain.deploy(`${priceCommentatorBytecode}${init}`);
  const token = new TokenChain(chain.provider, chain.contracts);
  await chain.execute(token.encodeMint(dapp, DEPOSIT_WEI));
  const miners = [0, 1, 2].map((i) => new Wallet(id(`dapp miner ${i}`)).address as Address);
  const ask = async (): Promise<{ readonly request: number; readonly fulfil: number }> => {
    const data = abi.encodeFunctionData('ask', ['ETH/USD', 3_200, DEPOSIT_WEI / 10n]) as Hex;
    const request = await chain.execute({ to: dapp, data });
    const { sessionId } = await queue.readRequestAt(await queue.readRequestCount());
    const task = {
      ...taskOf(sessionId, 0, miners),
      taskId: await taskIdOf(sessionId, 'request'),
    };
    const { root } = await settleTasks(chain, service, [task]);
    return { request, fulfil: await chain.execute(queue.encodeFulfil(task, root, [])) };
  };
  await ask();
  return await ask();
}
