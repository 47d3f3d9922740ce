import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ServiceError, type Client } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { EngineError } from '../../../domain/errors.js';
import { TASK_QUEUES, workflowIds, type Address } from '../../../domain/ids.js';
import { parsePolicy, type OpenSessionRequest } from '../../../domain/session.js';
import { openSessionGateway } from '../../../nodes/router/gateway.js';
import type { SessionInput } from '../../../workflows/session.js';
import {
  RETRIES,
  startTimeSkipping,
  withWorkers,
  type FakeActivities,
} from '../../support/workflows.js';

const CHAIN = 31_339;
const OWNER: Address = '0x00000000000000000000000000000000000000aa';
const MINER = {
  address: OWNER,
  recipient: 'age1miner',
  models: ['m'],
  scoreBps: 9_000,
  level: 9,
};
const REQUEST: OpenSessionRequest = {
  sessionId: '815',
  owner: OWNER,
  clientReference: '0x01',
  depositWei: '1000000',
  signature: '0x',
  permit: { owner: OWNER, valueWei: '1000000', deadline: 0, signature: '0x' },
  policy: parsePolicy({
    model: 'm',
    redundancy: 1,
    level: 'link',
    priceCeilingWei: '10',
    maxTasks: 100,
    idleSeconds: 31_536_000,
    taskSeconds: 3_600,
  }),
};
const FAKES: FakeActivities = {
  ipfs: {
    pinPolicy: async () => 'policy-cid',
    createKeyring: async () => ({ recipient: 'age1session', cid: 'keyring-cid' }),
  },
  chain: {
    openSession: async () => '0x0a',
    listCandidates: async () => [MINER],
    closeSession: async () => ({ refundedWei: '0' }),
  },
  oracles: { collectAttestations: async () => [] },
  routers: {
    holdLease: async () => {
      throw ApplicationFailure.nonRetryable('no router stays', 'ROUTER_LEASE_LOST');
    },
  },
};

let env: TestWorkflowEnvironment;
before(async () => {
  env = await startTimeSkipping();
});
after(async () => {
  await env.teardown();
});

function openGateway() {
  return openSessionGateway({
    client: env.client,
    chainId: CHAIN,
    async startSession(request) {
      const input: SessionInput = {
        request,
        chainId: CHAIN,
        pricePerTokenWei: '10',
        feeBps: 500,
        validators: [],
        routerRecipient: 'age1router',
        ownerRecipient: null,
        retries: RETRIES,
      };
      await env.client.workflow.start('session', {
        workflowId: workflowIds.session(CHAIN, request.sessionId),
        taskQueue: TASK_QUEUES.workflows,
        workflowIdConflictPolicy: 'USE_EXISTING',
        args: [input],
      });
    },
  });
}

test('the gateway takes a session from its opening to its close', async () => {
  const gateway = openGateway();
  const { sessionId } = REQUEST;
  const taskId = `0x${'11'.repeat(32)}` as const;
  await withWorkers(env, FAKES, async () => {
    await gateway.start(REQUEST);
    await gateway.start(REQUEST);
    assert.equal((await gateway.awaitState(sessionId, 'Open', 60_000)).state, 'Open');
    const submission = {
      taskId,
      requestCid: 'request-cid',
      model: 'm',
      maxPromptTokens: 50,
      maxTokens: 50,
      seed: 1,
    };
    const [accepted] = await gateway.submit(sessionId, [submission]);
    assert.deepEqual(accepted, { taskId, ordinal: 0, ended: null });
    const end = {
      taskId,
      outcome: 'completed' as const,
      evidenceCid: 'evidence-cid',
      paidMiners: [OWNER],
      usage: { promptTokens: 10, completionTokens: 20 },
    };
    const [completed] = await gateway.complete(sessionId, [end]);
    assert.equal(completed?.outcome, 'completed');
    const [again] = await gateway.submit(sessionId, [submission]);
    assert.deepEqual(again, { taskId, ordinal: 0, ended: 'completed' });
    assert.equal((await gateway.task(sessionId, taskId))?.evidenceCid, 'evidence-cid');
    assert.equal((await gateway.tasks(sessionId)).length, 1);
    const { holder } = await gateway.claimLease(sessionId, 'router:here');
    assert.equal(holder, 'router:here');
    await gateway.close(sessionId);
    await assert.rejects(
      gateway.submit(sessionId, [{ ...submission, taskId: `0x${'22'.repeat(32)}` }]),
      {
        code: 'SESSION_NOT_OPEN',
      },
    );
  });
});

test('a session that has ended can be waited for and closed again, and answers as it is', async () => {
  const gateway = openGateway();
  const sessionId = '4242';
  await withWorkers(env, FAKES, async () => {
    await gateway.start({ ...REQUEST, sessionId });
    await gateway.awaitState(sessionId, 'Open', 60_000);
    await gateway.close(sessionId);
    await env.client.workflow.getHandle(workflowIds.session(CHAIN, sessionId)).result();
    assert.equal((await gateway.awaitState(sessionId, 'Open', 60_000)).state, 'Closed');
    assert.equal((await gateway.close(sessionId)).state, 'Closed');
  });
});

test('a session that was never opened is not found, whatever is asked of it', async () => {
  const gateway = openGateway();
  const missing = { code: 'SESSION_NOT_FOUND' };
  await assert.rejects(gateway.view('4711'), missing);
  await assert.rejects(gateway.submit('4711', []), missing);
  await assert.rejects(gateway.awaitState('4711', 'Open', 100), missing);
});

test('a query that Temporal does not answer in time says that Temporal is away, and may be repeated', async () => {
  const gateway = openSessionGateway({
    client: {
      workflow: { getHandle: () => ({}) },
      withDeadline: async () => {
        throw new ServiceError('Failed to query Workflow');
      },
    } as unknown as Client,
    chainId: CHAIN,
    startSession: async () => undefined,
  });
  await assert.rejects(gateway.tasks('815'), { code: 'TEMPORAL_UNREACHABLE', retryable: true });
});

test('the gateway says which field of a change cannot be, and how little is free', async () => {
  const gateway = openGateway();
  const sessionId = '4343';
  await withWorkers(env, FAKES, async () => {
    await gateway.start({ ...REQUEST, sessionId });
    const { policy } = await gateway.awaitState(sessionId, 'Open', 60_000);
    const change = {
      sessionId,
      policy: { ...policy, model: 'n' },
      nonce: 0,
      signature: '0x',
    } as const;
    await assert.rejects(gateway.changePolicy(change), (error: EngineError) => {
      assert.deepEqual([error.code, error.details['field']], ['POLICY_INVALID', 'model']);
      return true;
    });
    const much = {
      sessionId,
      amountWei: `${10n ** 30n}`,
      reference: '0x01',
      signature: '0x',
    } as const;
    await assert.rejects(gateway.withdrawDeposit(much), { code: 'BUDGET_EXHAUSTED' });
    const permit = { owner: OWNER, valueWei: '0', deadline: 0, signature: '0x' } as const;
    const nothing = { ...much, payer: OWNER, permit, amountWei: '0' };
    await assert.rejects(gateway.addDeposit(nothing), { code: 'AMOUNT_INVALID' });
    const taskId = `0x${'33'.repeat(32)}` as const;
    assert.deepEqual(await gateway.cancelTasks(sessionId, [taskId]), [
      { taskId, outcome: 'failed', chargeWei: '0' },
    ]);
    await gateway.close(sessionId, { isCancelled: true });
    await env.client.workflow.getHandle(workflowIds.session(CHAIN, sessionId)).result();
    await assert.rejects(gateway.syncDeposit(sessionId), { code: 'SESSION_NOT_OPEN' });
    await assert.rejects(gateway.syncDeposit('999999'), { code: 'SESSION_NOT_FOUND' });
  });
});
