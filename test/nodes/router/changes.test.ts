/** Changes of an open session: what its owner or a payer has not signed starts nothing. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Wallet } from 'ethers';
import { signMessage } from '../../../adapters/chain/sign.js';
import { policyHashOf } from '../../../adapters/seal/session-id.js';
import type { SigningDomain } from '../../../domain/attestation.js';
import type { Address, Hex } from '../../../domain/ids.js';
import { parsePolicy } from '../../../domain/session.js';
import {
  DOMAINS,
  FakeGateway,
  gate,
  NETWORK,
  SESSION,
  startWorld,
  until,
  viewOf,
  type World,
} from './support.js';

const OWNER = new Wallet(`0x${'01'.repeat(32)}`);
const PAYER = new Wallet(`0x${'02'.repeat(32)}`);
const REFERENCE: Hex = `0x${'77'.repeat(32)}`;
const LATER = 2_000_000_000;
const VIEW = viewOf({ owner: OWNER.address as Address });

/** Notes what would be started. */
class NotingGateway extends FakeGateway {
  readonly begun: { readonly what: string; readonly request: unknown }[] = [];
  readonly #note = async (what: string, request: unknown) => {
    this.begun.push({ what, request });
    return VIEW;
  };
  override addDeposit = (request: unknown) => this.#note('deposit', request);
  override syncDeposit = (request: unknown) => this.#note('sync', request);
  override withdrawDeposit = (request: unknown) => this.#note('withdrawal', request);
  override changePolicy = (request: unknown) => this.#note('policy', request);
  override close = (_: string, how = { isCancelled: false }) => this.#note('close', how);
}

async function open(t: TestContext): Promise<{ world: World; gateway: NotingGateway }> {
  const gateway = new NotingGateway();
  gateway.views.set(SESSION, VIEW);
  const world = await startWorld([{ isDeaf: true }], { gateway });
  t.after(() => world.close());
  return { world, gateway };
}

type Outcome = readonly [status: number, code: string | null, field?: string];

async function post(
  world: World,
  path: string,
  body?: object,
  session = SESSION,
): Promise<Outcome> {
  const response = await world.ask(`/api/v1/sessions/${session}/${path}`, {
    method: 'POST',
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const answer = (await response.json()) as {
    error?: { code: string; details: { field?: string } };
  };
  const { status } = response;
  if (answer.error === undefined) return [status, null];
  const { code, details } = answer.error;
  return details.field === undefined ? [status, code] : [status, code, details.field];
}

async function deposit(
  changes: {
    amount?: string;
    signer?: Wallet;
    sessionId?: string;
    permitDomain?: SigningDomain;
    nonce?: number;
    deadline?: number;
  } = {},
) {
  const { amount = '500', signer = PAYER, sessionId = SESSION, deadline = LATER } = changes;
  const payer = PAYER.address as Address;
  const message = { sessionId, payer, amount: /^\d+$/.test(amount) ? amount : '1' };
  const permit = {
    owner: payer,
    spender: NETWORK.contracts.sessionPayment,
    value: message.amount,
    nonce: changes.nonce ?? 2,
    deadline,
  };
  const token = changes.permitDomain ?? DOMAINS.token;
  const signed = { ...message, reference: REFERENCE };
  return {
    sessionId,
    payer,
    amountWei: amount,
    reference: REFERENCE,
    signature: await signMessage(signer, 'Deposit', DOMAINS.payment, signed),
    permit: {
      owner: payer,
      valueWei: amount,
      deadline,
      signature: await signMessage(PAYER, 'Permit', token, permit),
    },
  };
}

test('a deposit that its payer signed is begun, whoever the payer is', async (t) => {
  const { world, gateway } = await open(t);
  const request = await deposit();
  assert.deepEqual(await post(world, 'deposits', request), [202, null]);
  assert.deepEqual(gateway.begun, [{ what: 'deposit', request }]);
  assert.deepEqual(await post(world, 'deposits/sync'), [202, null]);
  assert.deepEqual(gateway.begun.at(-1), { what: 'sync', request: SESSION });
});

test('a deposit whose permit was used since may be repeated', async (t) => {
  const { world } = await open(t);
  assert.deepEqual(await post(world, 'deposits', await deposit({ nonce: 1 })), [202, null]);
});

test('a deposit that is not sound starts nothing', async (t) => {
  const { world, gateway } = await open(t);
  const good = await deposit();
  const wrong: readonly [object, Outcome][] = [
    [await deposit({ amount: '0' }), [400, 'AMOUNT_INVALID', 'amountWei']],
    [await deposit({ amount: (1n << 128n).toString() }), [400, 'AMOUNT_INVALID']],
    [await deposit({ amount: '-5' }), [400, 'AMOUNT_INVALID']],
    [await deposit({ signer: OWNER }), [401, 'SIGNATURE_INVALID']],
    [await deposit({ permitDomain: DOMAINS.payment }), [401, 'SIGNATURE_INVALID']],
    [await deposit({ nonce: 3 }), [401, 'SIGNATURE_INVALID']],
    [await deposit({ deadline: 1_000_000_000 }), [400, 'REQUEST_INVALID', 'permit.deadline']],
    [await deposit({ sessionId: '4712' }), [400, 'REQUEST_INVALID', 'sessionId']],
    [{ ...good, amountWei: '501' }, [400, 'REQUEST_INVALID', 'permit.valueWei']],
    [
      { ...good, amountWei: '501', permit: { ...good.permit, valueWei: '501' } },
      [401, 'SIGNATURE_INVALID'],
    ],
    [{ ...good, payer: OWNER.address }, [400, 'REQUEST_INVALID', 'permit.owner']],
    [{ ...good, reference: '0x77' }, [400, 'REQUEST_INVALID', 'reference']],
    [{ ...good, permit: undefined }, [400, 'REQUEST_INVALID', 'permit']],
  ];
  for (const [body, outcome] of wrong)
    assert.deepEqual(await post(world, 'deposits', body), outcome);
  assert.deepEqual(await post(world, 'deposits', good, '4712'), [401, 'API_KEY_INVALID']);
  gateway.views.clear();
  assert.deepEqual(await post(world, 'deposits', good), [404, 'SESSION_NOT_FOUND']);
  assert.deepEqual(gateway.begun, []);
});

test("a withdrawal is its owner's alone", async (t) => {
  const { world, gateway } = await open(t);
  const withdrawal = async (signer: Wallet, amount = '40') => ({
    sessionId: SESSION,
    amountWei: amount,
    reference: REFERENCE,
    signature: await signMessage(signer, 'WithdrawDeposit', DOMAINS.payment, {
      sessionId: SESSION,
      amount,
      reference: REFERENCE,
    }),
  });
  const request = await withdrawal(OWNER);
  assert.deepEqual(await post(world, 'withdrawals', await withdrawal(PAYER)), [
    401,
    'SIGNATURE_INVALID',
  ]);
  assert.deepEqual(await post(world, 'withdrawals', await withdrawal(OWNER, '0')), [
    400,
    'AMOUNT_INVALID',
    'amountWei',
  ]);
  assert.deepEqual(await post(world, 'withdrawals', { ...request, amountWei: '41' }), [
    401,
    'SIGNATURE_INVALID',
  ]);
  assert.deepEqual(gateway.begun, []);
  assert.deepEqual(await post(world, 'withdrawals', request), [202, null]);
  assert.deepEqual(gateway.begun, [{ what: 'withdrawal', request }]);
});

test('a policy is changed by the owner, within its limits, to a model of the network', async (t) => {
  const { world, gateway } = await open(t);
  const change = async (signer: Wallet, changes: object = {}, signedNonce = 0) => {
    const policy = { ...parsePolicy({ model: 'tiny', priceCeilingWei: '10' }), ...changes };
    const policyHash = await policyHashOf(policy);
    const value = { sessionId: SESSION, policyHash, nonce: signedNonce };
    const domain = DOMAINS.manager;
    const signature = await signMessage(signer, 'ChangePolicy', domain, value);
    return { sessionId: SESSION, policy, nonce: 0, signature };
  };
  const path = 'policy';
  assert.deepEqual(await post(world, path, await change(PAYER)), [401, 'SIGNATURE_INVALID']);
  assert.deepEqual(await post(world, path, await change(OWNER, {}, 1)), [401, 'SIGNATURE_INVALID']);
  assert.deepEqual(await post(world, path, await change(OWNER, { redundancy: 10 })), [
    400,
    'POLICY_INVALID',
    'redundancy',
  ]);
  assert.deepEqual(await post(world, path, await change(OWNER, { model: 'huge' })), [
    404,
    'MODEL_UNKNOWN',
  ]);
  assert.deepEqual(gateway.begun, []);
  const request = await change(OWNER);
  assert.deepEqual(await post(world, path, request), [202, null]);
  assert.deepEqual(gateway.begun, [{ what: 'policy', request }]);
});

test('a session that is cancelled closes, and tasks that have not begun end free', async (t) => {
  const { world, gateway } = await open(t);
  const chat = world.chat('hi');
  await until(() => world.miner(0).heard.some(({ type }) => type === 'assign'), 'the assignment');
  assert.deepEqual(await post(world, 'cancel'), [202, null]);
  assert.equal((await chat).status, 409);
  assert.equal(gateway.ends[0]?.outcome, 'cancelled');
  assert.deepEqual(gateway.begun, [{ what: 'close', request: { isCancelled: true } }]);
  assert.ok(world.miner(0).heard.some(({ type }) => type === 'cancel'));
});

test('a session that is cancelled finishes what has begun', async (t) => {
  const { world, gateway } = await open(t);
  const held = gate();
  world.miner(0).script = { beforeFrame: (seq) => (seq === 1 ? held.opened : undefined) };
  const chat = world.chat('hi there', { stream: true });
  const reader = (await chat).body?.getReader();
  let seen = '';
  while (!seen.includes('You')) seen += new TextDecoder().decode((await reader?.read())?.value);
  await post(world, 'cancel');
  held.open();
  await until(() => gateway.ends.length === 1, 'the end');
  assert.equal(gateway.ends[0]?.outcome, 'completed');
  await reader?.cancel();
});

test("closing and every change is for the session's API key only", async (t) => {
  const { world, gateway } = await open(t);
  for (const path of ['deposits', 'deposits/sync', 'withdrawals', 'policy', 'close', 'cancel']) {
    assert.deepEqual(await post(world, path, {}, '4712'), [401, 'API_KEY_INVALID'], path);
  }
  assert.deepEqual(await post(world, 'close'), [202, null]);
  assert.deepEqual(gateway.begun, [{ what: 'close', request: { isCancelled: false } }]);
});
