/** One schema an answer: every JSON route of the document is asked for a real answer here, which
 * `World.ask` holds against it; so does every other test of the router. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Wallet } from 'ethers';
import { SiweMessage } from 'siwe';
import { merkleRoot, taskLeaf } from '../../../adapters/chain/merkle.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { sessionIdOf } from '../../../adapters/seal/session-id.js';
import { API_SCHEMA_VERSION } from '../../../domain/api.js';
import type { MessageType } from '../../../domain/attestation.js';
import type { Address, Hex, TaskId } from '../../../domain/ids.js';
import { sumBatch } from '../../../domain/settlement.js';
import { operationsOf } from '../../../nodes/router/openapi/operations.js';
import { CHECKED, checkAnswer, routeName } from './contract.js';
import { NETWORK, SESSION, startWorld, viewOf, type World } from './support.js';

const OWNER = new Wallet(`0x${'01'.repeat(32)}`);
const REFERENCE: Hex = `0x${'77'.repeat(32)}`;
const SIGNATURE: Hex = `0x${'11'.repeat(65)}`;
const HEX: Hex = `0x${'ab'.repeat(32)}`;
const LATER = 2_000_000_000;

const EPOCH = { epoch: 3, root: HEX, reportTx: HEX, evidenceCid: 'bafkreie', miners: 1 };
const SCORE = { scoreBps: 9_000, level: 9, tokensPerSecond: 12.5 };

const OF_OWNERS = new Set<MessageType>([
  'OpenSession',
  'Deposit',
  'Permit',
  'WithdrawDeposit',
  'ChangePolicy',
]);

/** Routes with more behind them than this router: their own tests ask them, through `World.ask`. */
const ELSEWHERE = /^\/(api\/v1\/(sources|context)|v1\/embeddings)|\/exports\/:sink/;

/** Signed routes believe whoever they are told of: what signatures must hold is tested elsewhere. */
async function start(): Promise<World> {
  const miner = OWNER.address as Address;
  const world = await startWorld([{}], {
    chainReader: {
      miners: async () => [
        {
          miner,
          models: ['tiny'],
          status: 'Active',
          stakeWei: '100',
          kind: 'Reserved',
          ...SCORE,
          pricePerTokenWei: null,
        },
      ],
      epochs: async () => [EPOCH],
      epoch: async () => ({
        ...EPOCH,
        probes: 4,
        evidenceError: null,
        scores: [{ miner, ...SCORE, answered: 4 }],
      }),
    },
  });
  const { crypto } = world.router;
  const recover = crypto.recover.bind(crypto);
  crypto.recover = async (checks) =>
    checks.some(({ type }) => OF_OWNERS.has(type)) ? checks.map(() => miner) : recover(checks);
  return world;
}

function bodies(owner: string) {
  const permit = { owner, valueWei: '5', deadline: LATER, signature: SIGNATURE };
  const base = { sessionId: SESSION, reference: REFERENCE, signature: SIGNATURE };
  return {
    deposits: { ...base, payer: owner, amountWei: '5', permit },
    withdrawals: { ...base, amountWei: '5' },
    policy: {
      sessionId: SESSION,
      policy: { model: 'tiny', priceCeilingWei: '10' },
      nonce: 0,
      signature: SIGNATURE,
    },
  };
}

/** An end for a task that has a proof. */
async function settle(world: World, taskId: TaskId): Promise<void> {
  const record = world.gateway.records.get(taskId);
  assert.ok(record);
  const { ordinal, requestCid } = record;
  const task = {
    sessionId: SESSION,
    taskId,
    ordinal,
    outcome: 'completed',
    requestCid,
    chargeWei: '1',
    feeWei: '1',
    payments: [],
  } as const;
  const root = merkleRoot([taskLeaf(task)]);
  const batch = { version: 1, batchId: HEX, root, tasks: [task], ...sumBatch([task]) };
  const batchCid = await world.blocks.put(encodeJson(batch));
  world.gateway.records.set(taskId, { ...record, state: 'Settled', batchCid, settlementTx: HEX });
}

async function signIn(world: World): Promise<string> {
  const asked = await world.ask('/api/v1/auth/nonce');
  const { nonce, chainId } = (await asked.json()) as { nonce: string; chainId: number };
  const message = new SiweMessage({
    domain: 'app.example',
    address: OWNER.address,
    uri: 'https://app.example',
    version: '1',
    chainId,
    nonce,
    issuedAt: new Date().toISOString(),
  }).prepareMessage();
  const signature = await OWNER.signMessage(message);
  const signedIn = await world.ask('/api/v1/auth/sign-in', {
    method: 'POST',
    body: JSON.stringify({ message, signature }),
  });
  return ((await signedIn.json()) as { token: string }).token;
}

/** A session that the wallet's token opens: the key of the tests is for another one. */
async function openSession(world: World, token: string): Promise<void> {
  const owner = OWNER.address as Address;
  const { chainId, contracts } = NETWORK;
  const { sessionManager } = contracts;
  const clientReference = REFERENCE;
  const sessionId = await sessionIdOf({ chainId, sessionManager, owner, clientReference });
  world.gateway.views.set(sessionId, viewOf({ sessionId, owner, state: 'Opening' }));
  const { deposits, policy } = bodies(owner);
  const response = await world.ask('/api/v1/sessions', {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({
      sessionId,
      owner,
      clientReference,
      policy: policy.policy,
      depositWei: '5',
      signature: SIGNATURE,
      permit: deposits.permit,
    }),
  });
  assert.equal(response.status, 201);
}

test('every JSON answer of every route is what the document says', async (t) => {
  const world = await start();
  t.after(() => world.close());
  const { recipient = '', cid = '' } = world.lease.keyring ?? {};
  const owner = OWNER.address as Address;
  world.gateway.views.set(SESSION, viewOf({ owner, keyring: { recipient, cid } }));
  const post = (path: string, body: object = {}) =>
    world.ask(path, { method: 'POST', body: JSON.stringify(body) });
  const session = `/api/v1/sessions/${SESSION}`;

  const asked = await world.chat('hello', {}, { 'idempotency-key': 'k' });
  const taskId = asked.headers.get('x-cortensor-task') as TaskId;
  await post('/v1/completions', { model: 'tiny', prompt: 'on and on' });
  await post('/v1/responses', { model: 'tiny', input: 'hello' });
  for (const path of ['/v1/models', '/healthz', '/openapi.json']) await world.ask(path);
  for (const path of ['network', 'status', 'miners', 'epochs?limit=2', 'epochs/3']) {
    await world.ask(`/api/v1/${path}`);
  }
  await world.ask(`/api/v1/accounts/${owner}`);
  await world.ask(session);
  const keyring = Buffer.from('an age file').toString('base64');
  const body = JSON.stringify({ recipient: world.miner(0).recipient, keyring });
  await world.ask(`${session}/keyring`, { method: 'PUT', body });
  world.gateway.views.set(SESSION, viewOf({ owner, keyring: { recipient, cid } }));
  for (const [path, signed] of Object.entries(bodies(owner)))
    await post(`${session}/${path}`, signed);
  await post(`${session}/deposits/sync`);
  await world.ask(`${session}/tasks`);
  for (const query of ['', '?include=evidence', '?include=outputs']) {
    await world.ask(`${session}/tasks/${taskId}${query}`);
  }
  await post(`${session}/tasks/${taskId}/cancel`);
  await post('/api/v1/delegate', { goal: 'Write a line.' });
  await post('/api/v1/validate', { taskId });
  await settle(world, taskId);
  await world.ask(`${session}/tasks/${taskId}/proof`);
  await openSession(world, await signIn(world));
  await post(`${session}/close`);
  await post(`${session}/cancel`);
  world.gateway.views.set(SESSION, viewOf({ owner, state: 'Closed' }));
  await post(`${session}/erasure`);
  await world.ask(`${session}/erasure`);

  const described = operationsOf({ maxBodyBytes: 1 }).filter(
    ({ path, types = ['application/json'] }) =>
      types.includes('application/json') && !ELSEWHERE.test(path),
  );
  assert.deepEqual([...CHECKED].sort(), described.map(routeName).sort());
});

test('an answer with a field too many, or of another type, is found out', async () => {
  const network = { ...NETWORK, models: [] };
  const head = { 'x-request-id': 'a-request' };
  const check = (answer: object, status = 200) =>
    checkAnswer('GET', '/api/v1/network', Response.json(answer, { status, headers: head }));
  await check(network);
  await assert.rejects(check({ ...network, more: 1 }), /AssertionError|Expected/);
  await assert.rejects(check({ ...network, feeBps: '100' }));
  await assert.rejects(check(network, 202));
  await assert.rejects(check({ error: { code: 'INTERNAL' } }, 500));
  CHECKED.delete('GET /api/v1/network');
});

test('the document holds its schemas as components, and says of which version they are', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const document = (await (await world.ask('/openapi.json')).json()) as {
    info: Record<string, unknown>;
    components: { schemas: Record<string, object> };
  };
  assert.equal(document.info['x-schema-version'], API_SCHEMA_VERSION);
  const text = JSON.stringify(document);
  const names = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name = '']) => name);
  assert.ok(names.length > 30);
  for (const name of names) assert.ok(document.components.schemas[name], name);
  for (const name of Object.keys(document.components.schemas)) {
    assert.ok(names.includes(name), `nothing shows ${name}`);
  }
  assert.ok(!text.includes('$defs'));
  assert.ok(!JSON.stringify(document.components).includes('"additionalProperties":false'));
});
