/**
 * Gas a task, by batch size: tasks of 10 sessions, each paid to 3 miners of 10. Every size has
 * sessions and miners of its own and settles twice: the first batch finds balances and the words of
 * the task bitmap at zero, the second is what a running network pays. A session needs a new word
 * every 256 tasks; that is in the first figure only. Beside it: the same task with every step in a
 * transaction of its own, and what a session and a contract's request cost apart from tasks.
 */
import { id, Wallet } from 'ethers';
import { ServiceChain } from '../adapters/chain/service.js';
import type { Address, SessionId } from '../domain/ids.js';
import type { Bench, BenchContext, Metrics } from './bench.js';
import { settleTasks, taskOf } from './chain/batch.js';
import { startCommitteeChain, type CommitteeChain } from './chain/committee-chain.js';
import { fundOwner, type Owner } from './chain/owner.js';
import { measureRequest } from './chain/request.js';
import { measureSteps } from './chain/stepwise.js';

const SIZES = [1, 10, 100, 1_000] as const;
const SESSIONS = 10;
const MINERS = 10;
const MINERS_A_TASK = 3;
/** Every size and the warm-up, and what is measured beside tasks. */
const DEPOSITS = SESSIONS * (SIZES.length + 1) + 3;

export const gasSettle: Bench = {
  name: 'gas-settle',
  what: 'gas a task, by tasks settled in one transaction',
  target: { gas_per_task_100: { max: 5_000 } },
  async run(context) {
    const chain = await startCommitteeChain(context, 'service');
    const service = new ServiceChain(chain.provider, chain.contracts);
    const owner = await fundOwner(chain, service, DEPOSITS);
    // The treasury's balance is nobody's first touch but the network's.
    await measure({ chain, service, owner, size: 1, mark: 'warm-up' });
    const steady: Record<string, number> = {};
    const first: Record<string, number> = {};
    for (const size of SIZES) {
      const gas = await measure({ chain, service, owner, size, mark: `size ${size}` });
      first[`first_touch_per_task_${size}`] = gas.first / size;
      steady[`gas_per_task_${size}`] = gas.steady / size;
      report(context, size, gas);
    }
    const stepwise = await measureStepwise(chain, service, owner);
    context.say(`one task, a transaction a step: ${stepwise} gas`);
    const session = await measureSession(owner);
    context.say(`a session: ${JSON.stringify(session)}`);
    const { request, fulfil } = await measureRequest(chain, service);
    context.say(`a request of a contract: ${request} gas, its end and callback: ${fulfil}`);
    return {
      ...steady,
      gas_per_task_stepwise: stepwise,
      ...first,
      ...session,
      gas_request_inference: request,
      gas_fulfil: fulfil,
    } satisfies Metrics;
  },
};

function report(context: BenchContext, size: number, gas: { first: number; steady: number }): void {
  const { first, steady } = gas;
  context.say(`${size} tasks: ${steady} gas, ${first} where everything is touched first`);
}

/** Settles two batches of the size, of the same sessions and miners. @returns gas of each. */
async function measure(input: {
  readonly chain: CommitteeChain;
  readonly service: ServiceChain;
  readonly owner: Owner;
  readonly size: number;
  readonly mark: string;
}): Promise<{ readonly first: number; readonly steady: number }> {
  const { chain, service, owner, size, mark } = input;
  const sessions: SessionId[] = [];
  for (let i = 0; i < Math.min(size, SESSIONS); i++) {
    sessions.push((await owner.open(`${mark} ${i}`)).sessionId);
  }
  const miners = Array.from(
    { length: MINERS },
    (_, i) => new Wallet(id(`${mark} miner ${i}`)).address as Address,
  );
  const settle = async (from: number): Promise<number> => {
    const tasks = Array.from({ length: size }, (_, i) =>
      taskOf(
        sessions[i % sessions.length] ?? '',
        from + Math.floor(i / sessions.length),
        [...miners, ...miners].slice(i % MINERS, (i % MINERS) + MINERS_A_TASK),
      ),
    );
    return (await settleTasks(chain, service, tasks)).gas;
  };
  const first = await settle(0);
  return { first, steady: await settle(Math.ceil(size / sessions.length)) };
}

/** What a session costs beside its tasks, where none of its balances is new. */
async function measureSession(owner: Owner): Promise<Metrics> {
  const { sessionId, gas } = await owner.open('measured');
  return {
    gas_open_session: gas,
    gas_deposit: await owner.deposit(sessionId, 'measured'),
    gas_withdraw_deposit: await owner.withdraw(sessionId, 'measured'),
    gas_close_session: await owner.close(sessionId),
  };
}

/** Two tasks of a session, one after the other: the second finds no balance at zero. */
async function measureStepwise(
  chain: CommitteeChain,
  service: ServiceChain,
  owner: Owner,
): Promise<number> {
  const { sessionId } = await owner.open('stepwise');
  await measureSteps(chain, service, { sessionId, ordinal: 0 });
  return await measureSteps(chain, service, { sessionId, ordinal: 1 });
}
