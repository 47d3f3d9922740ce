import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Hex } from '../../domain/ids.js';
import type { DepositRequest, SessionView, WithdrawalRequest } from '../../domain/session.js';
import {
  addDepositUpdate,
  awaitStateUpdate,
  closeSessionUpdate,
  sessionQuery,
  submitTasksUpdate,
  syncDepositUpdate,
  withdrawDepositUpdate,
} from '../../workflows/messages.js';
import { refused, startLocal, untilTrue, updateCodeOf, withWorkers } from '../support/workflows.js';
import {
  CLOSE,
  network,
  OWNER,
  sessionInput,
  startSession,
  SUBMISSION,
} from './session-network.js';

// A real server: the one that skips time loses an update that arrives while an activity ends.
let env: TestWorkflowEnvironment;
before(async () => {
  env = await startLocal();
});
after(async () => {
  await env.teardown();
});

/** Opens a session on this network, and lets `scenario` use it. */
async function open(
  { fakes }: Pick<ReturnType<typeof network>, 'fakes'>,
  scenario: (session: WorkflowHandle, sessionId: string) => Promise<void>,
): Promise<void> {
  const input = sessionInput('open');
  await withWorkers(env, fakes, async () => {
    const handle = await startSession(env, input);
    await handle.executeUpdate(awaitStateUpdate, { args: ['Open'] });
    await scenario(handle, String(input.request?.sessionId));
    await handle.executeUpdate(closeSessionUpdate, CLOSE).catch(() => undefined);
    await handle.result();
  });
}

function deposit(sessionId: string, amountWei: string, reference: Hex = '0xd1'): DepositRequest {
  const permit = { owner: OWNER, valueWei: amountWei, deadline: 1, signature: '0x' as const };
  return { sessionId, payer: OWNER, amountWei, reference, signature: '0x', permit };
}

function withdrawal(
  sessionId: string,
  amountWei: string,
  reference: Hex = '0xe1',
): WithdrawalRequest {
  return { sessionId, amountWei, reference, signature: '0x' };
}

async function acceptedUpdates(session: WorkflowHandle): Promise<number> {
  const { events } = await session.fetchHistory();
  return (events ?? []).filter((e) => e.workflowExecutionUpdateAcceptedEventAttributes).length;
}

test('session: takes several deposits, each reference once', async () => {
  const net = network();
  await open(net, async (session, sessionId) => {
    const add = async (request: DepositRequest): Promise<SessionView> =>
      await session.executeUpdate(addDepositUpdate, { args: [request] });
    assert.equal((await add(deposit(sessionId, '500'))).budget.depositedWei, '1000500');
    assert.equal((await add(deposit(sessionId, '7', '0xd2'))).budget.depositedWei, '1000507');
    assert.equal((await add(deposit(sessionId, '500'))).budget.freeWei, '1000507');
  });
  assert.deepEqual(
    net.calls.filter((call) => call.startsWith('deposit')),
    ['deposit:0xd1', 'deposit:0xd2', 'deposit:0xd1'],
    'the third found the first',
  );
  assert.equal(net.account.depositedWei, 1_000_507n);
});

test('session: a deposit that the contract refuses changes nothing, and says so', async () => {
  const net = network({
    chain: {
      depositFor: async () => {
        throw refused('TRANSACTION_REVERTED');
      },
    },
  });
  await open(net, async (session, sessionId) => {
    const args = { args: [deposit(sessionId, '500')] } as const;
    assert.equal(
      await updateCodeOf(session.executeUpdate(addDepositUpdate, { args: [...args.args] })),
      'TRANSACTION_REVERTED',
    );
    const { budget, state } = await session.query(sessionQuery);
    assert.deepEqual([budget.depositedWei, state], ['1000000', 'Open']);
  });
});

test('session: a deposit waits out an outage of the chain', async () => {
  let attempts = 0;
  const net = network();
  const chain = net.fakes.chain as { depositFor: (request: DepositRequest) => Promise<Hex> };
  const { depositFor } = chain;
  chain.depositFor = async (request) => {
    if (++attempts < 3) {
      throw ApplicationFailure.create({ type: 'CHAIN_UNREACHABLE', message: 'down' });
    }
    return await depositFor(request);
  };
  await open(net, async (session, sessionId) => {
    const view = await session.executeUpdate(addDepositUpdate, {
      args: [deposit(sessionId, '500')],
    });
    assert.equal(view.budget.depositedWei, '1000500');
  });
  assert.equal(attempts, 3);
});

test('session: learns of deposits by others when it is asked to look', async () => {
  const net = network();
  await open(net, async (session) => {
    net.account.depositedWei += 42n;
    assert.equal((await session.query(sessionQuery)).budget.depositedWei, '1000000');
    const view = await session.executeUpdate(syncDepositUpdate);
    assert.equal(view.budget.depositedWei, '1000042');
  });
});

test('session: closes once the chain says that its owner takes the exit', async () => {
  const net = network();
  await open(net, async (session) => {
    net.account.isOpen = false;
    await session.executeUpdate(syncDepositUpdate);
    assert.equal(((await session.result()) as SessionView).state, 'Closed');
  });
  assert.equal(net.closed.length, 1);
});

test('session: gives back what is free while it goes on, each reference once', async () => {
  const attested: object[] = [];
  const net = network({
    oracles: {
      collectAttestations: async (request: object) => {
        attested.push(request);
        return ['0x01', '0x02'];
      },
    },
  });
  await open(net, async (session, sessionId) => {
    const request = withdrawal(sessionId, '400000');
    const withdraw = async () =>
      await session.executeUpdate(withdrawDepositUpdate, { args: [request] });
    assert.deepEqual((await withdraw()).budget, {
      depositedWei: '1000000',
      reservedWei: '0',
      chargedWei: '0',
      refundedWei: '400000',
      freeWei: '600000',
    });
    assert.equal((await withdraw()).budget.freeWei, '600000');
    assert.deepEqual(attested[0], { kind: 'withdraw-deposit', ...request });
    await session.executeUpdate(closeSessionUpdate, CLOSE);
    const { budget } = (await session.result()) as SessionView;
    assert.deepEqual([budget.refundedWei, budget.freeWei], ['1000000', '0']);
  });
  assert.equal(net.calls.filter((call) => call.startsWith('withdraw')).length, 1);
});

test('session: promises no task what is on its way to the owner', async () => {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const net = network({
    oracles: {
      collectAttestations: async () => {
        await held;
        return ['0x01'];
      },
    },
  });
  await open(net, async (session, sessionId) => {
    const withdrawn = session.executeUpdate(withdrawDepositUpdate, {
      args: [withdrawal(sessionId, '999999')],
    });
    try {
      const freeWei = async () => (await session.query(sessionQuery)).budget.freeWei;
      await untilTrue(env, async () => (await freeWei()) === '1', 'the withdrawal', '20ms');
      const [answer] = await session.executeUpdate(submitTasksUpdate, {
        args: [{ tasks: [SUBMISSION] }],
      });
      assert.deepEqual(answer, { taskId: SUBMISSION.taskId, refused: 'BUDGET_EXHAUSTED' });
    } finally {
      release();
    }
    assert.equal((await withdrawn).budget.refundedWei, '999999');
  });
});

test('session: a withdrawal that the committee refuses is free again', async () => {
  const net = network({
    oracles: {
      collectAttestations: async ({ kind }: { kind: string }) => {
        if (kind === 'withdraw-deposit') throw refused('ATTESTATION_REFUSED');
        return ['0x01'];
      },
    },
  });
  await open(net, async (session, sessionId) => {
    const request = withdrawal(sessionId, '400000');
    assert.equal(
      await updateCodeOf(session.executeUpdate(withdrawDepositUpdate, { args: [request] })),
      'ATTESTATION_REFUSED',
    );
    assert.equal((await session.query(sessionQuery)).budget.freeWei, '1000000');
  });
});

test('session: refuses orders that cannot be before anything is recorded', async () => {
  const net = network();
  await open(net, async (session, sessionId) => {
    const add = (request: DepositRequest) =>
      updateCodeOf(session.executeUpdate(addDepositUpdate, { args: [request] }));
    const withdraw = (request: WithdrawalRequest) =>
      updateCodeOf(session.executeUpdate(withdrawDepositUpdate, { args: [request] }));
    const accepted = await acceptedUpdates(session);
    const huge = (1n << 128n).toString();
    assert.equal(await add(deposit(sessionId, '0')), 'AMOUNT_INVALID');
    assert.equal(await add(deposit(sessionId, huge)), 'AMOUNT_INVALID');
    assert.equal(await add(deposit(sessionId, '-1')), 'AMOUNT_INVALID');
    assert.equal(await add(deposit('999', '1')), 'REQUEST_INVALID');
    assert.equal(await withdraw(withdrawal(sessionId, '0')), 'AMOUNT_INVALID');
    assert.equal(await withdraw(withdrawal('999', '1')), 'REQUEST_INVALID');
    assert.equal(await withdraw(withdrawal(sessionId, '1000001')), 'BUDGET_EXHAUSTED');
    assert.equal(await acceptedUpdates(session), accepted);

    assert.equal(await withdraw(withdrawal(sessionId, '5')), 'accepted');
    assert.equal(await withdraw(withdrawal(sessionId, '6')), 'IDEMPOTENCY_CONFLICT');
  });
  assert.deepEqual(
    net.calls.filter((call) => call !== 'openSession'),
    ['withdraw:0xe1'],
  );
});
