/** Requests of contracts and steps of tasks, read from and written to the real contract. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { id, Interface, Wallet, type InterfaceAbi } from 'ethers';
import { precommitmentOf } from '../../../adapters/chain/precommitment.js';
import { signMessage } from '../../../adapters/chain/sign.js';
import { cidOf, digestOf } from '../../../adapters/ipfs/cid.js';
import { taskIdOf } from '../../../adapters/seal/task-id.js';
import { sessionQueueAbi } from '../../../contracts/abi.js';
import { signingDomain } from '../../../domain/attestation.js';
import type { Address, Hex, SessionId, TaskId } from '../../../domain/ids.js';
import type { Commitment, Precommitment, SettledTask } from '../../../domain/task.js';
import { CHAIN_ID } from './anvil.js';
import {
  CALLBACK_GAS_PRICE_WEI,
  PAYMENT_WEI,
  startServiceWorld,
  type ServiceWorld,
} from './service-world.js';

const requestCid = cidOf(new TextEncoder().encode('request'));
const EVENTS = new Interface(sessionQueueAbi as unknown as InterfaceAbi);

let world: ServiceWorld;
before(async () => {
  world = await startServiceWorld();
});
after(async () => {
  await world.stop();
});

test('a request is read by number and by session, with what its event says', async () => {
  const { queue, consumer } = world;
  const before = await queue.readRequestCount();
  const policyHash = id('some policy') as Hex;
  const asked = { policyHash, maxTokens: 7, callbackGas: 50_000, timeout: 60 };
  const sessionId = await world.ask({ ...asked, reference: 'one', prompt: 'Was heißt „blau“?' });
  const head = await queue.readHead();
  assert.equal(await queue.readRequestCount(), before + 1);
  const request = await queue.readRequestAt(before + 1);
  assert.deepEqual(await queue.readRequest(sessionId), request);
  const { requestedAt, deadline, ...rest } = request;
  assert.deepEqual(rest, {
    globalId: before + 1,
    sessionId,
    consumer,
    policyHash,
    maxTokens: 7,
    callbackGas: 50_000,
    outcome: null,
  });
  assert.equal(deadline, requestedAt + 60);
  assert.equal((await queue.readBlock(head))?.timestamp, requestedAt);
  const { clientReference, prompt } = await queue.readText(request, head);
  assert.equal(clientReference, id('one'));
  assert.equal(new TextDecoder().decode(prompt), 'Was heißt „blau“?');
});

test('state at an older block does not know what came later', async () => {
  const { queue } = world;
  const head = await queue.readHead();
  const count = await queue.readRequestCount(head);
  const sessionId = await world.ask();
  assert.equal(await queue.readRequestCount(head), count);
  assert.equal(await queue.readRequest(sessionId, head), null);
  assert.notEqual(await queue.readRequest(sessionId), null);
  assert.equal(await queue.readBlock(head + 1_000), null);
});

test('a prompt that is no text comes as its bytes', async () => {
  const prompt = Uint8Array.of(0xff, 0xfe, 0x00, 0x41);
  const sessionId = await world.ask({ prompt });
  const request = await world.queue.readRequest(sessionId);
  assert.ok(request !== null);
  const text = await world.queue.readText(request, await world.queue.readHead());
  assert.deepEqual(text.prompt, prompt);
});

test('the event of an old request is found among many blocks, and only its own', async () => {
  const { queue, anvil } = world;
  const sessionIds: SessionId[] = [];
  for (const prompt of ['first', 'second', 'third']) {
    sessionIds.push(await world.ask({ prompt }));
    await anvil.rpc('anvil_mine', '0x64', '0x2');
  }
  const head = await queue.readHead();
  const prompts = await Promise.all(
    sessionIds.map(async (sessionId) => {
      const request = await queue.readRequest(sessionId);
      assert.ok(request !== null);
      return new TextDecoder().decode((await queue.readText(request, head)).prompt);
    }),
  );
  assert.deepEqual(prompts, ['first', 'second', 'third']);
});

test('an event that the node does not have yet is not taken for missing', async () => {
  const sessionId = await world.ask();
  const request = await world.queue.readRequest(sessionId);
  assert.ok(request !== null);
  const unheard = { ...request, globalId: request.globalId + 1 };
  await assert.rejects(world.queue.readText(unheard, await world.queue.readHead()), {
    code: 'CHAIN_UNREACHABLE',
    retryable: true,
  });
});

test('what is no request is told apart from a request', async () => {
  assert.equal(await world.queue.readRequest('1'), null);
  const next = (await world.queue.readRequestCount()) + 1;
  await assert.rejects(world.queue.readRequestAt(next), { code: 'TRANSACTION_REVERTED' });
  assert.equal(await world.queue.readCallbackGasPriceWei(), CALLBACK_GAS_PRICE_WEI);
});

test('a settled task ends its request with the rest of the payment', async () => {
  const { queue, service, token, consumer } = world;
  const sessionId = await world.ask();
  const task: SettledTask = {
    sessionId,
    taskId: await taskIdOf(sessionId, 'request'),
    ordinal: 0,
    outcome: 'completed',
    requestCid,
    evidenceCid: cidOf(new TextEncoder().encode('evidence')),
    resultCid: cidOf(new TextEncoder().encode('result')),
    chargeWei: '105',
    feeWei: '5',
    payments: [{ miner: `0x${'0a'.repeat(20)}`, amountWei: '100' }],
  };
  const { batchId } = await world.settle(task);
  const balanceWei = await token.readBalanceWei(consumer);
  const write = queue.encodeFulfil(task, batchId, []);
  const receipt = await world.execute({ key: 'fulfil', layer: 'service', ...write });
  assert.deepEqual(service.parseClosing(receipt), {
    chargedWei: 105n,
    refundedWei: PAYMENT_WEI - 105n,
  });
  assert.equal(await token.readBalanceWei(consumer), balanceWei + PAYMENT_WEI - 105n);
  assert.equal((await queue.readRequest(sessionId))?.outcome, 'completed');
  await assert.rejects(world.execute({ key: 'again', layer: 'service', ...write }), {
    code: 'TRANSACTION_REVERTED',
    message: /SessionQueueRequestNotOpen/,
  });
});

test('a request is expired after its deadline, and not before', async () => {
  const { queue, service, anvil } = world;
  const sessionId = await world.ask({ timeout: 30 });
  const write = queue.encodeExpire(sessionId);
  await assert.rejects(world.execute({ key: 'early', layer: 'service', ...write }), {
    code: 'TRANSACTION_REVERTED',
    message: /SessionQueueDeadlineAhead/,
  });
  await anvil.rpc('evm_increaseTime', 31);
  const receipt = await world.execute({ key: 'late', layer: 'service', ...write });
  assert.equal(service.parseClosing(receipt)?.refundedWei, PAYMENT_WEI);
  assert.equal((await queue.readRequest(sessionId))?.outcome, 'expired');
});

test('a task takes its steps on chain in their order, each with its event', async () => {
  const { queue, service } = world;
  const sessionId = await world.ask();
  const taskId = id('a task with steps') as TaskId;
  const miners = [1, 2, 3].map((n) => new Wallet(id(`stepping miner ${n}`)));
  const works = await Promise.all(
    miners.map((miner) => work(miner, sessionId, taskId, service.sessionPayment)),
  );
  const events: string[] = [];
  let sent = 0;
  const step = async (write: { to: Address; data: Hex }): Promise<void> => {
    const { logs } = await world.execute({ key: `step ${sent++}`, layer: 'service', ...write });
    for (const log of logs) events.push(EVENTS.parseLog(log)?.name ?? '');
  };
  assert.equal(await queue.readTaskState(sessionId, taskId), null);
  const [first] = works;
  assert.ok(first !== undefined);
  await step(queue.encodeEnqueueTask(sessionId, taskId, requestCid));
  assert.equal(await queue.readTaskState(sessionId, taskId), 'Queued');
  const addresses = miners.map(({ address }) => address as Address);
  await step(queue.encodeAssignTask(sessionId, taskId, addresses));
  assert.equal(await queue.readMinerStep(sessionId, taskId, first.commitment.miner), 'Assigned');
  for (const miner of addresses) await step(queue.encodeAckTask(sessionId, taskId, miner));
  await assert.rejects(step(queue.encodeCommitTask(first.commitment)), {
    code: 'TRANSACTION_REVERTED',
  });
  for (const { precommitment } of works) await step(queue.encodePrecommitTask(precommitment));
  assert.equal(await queue.readTaskState(sessionId, taskId), 'Precommitted');
  for (const { commitment } of works) await step(queue.encodeCommitTask(commitment));
  assert.equal(await queue.readMinerStep(sessionId, taskId, first.commitment.miner), 'Committed');
  await step(queue.encodeEndTask(sessionId, taskId, 'completed'));
  assert.equal(await queue.readTaskState(sessionId, taskId), 'Ended');
  assert.deepEqual(events, [
    'TaskQueued',
    'TaskAssigned',
    ...['TaskAcked', 'TaskAcked', 'TaskAcked'],
    ...['TaskPrecommitted', 'TaskPrecommitted', 'TaskPrecommitted', 'TaskAllPrecommitted'],
    ...['TaskCommitted', 'TaskCommitted', 'TaskCommitted', 'TaskAllCommitted'],
    'TaskEnded',
  ]);
});

/** What a miner signs of a task, as it does for routers. */
async function work(
  miner: Wallet,
  sessionId: SessionId,
  taskId: TaskId,
  verifyingContract: Address,
): Promise<{ readonly precommitment: Precommitment; readonly commitment: Commitment }> {
  const resultCid = cidOf(new TextEncoder().encode(`result of ${miner.address}`));
  const usage = { promptTokens: 5, completionTokens: 6 };
  const result = {
    sessionId,
    taskId,
    miner: miner.address as Address,
    resultHash: id('result') as Hex,
    resultDigest: digestOf(resultCid),
    salt: id(`salt of ${miner.address}`) as Hex,
  };
  const domain = signingDomain(CHAIN_ID, verifyingContract);
  const precommitment = precommitmentOf(result);
  const { miner: _, ...revealed } = result;
  return {
    precommitment: {
      sessionId,
      taskId,
      miner: result.miner,
      precommitment,
      signature: await signMessage(miner, 'Precommit', domain, {
        sessionId,
        taskId,
        precommitment,
      }),
    },
    commitment: {
      ...result,
      resultCid,
      usage,
      signature: await signMessage(miner, 'Commit', domain, { ...revealed, ...usage }),
    },
  };
}
