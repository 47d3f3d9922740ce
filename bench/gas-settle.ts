/**
 * Gas a task, by batch size: tasks of 10 sessions, each paid to 3 miners of 10. Every size has
 * sessions and miners of its own and settles twice: the first batch finds balances and the words of
 * the task bitmap at zero, the second is what a running network pays. A session needs a new word
 * every 256 tasks; that is in the first figure only.
 */
import { id, Wallet } from 'ethers';
import { merkleRoot, taskLeaf } from '../adapters/chain/merkle.js';
import { ServiceChain } from '../adapters/chain/service.js';
import { settleMessage } from '../adapters/chain/settle-message.js';
import { signMessage } from '../adapters/chain/sign.js';
import { signPermit, TokenChain } from '../adapters/chain/token.js';
import { cidOf, digestOf } from '../adapters/ipfs/cid.js';
import { sessionIdOf } from '../adapters/seal/session-id.js';
import { signingDomain } from '../domain/attestation.js';
import type { Address, Hex, SessionId } from '../domain/ids.js';
import { parsePolicy } from '../domain/session.js';
import { sumBatch } from '../domain/settlement.js';
import type { SettledTask } from '../domain/task.js';
import type { Bench, BenchContext, Metrics } from './bench.js';
import { CHAIN_ID, DEADLINE, startCommitteeChain } from './chain/committee-chain.js';
import type { CommitteeChain } from './chain/committee-chain.js';

const SIZES = [1, 10, 100, 1_000] as const;
const SESSIONS = 10;
const MINERS = 10;
const MINERS_A_TASK = 3;
const PRICE_WEI = 10n ** 15n;
const FEE_WEI = 3n * 10n ** 13n;
const DEPOSIT_WEI = 10n ** 21n;
const POLICY = parsePolicy({
  model: 'bench',
  redundancy: MINERS_A_TASK,
  level: 'open',
  priceCeilingWei: '1',
  maxTasks: 100_000,
  idleSeconds: 3_600,
  taskSeconds: 60,
});
const CONTENT = cidOf(new TextEncoder().encode('bench'));

export const gasSettle: Bench = {
  name: 'gas-settle',
  what: 'gas a task, by tasks settled in one transaction',
  target: { gas_per_task_100: { max: 5_000 } },
  async run(context) {
    const chain = await startCommitteeChain(context, 'service');
    const service = new ServiceChain(chain.provider, chain.contracts);
    const open = await fundOwner(chain, service);
    // The treasury's balance is nobody's first touch but the network's.
    await measure({ chain, service, open, size: 1, mark: 'warm-up' });
    const steady: Record<string, number> = {};
    const first: Record<string, number> = {};
    for (const size of SIZES) {
      const gas = await measure({ chain, service, open, size, mark: `size ${size}` });
      first[`first_touch_per_task_${size}`] = gas.first / size;
      steady[`gas_per_task_${size}`] = gas.steady / size;
      report(context, size, gas);
    }
    return { ...steady, ...first } satisfies Metrics;
  },
};

function report(context: BenchContext, size: number, gas: { first: number; steady: number }): void {
  const { first, steady } = gas;
  context.say(`${size} tasks: ${steady} gas, ${first} where everything is touched first`);
}

type OpenSession = (reference: string) => Promise<SessionId>;

/** Mints to an owner, and opens sessions with its signatures. */
async function fundOwner(chain: CommitteeChain, service: ServiceChain): Promise<OpenSession> {
  const wallet = new Wallet(id('bench owner'));
  const owner = wallet.address as Address;
  const token = new TokenChain(chain.provider, chain.contracts);
  await chain.execute(token.encodeMint(owner, DEPOSIT_WEI * BigInt(SESSIONS * (SIZES.length + 1))));
  const { sessionManager, sessionPayment } = service;
  return async (reference) => {
    const clientReference = id(reference) as Hex;
    const nonce = await token.readPermitNonce(owner);
    const at = { chainId: CHAIN_ID, address: token.address };
    const terms = { spender: sessionPayment, valueWei: DEPOSIT_WEI, nonce, deadline: DEADLINE };
    const permitSignature = await signPermit(wallet, at, terms);
    const opening = {
      owner,
      clientReference,
      policyHash: digestOf(CONTENT),
      deposit: DEPOSIT_WEI,
    };
    const domain = signingDomain(CHAIN_ID, sessionManager);
    const depositWei = DEPOSIT_WEI.toString();
    const sessionId = await sessionIdOf({
      chainId: CHAIN_ID,
      sessionManager,
      owner,
      clientReference,
    });
    const request = {
      sessionId,
      owner,
      clientReference,
      policy: POLICY,
      depositWei,
      signature: await signMessage(wallet, 'OpenSession', domain, opening),
      permit: { owner, valueWei: depositWei, deadline: DEADLINE, signature: permitSignature },
    };
    await chain.execute(service.encodeOpenSession(request, CONTENT));
    return sessionId;
  };
}

/** Settles two batches of the size, of the same sessions and miners. @returns gas of each. */
async function measure(input: {
  readonly chain: CommitteeChain;
  readonly service: ServiceChain;
  readonly open: OpenSession;
  readonly size: number;
  readonly mark: string;
}): Promise<{ readonly first: number; readonly steady: number }> {
  const { chain, service, open, size, mark } = input;
  const sessions: SessionId[] = [];
  for (let i = 0; i < Math.min(size, SESSIONS); i++) sessions.push(await open(`${mark} ${i}`));
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
    const root = merkleRoot(tasks.map(taskLeaf));
    const batch = { version: 1 as const, batchId: root, root, tasks, ...sumBatch(tasks) };
    const value = settleMessage(batch);
    const signatures = await chain.approve('Settle', service.sessionPayment, value);
    return await chain.execute(service.encodeSettle(batch, signatures));
  };
  const first = await settle(0);
  return { first, steady: await settle(Math.ceil(size / sessions.length)) };
}

function taskOf(sessionId: SessionId, ordinal: number, miners: readonly Address[]): SettledTask {
  return {
    sessionId,
    taskId: id(`${sessionId} ${ordinal}`) as Hex,
    ordinal,
    outcome: 'completed',
    requestCid: CONTENT,
    evidenceCid: CONTENT,
    chargeWei: (PRICE_WEI * BigInt(miners.length) + FEE_WEI).toString(),
    feeWei: FEE_WEI.toString(),
    payments: miners.map((miner) => ({ miner, amountWei: PRICE_WEI.toString() })),
  };
}
