import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { Wallet } from 'ethers';
import { signMessage } from '../../../adapters/chain/sign.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { openAtRest, sealAtRest } from '../../../adapters/seal/at-rest.js';
import { openChannel } from '../../../adapters/seal/channel.js';
import { policyHashOf, sessionIdOf } from '../../../adapters/seal/session-id.js';
import { taskIdOf } from '../../../adapters/seal/task-id.js';
import type { Address, Hex } from '../../../domain/ids.js';
import { parsePolicy, type SessionView } from '../../../domain/session.js';
import type { ChatResult, StreamEvent } from '../../../domain/task.js';
import type { SealedTaskRequest, TaskStreamEvent } from '../../../domain/wire.js';
import { DOMAINS, NETWORK, readSse, SESSION, startWorld, viewOf, type World } from './support.js';

const REQUEST = {
  model: 'tiny',
  messages: [{ role: 'user', content: 'hush' }],
  maxTokens: 16,
  temperature: 0,
  topP: 1,
};

async function sealedRequest(world: World, key: string): Promise<SealedTaskRequest> {
  const { sessionId, channelKey } = world.keyring;
  const channel = await openChannel({ sessionId, channelKey });
  const sealer = await channel.sealer(await taskIdOf(sessionId, key), 'client');
  const bytes = encodeJson(REQUEST);
  const recipient = world.lease.keyring?.recipient ?? '';
  const atRest = await sealAtRest(bytes, [recipient]);
  return {
    idempotencyKey: key,
    model: 'tiny',
    maxPromptTokens: 100,
    maxTokens: 16,
    request: await sealer.seal(bytes, true),
    sealedRequest: Buffer.from(atRest).toString('base64'),
  };
}

const post = (world: World, body: object, headers: Record<string, string> = {}) =>
  world.ask(`/api/v1/sessions/${SESSION}/tasks`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers,
  });

test('a sealed task is relayed as ciphertext, and the client opens stream and result', async (t) => {
  const world = await startWorld([{}, {}], { policy: { level: 'sealed' } });
  t.after(() => world.close());
  const body = await sealedRequest(world, 'k1');
  const events = await readSse(await post(world, body));
  const parsed = events.map(({ data }) => JSON.parse(data) as TaskStreamEvent);
  assert.deepEqual(
    events.map(({ id }) => id),
    events.map((_, i) => i),
  );
  const [accepted] = parsed;
  assert.ok(accepted?.type === 'accepted');
  const channel = await openChannel(world.keyring);
  const opener = await channel.opener(accepted.taskId, accepted.primary);
  let text = '';
  for (const event of parsed) {
    if (event.type !== 'frame') continue;
    const bytes = await opener.open(event.frame);
    const part = JSON.parse(Buffer.from(bytes).toString()) as StreamEvent;
    if (part.type === 'delta') text += part.text;
  }
  assert.equal(text, 'You said: hush');
  assert.ok(opener.isEnded);
  const ended = parsed.at(-1);
  assert.ok(ended?.type === 'ended');
  assert.equal(ended.outcome, 'completed');
  assert.equal(ended.agreed, accepted.primary);
  assert.equal(ended.resultCid, null);
  const payload = await world.ask(`/api/v1/payloads/${ended.resultCids[0]}`);
  const block = new Uint8Array(await payload.arrayBuffer());
  const plain = await openAtRest(block, world.keyring.identity);
  assert.equal((JSON.parse(Buffer.from(plain).toString()) as ChatResult).text, 'You said: hush');
  // Nothing that is stored or recorded shows the prompt.
  for (const stored of world.blocks.blocks.values()) {
    assert.ok(!Buffer.from(stored).includes('hush'));
  }
  assert.ok(!JSON.stringify(world.gateway.submitted).includes('hush'));
  const record = await world.ask(`/api/v1/sessions/${SESSION}/tasks/${accepted.taskId}`);
  assert.equal(((await record.json()) as { outcome: string }).outcome, 'completed');
});

test('a sealed stream goes on after the event that the client names', async (t) => {
  const world = await startWorld([{}], { policy: { level: 'sealed' } });
  t.after(() => world.close());
  const body = await sealedRequest(world, 'k2');
  const all = await readSse(await post(world, body));
  const rest = await readSse(await post(world, body, { 'last-event-id': '2' }));
  assert.deepEqual(rest, all.slice(3));
  assert.equal(world.gateway.ends.length, 1);
});

test('a malformed task is refused with the field', async (t) => {
  const world = await startWorld([{}], { policy: { level: 'sealed' } });
  t.after(() => world.close());
  const body = await sealedRequest(world, 'k3');
  const wrong = await post(world, { ...body, request: { ...body.request, seq: 1 } });
  const { error } = (await wrong.json()) as { error: { code: string; details: { field: string } } };
  assert.equal(error.code, 'REQUEST_INVALID');
  assert.equal(error.details.field, 'request.seq');
  assert.equal((await post(world, { ...body, model: 'small' })).status, 404);
});

test('unknown tasks and payloads are not found', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const none = `0x${'0'.repeat(64)}`;
  assert.equal((await world.ask(`/api/v1/sessions/${SESSION}/tasks/${none}`)).status, 404);
  assert.equal((await world.ask(`/api/v1/sessions/${SESSION}/tasks/7`)).status, 400);
  assert.equal((await world.ask('/api/v1/payloads/bafkreinothing')).status, 404);
  const miners = (await (await world.ask('/api/v1/miners')).json()) as { miner: string }[];
  assert.deepEqual(
    miners.map(({ miner }) => miner),
    [world.miner(0).address],
  );
});

async function openRequest(owner: Wallet) {
  const clientReference = `0x${createHash('sha256').update('ref').digest('hex')}` as Hex;
  const policy = parsePolicy({
    model: 'tiny',
    redundancy: 1,
    level: 'open',
    priceCeilingWei: '10',
    maxTasks: 10,
    idleSeconds: 600,
    taskSeconds: 20,
  });
  const message = {
    owner: owner.address,
    clientReference,
    policyHash: await policyHashOf(policy),
    deposit: 1_000n,
  };
  const signature = await signMessage(owner, 'OpenSession', DOMAINS.manager, message);
  const sessionId = await sessionIdOf({
    chainId: NETWORK.chainId,
    sessionManager: NETWORK.contracts.sessionManager,
    owner: owner.address as Address,
    clientReference,
  });
  const permit = { owner: owner.address, valueWei: '1000', deadline: 2_000_000_000, signature };
  return {
    sessionId,
    owner: owner.address,
    clientReference,
    policy,
    depositWei: '1000',
    signature,
    permit,
  };
}

test('a session is opened by its owner only, once its request is sound', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const owner = new Wallet(`0x${'01'.repeat(32)}`);
  const request = await openRequest(owner);
  const open = async (change: object): Promise<[number, string]> => {
    const response = await world.ask('/api/v1/sessions', {
      method: 'POST',
      body: JSON.stringify({ ...request, ...change }),
    });
    return [response.status, ((await response.json()) as { error: { code: string } }).error.code];
  };
  assert.deepEqual(await open({ sessionId: '1' }), [400, 'REQUEST_INVALID']);
  assert.deepEqual(await open({ depositWei: '0' }), [402, 'SESSION_UNFUNDED']);
  assert.deepEqual(await open({ depositWei: '999' }), [401, 'SIGNATURE_INVALID']);
  assert.deepEqual(await open({ depositWei: '-1' }), [400, 'AMOUNT_INVALID']);
  const policy = (change: object) => ({ policy: { ...request.policy, ...change } });
  assert.deepEqual(await open(policy({ redundancy: 10 })), [400, 'POLICY_INVALID']);
  assert.deepEqual(await open(policy({ model: 'huge' })), [404, 'MODEL_UNKNOWN']);
  // The test's key is bound to another session.
  assert.deepEqual(await open({}), [401, 'API_KEY_INVALID']);
});

test('a keyring is stored and handed to the session', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  world.gateway.views.set(SESSION, viewOf({ state: 'AwaitingKeyring' }));
  const keyring = Buffer.from('an age file').toString('base64');
  const put = (body: object) =>
    world.ask(`/api/v1/sessions/${SESSION}/keyring`, { method: 'PUT', body: JSON.stringify(body) });
  assert.equal((await put({ recipient: 'nobody', keyring })).status, 400);
  const response = await put({ recipient: world.miner(0).recipient, keyring });
  const view = (await response.json()) as SessionView;
  assert.equal(view.state, 'Open');
  assert.ok(world.blocks.blocks.has(view.keyring?.cid ?? ''));
  const waited = await world.ask(`/api/v1/sessions/${SESSION}?until=Open&waitMs=50`);
  assert.equal(((await waited.json()) as SessionView).state, 'Open');
  assert.equal((await world.ask(`/api/v1/sessions/${SESSION}?until=Soon`)).status, 400);
});
