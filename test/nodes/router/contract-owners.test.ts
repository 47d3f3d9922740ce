/** Owners and payers that are contracts: what they sign is asked of them, on a real chain. */
import assert from 'node:assert/strict';
import { after, before, test, type TestContext } from 'node:test';
import { getAddress, hashMessage, Wallet } from 'ethers';
import { SiweMessage } from 'siwe';
import { isContractSignature } from '../../../adapters/chain/contract-wallet.js';
import { messageHash } from '../../../adapters/chain/sign.js';
import type { MessageType, SigningDomain } from '../../../domain/attestation.js';
import { EngineError } from '../../../domain/errors.js';
import type { Address, Hex } from '../../../domain/ids.js';
import { startTestAnvil, type TestAnvil } from '../../adapters/chain/anvil.js';
import { walletCode } from '../../adapters/chain/contract-wallets.js';
import { CortensorClient, type OwnerSigner } from '../../../sdk/index.js';
import {
  API_KEY,
  DOMAINS,
  gate,
  SESSION,
  startWorld,
  until,
  viewOf,
  type WorldOptions,
} from './support.js';

const KEY = new Wallet(`0x${'01'.repeat(32)}`);
const ACCOUNT: Address = '0x00000000000000000000000000000000000c0de1';
const REFERENCE: Hex = `0x${'77'.repeat(32)}`;

let anvil: TestAnvil;
before(async () => {
  anvil = await startTestAnvil();
  await anvil.rpc('anvil_setCode', ACCOUNT, walletCode(KEY.address as Address));
});
after(async () => {
  await anvil.stop();
});

async function start(t: TestContext, options: WorldOptions = {}) {
  const world = await startWorld([{}], {
    isContractSignature: (wallet, digest, signature) =>
      isContractSignature(anvil.provider, wallet, digest, signature),
    ...options,
  });
  t.after(() => world.close());
  world.gateway.views.set(SESSION, viewOf({ owner: ACCOUNT }));
  return world;
}

const sign = (digest: string, key = KEY) => key.signingKey.sign(digest).serialized as Hex;

type World = Awaited<ReturnType<typeof start>>;

async function post(world: World, path: string, body: object): Promise<[number, string | null]> {
  const response = await world.ask(path, { method: 'POST', body: JSON.stringify(body) });
  const { error } = (await response.json()) as { error?: { code: string } };
  return [response.status, error?.code ?? null];
}

function message(type: MessageType, domain: SigningDomain, value: Record<string, string>): Hex {
  return messageHash(type, domain, value);
}

function withdrawal(key = KEY) {
  const order = { sessionId: SESSION, reference: REFERENCE };
  const digest = message('WithdrawDeposit', DOMAINS.payment, { ...order, amount: '40' });
  return { ...order, amountWei: '40', signature: sign(digest, key) };
}

function deposit(key = KEY) {
  const order = { sessionId: SESSION, payer: ACCOUNT, reference: REFERENCE };
  const digest = message('Deposit', DOMAINS.payment, { ...order, amount: '500' });
  const noPermit = `0x${'00'.repeat(64)}1b`;
  const permit = { owner: ACCOUNT, valueWei: '500', deadline: 2_000_000_000, signature: noPermit };
  return { ...order, amountWei: '500', signature: sign(digest, key), permit };
}

async function signIn(world: World, key = KEY): Promise<Response> {
  const { url } = world.router;
  const nonces = await fetch(`${url}/api/v1/auth/nonce`);
  const { nonce, chainId, domains } = (await nonces.json()) as {
    nonce: string;
    chainId: number;
    domains: string[];
  };
  const text = new SiweMessage({
    domain: domains[0] ?? '',
    address: getAddress(ACCOUNT),
    statement: 'Use my sessions.',
    uri: `https://${domains[0]}`,
    version: '1',
    chainId,
    nonce,
    issuedAt: new Date().toISOString(),
  }).prepareMessage();
  const signature = sign(hashMessage(text), key);
  return await fetch(`${url}/api/v1/auth/sign-in`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ message: text, signature }),
    signal: AbortSignal.timeout(60_000),
  });
}

const path = (what: string) => `/api/v1/sessions/${SESSION}/${what}`;
const stranger = new Wallet(`0x${'02'.repeat(32)}`);

test('a contract signs in, and uses the sessions that it owns', async (t) => {
  const world = await start(t);
  assert.equal((await signIn(world, stranger)).status, 401);
  const answer = await signIn(world);
  assert.equal(answer.status, 200);
  const { token, address } = (await answer.json()) as { token: string; address: string };
  assert.equal(address.toLowerCase(), ACCOUNT);
  await world.router.sessions.open({ ...world.lease, owner: ACCOUNT });
  const headers = { authorization: `Bearer ${token}` };
  assert.equal((await world.chat('hi', { session_id: SESSION }, headers)).status, 200);
});

test('a contract deposits without a permit, and takes back; nobody else does in its name', async (t) => {
  const world = await start(t);
  assert.deepEqual(await post(world, path('deposits'), deposit()), [202, null]);
  assert.deepEqual(await post(world, path('withdrawals'), withdrawal()), [202, null]);
  for (const [what, order] of [
    ['deposits', deposit(stranger)],
    ['withdrawals', withdrawal(stranger)],
    ['withdrawals', { ...withdrawal(), signature: '0x' }],
    ['withdrawals', { ...withdrawal(), signature: `0x${'ab'.repeat(2_048)}` }],
  ] as const) {
    assert.deepEqual(await post(world, path(what), order), [401, 'SIGNATURE_INVALID']);
  }
  const tooLong = { ...withdrawal(), signature: `0x${'ab'.repeat(2_049)}` };
  assert.deepEqual(await post(world, path('withdrawals'), tooLong), [400, 'REQUEST_INVALID']);
});

test('the SDK deposits for a contract, and asks it for no permit', async (t) => {
  const world = await start(t);
  const client = new CortensorClient({ baseUrl: world.router.url, apiKey: API_KEY });
  const session = await client.session(SESSION);
  const signed: string[] = [];
  const signer: OwnerSigner = {
    address: ACCOUNT,
    isContract: true,
    signTypedData(domain, types, value) {
      signed.push(...Object.keys(types));
      return KEY.signTypedData(domain, types, value);
    },
  };
  await session.deposit({ signer, amountWei: 500n });
  assert.deepEqual(signed, ['Deposit']);
});

test('while the chain is away, a contract is asked to come again, and a key is not', async (t) => {
  const world = await start(t, {
    isContractSignature: async () => {
      throw new EngineError('CHAIN_UNREACHABLE');
    },
  });
  const asked = [503, 'CHAIN_UNREACHABLE'];
  assert.deepEqual(await post(world, path('withdrawals'), withdrawal()), asked);
  assert.equal((await signIn(world)).status, 503);
  world.gateway.views.set(SESSION, viewOf({ owner: KEY.address as Address }));
  assert.deepEqual(await post(world, path('withdrawals'), withdrawal()), [202, null]);
});

test('strangers have no more than a few contracts asked at once', async (t) => {
  const { opened, open } = gate();
  let asked = 0;
  const world = await start(t, {
    isContractSignature: async () => {
      asked++;
      await opened;
      return false;
    },
  });
  const attempts = Array.from({ length: 8 }, () => signIn(world, stranger));
  await until(() => asked === 8, 'eight questions');
  assert.equal((await signIn(world, stranger)).status, 503);
  open();
  const statuses = await Promise.all(attempts.map(async (answer) => (await answer).status));
  assert.deepEqual(new Set(statuses), new Set([401]));
  assert.equal((await signIn(world, stranger)).status, 401);
  assert.equal(asked, 9);
});
