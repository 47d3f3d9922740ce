/** Steps of tasks on the real contract, on an Anvil of our own. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { id, Interface, Wallet, type InterfaceAbi } from 'ethers';
import { createStepActivities, type EndedTask } from '../../activities/steps.js';
import type { Intent } from '../../adapters/chain/outbox.js';
import { precommitmentOf } from '../../adapters/chain/precommitment.js';
import type { ReceiptSummary } from '../../adapters/chain/receipt.js';
import { signMessage } from '../../adapters/chain/sign.js';
import { cidOf, digestOf } from '../../adapters/ipfs/cid.js';
import { sessionQueueAbi } from '../../contracts/abi.js';
import { signingDomain } from '../../domain/attestation.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, Cid, Hex, SessionId, TaskId } from '../../domain/ids.js';
import type { Commitment, Precommitment } from '../../domain/task.js';
import { CHAIN_ID } from '../adapters/chain/anvil.js';
import { startServiceWorld, type ServiceWorld } from '../adapters/chain/service-world.js';
import { activityEnvironment } from './environment.js';

const EVENTS = new Interface(sessionQueueAbi as unknown as InterfaceAbi);
const cid = (text: string): Cid => cidOf(new TextEncoder().encode(text));
const MINERS = [1, 2, 3].map((n) => new Wallet(id(`stepping miner ${n}`)));

let world: ServiceWorld;
before(async () => {
  world = await startServiceWorld();
});
after(async () => {
  await world.stop();
});

interface Work {
  readonly precommitment: Precommitment;
  readonly commitment: Commitment;
}

/** What a miner signs of a task, as it does for routers. */
async function work(miner: Wallet, sessionId: SessionId, taskId: TaskId): Promise<Work> {
  const resultCid = cid(`result of ${miner.address}`);
  const usage = { promptTokens: 5, completionTokens: 6 };
  const address = miner.address as Address;
  const reveal = {
    sessionId,
    taskId,
    resultHash: id('result') as Hex,
    resultDigest: digestOf(resultCid),
    salt: id(`salt of ${address}`) as Hex,
  };
  const precommit = {
    sessionId,
    taskId,
    precommitment: precommitmentOf({ ...reveal, miner: address }),
  };
  const domain = signingDomain(CHAIN_ID, world.service.sessionPayment);
  return {
    precommitment: {
      ...precommit,
      miner: address,
      signature: await signMessage(miner, 'Precommit', domain, precommit),
    },
    commitment: {
      ...reveal,
      miner: address,
      resultCid,
      usage,
      signature: await signMessage(miner, 'Commit', domain, { ...reveal, ...usage }),
    },
  };
}

/** A task that ended with the work of its miners, and the activity over an outbox that may die.
 * @param committed - how many of the miners have committed as well. */
async function ended(name: string, committed: number) {
  const sessionId = await world.ask();
  const taskId = id(name) as TaskId;
  const works = await Promise.all(MINERS.map((miner) => work(miner, sessionId, taskId)));
  const evidence = {
    precommitments: works.map((w) => w.precommitment),
    commitments: works.slice(0, committed).map((w) => w.commitment),
  };
  const task: EndedTask = {
    sessionId,
    taskId,
    outcome: committed === 0 ? 'failed' : 'completed',
    requestCid: cid('request'),
    evidenceCid: cid(name),
  };
  const receipts = new Map<string, ReceiptSummary>();
  const dies = { after: Number.POSITIVE_INFINITY };
  const { recordSteps } = createStepActivities({
    outbox: {
      execute: async (intent: Intent) => {
        const receipt = await world.execute(intent);
        receipts.set(intent.key, receipt);
        if (receipts.size > dies.after) throw new EngineError('CHAIN_UNREACHABLE');
        return receipt;
      },
    },
    queue: world.queue,
    readJson: async (asked, parse) => {
      assert.equal(asked, task.evidenceCid);
      return parse(evidence);
    },
  });
  const record = (): Promise<void> => activityEnvironment().run(recordSteps, task);
  const events = (): string[] =>
    [...receipts.values()].flatMap(({ logs }) =>
      logs.map((log) => EVENTS.parseLog(log)?.name ?? ''),
    );
  const state = () => world.queue.readTaskState(sessionId, taskId);
  return { task, works, record, events, state, dies };
}

const three = (name: string): string[] => [name, name, name];
const ALL = [
  'TaskQueued',
  'TaskAssigned',
  ...three('TaskAcked'),
  ...three('TaskPrecommitted'),
  'TaskAllPrecommitted',
  ...three('TaskCommitted'),
  'TaskAllCommitted',
  'TaskEnded',
];

test('recordSteps: a task ends on chain with all its events, each once, whenever the activity dies', async () => {
  const { record, events, state, dies } = await ended('killed everywhere', 3);
  const before = world.sent();
  for (dies.after = 0; dies.after < 12; dies.after++) {
    await assert.rejects(record(), { type: 'CHAIN_UNREACHABLE' });
    assert.equal(world.sent(), before + dies.after + 1, 'each attempt goes one step further');
  }
  await record();
  await record();
  assert.equal(world.sent(), before + 12, 'twelve transactions in all');
  assert.equal(await state(), 'Ended');
  assert.deepEqual(events(), ALL);
});

test('recordSteps: a miner that precommitted and did not commit is on chain as just that', async () => {
  const { task, works, record, events, state } = await ended('one did not commit', 2);
  await record();
  assert.equal(await state(), 'Ended');
  assert.deepEqual(
    events(),
    ALL.filter((name, i) => name !== 'TaskAllCommitted' && i !== ALL.lastIndexOf('TaskCommitted')),
  );
  const { sessionId, taskId } = task;
  const silent = works[2]?.commitment.miner;
  assert.ok(silent !== undefined);
  assert.equal(await world.queue.readMinerStep(sessionId, taskId, silent), 'Precommitted');
});

test('recordSteps: a task that nobody answered is queued and ended', async () => {
  const sessionId = await world.ask();
  const taskId = id('nobody') as TaskId;
  const { recordSteps } = createStepActivities({
    outbox: world,
    queue: world.queue,
    readJson: async () => assert.fail('there is no evidence'),
  });
  const task: EndedTask = { sessionId, taskId, outcome: 'expired', requestCid: cid('request') };
  await activityEnvironment().run(recordSteps, task);
  assert.equal(await world.queue.readTaskState(sessionId, taskId), 'Ended');
});

test('recordSteps: goes on behind steps that a miner has put on chain itself', async () => {
  const { task, works, record, state } = await ended('a miner was first', 3);
  const { sessionId, taskId, requestCid } = task;
  const send = (key: string, write: { to: Address; data: Hex }) =>
    world.execute({ key: `${key} by hand`, layer: 'service', ...write });
  const [first] = works;
  assert.ok(first);
  const addresses = MINERS.map(({ address }) => address as Address);
  await send('enqueue', world.queue.encodeEnqueueTask(sessionId, taskId, requestCid));
  await send('assign', world.queue.encodeAssignTask(sessionId, taskId, addresses));
  await send('ack', world.queue.encodeAckTask(sessionId, taskId, first.commitment.miner));
  await send('precommit', world.queue.encodePrecommitTask(first.precommitment));
  await record();
  assert.equal(await state(), 'Ended');
});

test('recordSteps: says for good that the chain takes no steps of a session it does not know', async () => {
  const { recordSteps } = createStepActivities({
    outbox: world,
    queue: world.queue,
    readJson: async () => assert.fail('there is no evidence'),
  });
  const task: EndedTask = {
    sessionId: '12345',
    taskId: id('unknown') as TaskId,
    outcome: 'expired',
    requestCid: cid('request'),
  };
  await assert.rejects(activityEnvironment().run(recordSteps, task), {
    type: 'TRANSACTION_REVERTED',
    nonRetryable: true,
  });
});
