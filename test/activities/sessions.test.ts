import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createSessionActivities,
  type ServiceWriter,
  type SessionActivities,
} from '../../activities/sessions.js';
import type { ServiceChain } from '../../adapters/chain/service.js';
import { EngineError } from '../../domain/errors.js';
import type { Hex } from '../../domain/ids.js';
import {
  parsePolicy,
  type DepositRequest,
  type OpenSessionRequest,
  type PolicyChange,
  type WithdrawalRequest,
} from '../../domain/session.js';

const OWNER: Hex = `0x${'0a'.repeat(20)}`;
const DEPOSIT: DepositRequest = {
  sessionId: '7',
  payer: OWNER,
  amountWei: '500',
  reference: '0xd1',
  signature: '0x',
  permit: { owner: OWNER, valueWei: '500', deadline: 1, signature: '0x' },
};
const WITHDRAWAL: WithdrawalRequest = {
  sessionId: '7',
  amountWei: '300',
  reference: '0xe1',
  signature: '0x',
};
const CHANGE: PolicyChange = {
  sessionId: '7',
  policy: parsePolicy({ model: 'm', priceCeilingWei: '1' }),
  nonce: 2,
  signature: '0x',
};
const REVERTED = new EngineError('TRANSACTION_REVERTED');

/** A writer that notes keys, and an account on chain. */
function world(state: { refuses?: EngineError; account?: object | null; isDone?: boolean } = {}) {
  const keys: string[] = [];
  const send =
    (kind: string): ServiceWriter['execute'] =>
    async (key) => {
      keys.push(`${kind} ${key}`);
      if (state.refuses !== undefined) throw state.refuses;
      return { hash: '0x0b' };
    };
  const encode = () => ({ to: OWNER, data: '0x' });
  const { account = { heldWei: 700n, chargedWei: 300n, status: 'Open' } } = state;
  // The chain is a class; these are its methods that the activities call.
  const service = {
    readSession: async () => account,
    hasPolicy: async () => state.isDone ?? false,
    isDeposited: async () => state.isDone ?? false,
    isWithdrawn: async () => state.isDone ?? false,
    encodeOpenSession: encode,
    encodeDepositFor: encode,
    encodeWithdrawDeposit: encode,
    encodeChangePolicy: encode,
  } as unknown as ServiceChain;
  const writer = { execute: send('once'), executeSigned: send('signed') };
  return { activities: createSessionActivities({ service, writer }), keys };
}

test('session activities: a key names the deposit, the withdrawal, the change; not the attempt', async () => {
  const { activities, keys } = world();
  await activities.depositFor(DEPOSIT);
  await activities.withdrawDeposit({ request: WITHDRAWAL, signatures: ['0x01'] });
  await activities.withdrawDeposit({ request: WITHDRAWAL, signatures: ['0x02'] });
  await activities.changePolicy({ change: CHANGE, policyCid: 'policy-cid' });
  assert.deepEqual(keys, [
    `once deposit:7:${OWNER}:0xd1`,
    // Whichever members have signed: the first that was sent counts.
    'signed withdraw-deposit:7:0xe1',
    'signed withdraw-deposit:7:0xe1',
    'once change-policy:7:2:policy-cid',
  ]);
});

test('readDeposit: adds up what is held and what was charged, and says who is leaving', async () => {
  assert.deepEqual(await world().activities.readDeposit('7'), {
    depositedWei: '1000',
    isOpen: true,
  });
  const account = { heldWei: 1n, chargedWei: 0n, status: 'Exiting' };
  assert.deepEqual(await world({ account }).activities.readDeposit('7'), {
    depositedWei: '1',
    isOpen: false,
  });
  await assert.rejects(world({ account: null }).activities.readDeposit('7'), {
    code: 'TRANSACTION_PENDING',
  });
});

test('session activities: find done what somebody else has handed in, and nothing else', async () => {
  const opening = { request: { sessionId: '7' } as OpenSessionRequest, policyCid: 'policy-cid' };
  const each: ((activities: SessionActivities) => Promise<Hex | null>)[] = [
    (activities) => activities.openSession(opening),
    (activities) => activities.depositFor(DEPOSIT),
    (activities) => activities.withdrawDeposit({ request: WITHDRAWAL, signatures: [] }),
    (activities) => activities.changePolicy({ change: CHANGE, policyCid: 'policy-cid' }),
  ];
  const down = new EngineError('CHAIN_UNREACHABLE');
  for (const act of each) {
    assert.equal(await act(world({ refuses: REVERTED, isDone: true }).activities), null);
    await assert.rejects(act(world({ refuses: REVERTED }).activities), {
      code: 'TRANSACTION_REVERTED',
    });
    await assert.rejects(act(world({ refuses: down, isDone: true }).activities), {
      code: 'CHAIN_UNREACHABLE',
    });
  }
});
