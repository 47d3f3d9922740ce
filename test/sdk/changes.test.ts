import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Wallet } from 'ethers';
import { recoverSigner } from '../../adapters/chain/sign.js';
import { createIdentity } from '../../adapters/seal/identity.js';
import { policyHashOf } from '../../adapters/seal/session-id.js';
import { signingDomain } from '../../domain/attestation.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, TaskId } from '../../domain/ids.js';
import type { DepositRequest, PolicyChange, WithdrawalRequest } from '../../domain/session.js';
import { CortensorClient, type RecipientReader, type SessionHandle } from '../../sdk/index.js';
import { createFakeRouter, NETWORK } from './fake-router.js';

const OWNER = new Wallet(`0x${'11'.repeat(32)}`);
const PAYER = new Wallet(`0x${'12'.repeat(32)}`);
const REFERENCE = `0x${'0f'.repeat(32)}` as const;
const TASK: TaskId = `0x${'0a'.repeat(32)}`;
const { chainId, contracts } = NETWORK;
const PAYMENT = signingDomain(chainId, contracts.sessionPayment);

let fake: Awaited<ReturnType<typeof createFakeRouter>>;
let session: SessionHandle;

beforeEach(async () => {
  fake = await createFakeRouter();
  session = await open('link');
});

async function open(
  level: 'link' | 'sealed',
  registry?: RecipientReader,
  identity?: string,
): Promise<SessionHandle> {
  const client = new CortensorClient({
    baseUrl: 'http://router',
    apiKey: 'key',
    fetch: (input, init) => fake.fetch(input, init),
    ...(registry === undefined ? {} : { registry }),
    ...(identity === undefined ? {} : { identity }),
  });
  return await client.openSession({
    signer: OWNER,
    policy: { model: 'scripted-1', level, priceCeilingWei: '5' },
    depositWei: 1_000n,
  });
}

const code = (expected: string) => (error: unknown) =>
  error instanceof EngineError && error.code === expected;

test('a deposit is signed by whoever pays, with a permit of the same amount', async () => {
  await session.deposit({ signer: PAYER, amountWei: 250n, reference: REFERENCE });
  const [change] = fake.seen.changes;
  assert.ok(change);
  assert.equal(change.path, 'deposits');
  const { signature, permit, ...rest } = change.body as DepositRequest;
  const payer = PAYER.address as Address;
  assert.deepEqual(rest, {
    sessionId: session.id,
    payer,
    amountWei: '250',
    reference: REFERENCE,
  });
  const signed = { sessionId: session.id, payer, amount: 250n, reference: REFERENCE };
  assert.equal(recoverSigner('Deposit', PAYMENT, signed, signature), payer);
  const { deadline, owner, valueWei } = permit;
  const spender = contracts.sessionPayment;
  const permitted = { owner: payer, spender, value: 250n, nonce: 7n, deadline };
  const token = signingDomain(chainId, contracts.token);
  assert.equal(recoverSigner('Permit', token, permitted, permit.signature), payer);
  assert.deepEqual([owner, valueWei], [payer, '250']);
});

test('two deposits are two, and the same reference is one', async () => {
  await session.deposit({ signer: PAYER, amountWei: 1n });
  await session.deposit({ signer: PAYER, amountWei: 1n });
  const [first, second] = fake.seen.changes.map(({ body }) => (body as DepositRequest).reference);
  assert.notEqual(first, second);
});

test('a withdrawal is signed by the owner', async () => {
  await session.withdraw({ signer: OWNER, amountWei: 40n, reference: REFERENCE });
  const [change] = fake.seen.changes;
  assert.ok(change);
  assert.equal(change.path, 'withdrawals');
  const { signature } = change.body as WithdrawalRequest;
  const signed = { sessionId: session.id, amount: 40n, reference: REFERENCE };
  assert.equal(recoverSigner('WithdrawDeposit', PAYMENT, signed, signature), OWNER.address);
});

test('a change of policy keeps what it does not name, and is signed with its nonce', async () => {
  await session.changePolicy({ signer: OWNER, policy: { idleSeconds: 90 } });
  const [change] = fake.seen.changes;
  assert.ok(change);
  const { policy, nonce, signature } = change.body as PolicyChange;
  assert.deepEqual(policy, { ...fake.seen.opened[0]?.policy, idleSeconds: 90 });
  const policyHash = await policyHashOf(policy);
  const signed = { sessionId: session.id, policyHash, nonce: 0 };
  const domain = signingDomain(chainId, contracts.sessionManager);
  assert.equal(nonce, 0);
  assert.equal(recoverSigner('ChangePolicy', domain, signed, signature), OWNER.address);
});

test('what cannot be is refused before anything is signed or sent', async () => {
  const signer = {
    address: OWNER.address,
    signTypedData: () => Promise.reject(new Error('was asked to sign')),
  };
  await assert.rejects(session.deposit({ signer, amountWei: 0n }), code('AMOUNT_INVALID'));
  await assert.rejects(session.withdraw({ signer, amountWei: -1n }), code('AMOUNT_INVALID'));
  const policy = { redundancy: 99 };
  await assert.rejects(session.changePolicy({ signer, policy }), code('POLICY_INVALID'));
  assert.deepEqual(fake.seen.changes, []);
});

test('sync, cancel, cancelTask, proof and tasks ask their routes', async () => {
  await session.syncDeposit();
  await session.cancel();
  assert.equal((await session.cancelTask(TASK)).outcome, 'cancelled');
  assert.deepEqual(fake.seen.changes, [
    { path: 'deposits/sync', body: null },
    { path: 'cancel', body: null },
    { path: 'tasks/cancel', body: TASK },
  ]);
  assert.equal((await session.proof(TASK)).taskId, TASK);
  const [record] = await session.tasks({ from: 1_000, limit: 20 });
  assert.deepEqual(record, { query: { from: '1000', limit: '20' } });
});

test('keys are wrapped only for recipients that the registry knows, where there is one', async () => {
  const { identity } = await createIdentity({ postQuantum: true });
  const asked: string[] = [];
  const reading = (change: (address: Address) => string | null) => ({
    readRecipient: async (address: Address) => {
      asked.push(address);
      return change(address);
    },
  });
  const stranger = (await createIdentity({ postQuantum: true })).recipient;
  for (const other of [stranger, null]) {
    const registry = reading((address) => (address === fake.address(1) ? other : fake.recipient));
    await assert.rejects(open('sealed', registry, identity), code('SEAL_NOT_RECIPIENT'));
  }
  assert.equal(fake.seen.keyrings, 0);
  await open(
    'sealed',
    reading(() => fake.recipient),
    identity,
  );
  assert.equal(fake.seen.keyrings, 1);
  assert.deepEqual(new Set(asked), new Set([fake.address(0), fake.address(1)]));
});
