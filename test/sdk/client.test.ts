import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { verifyTypedData, Wallet } from 'ethers';
import { recoverSigner } from '../../adapters/chain/sign.js';
import { cidOf } from '../../adapters/ipfs/cid.js';
import { createIdentity, recipientOf } from '../../adapters/seal/identity.js';
import { policyHashOf } from '../../adapters/seal/session-id.js';
import { signingDomain } from '../../domain/attestation.js';
import { EngineError, type ErrorCode } from '../../domain/errors.js';
import { parsePolicy, type SessionPolicy } from '../../domain/session.js';
import type { TaskStreamEvent } from '../../domain/wire.js';
import { CortensorClient, type SessionHandle } from '../../sdk/index.js';
import { cidOfBlock } from '../../sdk/payloads.js';
import {
  createFakeRouter,
  framesOf,
  NETWORK,
  resultBlock,
  type Asked,
  type Script,
} from './fake-router.js';

const OWNER = new Wallet(`0x${'11'.repeat(32)}`);
const REFERENCE = `0x${'0f'.repeat(32)}` as const;
const POLICY = parsePolicy({
  model: 'scripted-1',
  redundancy: 2,
  level: 'sealed',
  priceCeilingWei: '5',
  maxTasks: 10,
  idleSeconds: 60,
  taskSeconds: 60,
});
const WORDS = ['Air', ' scatters', ' blue'];
const TEXT = 'Air scatters blue';

let fake: Awaited<ReturnType<typeof createFakeRouter>>;
let identity: string;
let client: CortensorClient;

beforeEach(async () => {
  fake = await createFakeRouter();
  ({ identity } = await createIdentity({ postQuantum: true }));
  client = connect();
});

describe('opening a session', () => {
  test('is signed by its owner, with a permit for the deposit', async () => {
    const handle = await open({ ...POLICY, level: 'link' });
    const [request] = fake.seen.opened;
    assert.ok(request);
    assert.equal(request.sessionId, handle.id);
    const { chainId, contracts } = NETWORK;
    const opening = {
      owner: OWNER.address,
      clientReference: REFERENCE,
      policyHash: await policyHashOf(request.policy),
      deposit: 1_000n,
    };
    const domain = signingDomain(chainId, contracts.sessionManager);
    assert.equal(recoverSigner('OpenSession', domain, opening, request.signature), OWNER.address);
    const permitted = verifyTypedData(
      { name: 'Cortensor', version: '1', chainId, verifyingContract: contracts.token },
      {
        Permit: ['owner:address', 'spender:address', 'value:uint256', 'nonce:uint256']
          .concat('deadline:uint256')
          .map((field) => ({ name: field.split(':')[0] ?? '', type: field.split(':')[1] ?? '' })),
      },
      {
        owner: OWNER.address,
        spender: contracts.sessionPayment,
        value: 1_000n,
        nonce: 7n,
        deadline: request.permit.deadline,
      },
      request.permit.signature,
    );
    assert.equal(permitted, OWNER.address);
  });

  test('refuses a policy that no router would take, before anything is signed', async () => {
    await rejects(open({ ...POLICY, redundancy: 99 }), 'POLICY_INVALID');
    assert.equal(fake.seen.fetches, 0);
  });

  test('makes post-quantum keys at the level that asks for them', async () => {
    const view = await (await open({ ...POLICY, level: 'sealed-pq' })).view();
    assert.match(view.keyring?.recipient ?? '', /^age1pq1/);
  });

  test('reports the router’s own errors', async () => {
    client = new CortensorClient({ baseUrl: 'http://router', apiKey: 'no', fetch: fake.fetch });
    await rejects(client.network(), 'API_KEY_INVALID');
    await rejects(connect().session('12345'), 'SESSION_NOT_FOUND');
  });

  test('waits in vain for a state that does not come, and says so', async () => {
    const handle = await open(POLICY);
    await rejects(handle.waitUntil('Closed', { timeoutMs: 1 }), 'ROUTER_UNREACHABLE');
    assert.equal((await handle.close()).state, 'Closing');
  });
});

describe('asking a sealed session', () => {
  test('streams what its primary seals, and the whole is the agreed answer', async () => {
    const handle = await open(POLICY);
    fake.router.script = honest;
    const stream = handle.ask('why is the sky blue');
    assert.deepEqual(await collect(stream), WORDS);
    const answer = await stream.done;
    assert.equal(answer.text, TEXT);
    assert.equal(answer.verdictAgreed, true);
    assert.deepEqual(answer.usage, { promptTokens: 4, completionTokens: 3 });
    assert.equal(answer.requestCid, 'bafkrequest');
    assert.equal(JSON.stringify(fake.seen.tasks).includes('why is the sky blue'), false);
  });

  test('brings the agreed answer where the primary lost the verdict', async () => {
    const handle = await open(POLICY);
    fake.router.script = async function* (asked) {
      yield { type: 'accepted', taskId: asked.taskId, primary: fake.address(0) };
      yield* framesOf(asked, fake.address(0), ['Canned', ' words']);
      const { block, result } = await resultBlock(TEXT, await recipient(asked));
      const resultHash = await asked.channel.resultHash(result);
      yield ended(asked, { agreed: fake.address(1), resultCid: fake.put(block), resultHash });
    };
    const stream = handle.ask('why');
    assert.equal((await stream.done).text, TEXT);
    assert.deepEqual(await collect(stream), ['Canned', ' words']);
  });

  test('refuses an agreed result that is not the one that was committed to', async () => {
    const handle = await open(POLICY);
    fake.router.script = async function* (asked) {
      yield { type: 'accepted', taskId: asked.taskId, primary: fake.address(0) };
      yield* framesOf(asked, fake.address(0), WORDS);
      const { block } = await resultBlock('another text', await recipient(asked));
      const { result } = await resultBlock(TEXT, await recipient(asked));
      const resultHash = await asked.channel.resultHash(result);
      yield ended(asked, { agreed: fake.address(1), resultCid: fake.put(block), resultHash });
    };
    await rejects(handle.ask('why').done, 'SEAL_BROKEN');
  });

  test('refuses bytes that are not those of the result’s CID', async () => {
    const handle = await open(POLICY);
    fake.router.script = async function* (asked) {
      yield { type: 'accepted', taskId: asked.taskId, primary: fake.address(0) };
      yield* framesOf(asked, fake.address(0), WORDS);
      const { block } = await resultBlock(TEXT, await recipient(asked));
      const resultCid = fake.put(block);
      const other = await resultBlock('another text', await recipient(asked));
      fake.blocks.set(resultCid, other.block);
      yield ended(asked, { agreed: fake.address(1), resultCid });
    };
    await rejects(handle.ask('why').done, 'CONTENT_MISMATCH');
  });

  test('refuses a stream that was cut short though the router says it is whole', async () => {
    const handle = await open(POLICY);
    fake.router.script = async function* (asked) {
      yield { type: 'accepted', taskId: asked.taskId, primary: fake.address(0) };
      for await (const frame of framesOf(asked, fake.address(0), WORDS)) {
        if (frame.type === 'frame' && !frame.frame.isLast) yield frame;
      }
      yield ended(asked, { agreed: fake.address(0) });
    };
    await rejects(handle.ask('why').done, 'SEAL_BROKEN');
  });

  test('refuses a frame that was altered on the way', async () => {
    const handle = await open(POLICY);
    fake.router.script = async function* (asked) {
      yield { type: 'accepted', taskId: asked.taskId, primary: fake.address(0) };
      for await (const event of framesOf(asked, fake.address(0), WORDS)) {
        if (event.type !== 'frame') continue;
        const bytes = Buffer.from(event.frame.data, 'base64');
        bytes[20] = (bytes[20] ?? 0) ^ 1;
        yield { ...event, frame: { ...event.frame, data: bytes.toString('base64') } };
      }
    };
    await rejects(handle.ask('why').done, 'SEAL_BROKEN');
  });

  test('goes on after a lost connection, with one key and without repeating itself', async () => {
    const handle = await open(POLICY);
    fake.router.script = async function* (asked) {
      yield { type: 'accepted', taskId: asked.taskId, primary: fake.address(0) };
      let frames = 0;
      for await (const frame of framesOf(asked, fake.address(0), WORDS)) {
        yield frame;
        if (asked.attempt === 1 && ++frames === 2) yield 'cut';
      }
      yield ended(asked, { agreed: fake.address(0) });
    };
    const stream = handle.ask('why');
    assert.equal((await collect(stream)).join(''), TEXT);
    const [first, second] = fake.seen.tasks;
    assert.equal(fake.seen.tasks.length, 2);
    assert.deepEqual(first, second);
  });

  test('takes the stream of a new primary from its start', async () => {
    const handle = await open(POLICY);
    fake.router.script = async function* (asked) {
      yield { type: 'accepted', taskId: asked.taskId, primary: fake.address(0) };
      for await (const frame of framesOf(asked, fake.address(0), WORDS)) {
        yield frame;
        break;
      }
      yield { type: 'accepted', taskId: asked.taskId, primary: fake.address(1) };
      yield* framesOf(asked, fake.address(1), WORDS);
      yield ended(asked, { agreed: fake.address(1) });
    };
    assert.deepEqual(await collect(handle.ask('why')), WORDS);
  });

  test('gives up after a few lost connections', async () => {
    const handle = await open(POLICY);
    fake.router.script = async function* () {
      yield 'cut';
    };
    await rejects(handle.ask('why').done, 'ROUTER_UNREACHABLE');
    assert.equal(fake.seen.tasks.length, 7);
  });

  test('tells an answer without agreement from an agreed one', async () => {
    const handle = await open(POLICY);
    fake.router.script = async function* (asked) {
      yield { type: 'accepted', taskId: asked.taskId, primary: fake.address(0) };
      yield* framesOf(asked, fake.address(0), WORDS);
      yield { ...ended(asked, { agreed: null }), outcome: 'no-quorum' };
    };
    const answer = await handle.ask('why').done;
    assert.equal(answer.verdictAgreed, false);
    assert.equal(answer.outcome, 'no-quorum');
    assert.equal(answer.text, TEXT);
  });

  test('throws what every miner declined a task for', async () => {
    const handle = await open(POLICY);
    fake.router.script = async function* (asked) {
      const failure = 'FEATURE_UNSUPPORTED';
      yield { ...ended(asked, { agreed: null }), outcome: 'refused', failure };
    };
    await rejects(handle.ask('why').done, 'FEATURE_UNSUPPORTED');
    fake.router.script = async function* (asked) {
      yield { ...ended(asked, { agreed: null }), outcome: 'refused', failure: 'RATE_LIMITED' };
    };
    await assert.rejects(handle.ask('why').done, (error) => {
      assert.ok(error instanceof EngineError);
      const { outcome, reason } = error.details;
      assert.deepEqual([error.code, outcome, reason], ['MINER_FAILED', 'refused', 'RATE_LIMITED']);
      return true;
    });
  });

  test('throws the code of a refused task, to whoever iterates as well', async () => {
    const handle = await open(POLICY);
    fake.router.script = async function* () {
      yield { type: 'error', code: 'BUDGET_EXHAUSTED', message: '' };
    };
    const stream = handle.ask('why');
    await rejects(collect(stream), 'BUDGET_EXHAUSTED');
    await rejects(stream.done, 'BUDGET_EXHAUSTED');
  });
});

describe('a session in another process', () => {
  test('goes on from what was exported', async () => {
    const bundle = await (await open(POLICY)).export();
    fake.router.script = honest;
    const handle = await connect().importSession(bundle);
    assert.equal((await handle.ask('why').done).text, TEXT);
  });

  test('is closed to another identity', async () => {
    const bundle = await (await open(POLICY)).export();
    const stranger = await createIdentity();
    await rejects(connect(stranger.identity).importSession(bundle), 'SEAL_NOT_RECIPIENT');
  });

  test('is not taken from a router, which could have sealed any keyring', async () => {
    const handle = await open(POLICY);
    await rejects(connect().session(handle.id), 'SEAL_NOT_RECIPIENT');
  });
});

describe('asking where the router seals', () => {
  const link: SessionPolicy = { ...POLICY, level: 'link' };

  test('streams chat completions under the session and one key', async () => {
    const handle = await open(link);
    fake.router.completion = () => [...WORDS.map(chunk), '[DONE]'];
    const stream = handle.ask('why', { idempotencyKey: 'k-1' });
    assert.deepEqual(await collect(stream), WORDS);
    const answer = await stream.done;
    assert.equal(answer.text, TEXT);
    assert.deepEqual(answer.resultCids, ['bafkone', 'bafktwo']);
    assert.equal(fake.seen.completions[0]?.key, 'k-1');
    assert.equal(fake.seen.completions[0]?.session, handle.id);
  });

  test('asks again after a lost connection', async () => {
    const handle = await open(link);
    fake.router.completion = (attempt) =>
      attempt === 1 ? [chunk('Air'), 'cut'] : [...WORDS.map(chunk), '[DONE]'];
    assert.equal((await collect(handle.ask('why'))).join(''), TEXT);
    const [first, second] = fake.seen.completions;
    assert.equal(first?.key, second?.key);
  });

  test('does not take a stream without its last event for an answer', async () => {
    const handle = await open(link);
    fake.router.completion = (attempt) =>
      attempt === 1 ? [chunk('Air')] : [...WORDS.map(chunk), '[DONE]'];
    assert.equal((await handle.ask('why').done).text, TEXT);
    assert.equal(fake.seen.completions.length, 2);
  });

  test('brings the agreed answer where the streamed one lost the verdict', async () => {
    const handle = await open(link);
    const failure = JSON.stringify({ error: { code: 'MINER_FAILED', details: {} } });
    const whole = JSON.stringify({ choices: [{ message: { content: TEXT } }] });
    fake.router.completion = (_, isStream) => (isStream ? [chunk('Canned'), failure] : [whole]);
    assert.equal((await handle.ask('why').done).text, TEXT);
  });
});

test('the CID that browsers compute is the one that Kubo does', async () => {
  for (const text of ['', 'hello world', 'x'.repeat(1_000)]) {
    const bytes = new TextEncoder().encode(text);
    assert.equal(await cidOfBlock(bytes), cidOf(bytes));
  }
});

function connect(as = identity): CortensorClient {
  return new CortensorClient({
    baseUrl: 'http://router',
    apiKey: 'key',
    identity: as,
    fetch: fake.fetch,
  });
}

function open(policy: SessionPolicy): Promise<SessionHandle> {
  return client.openSession({
    signer: OWNER,
    policy,
    depositWei: 1_000n,
    clientReference: REFERENCE,
  });
}

const honest: Script = async function* (asked) {
  yield { type: 'accepted', taskId: asked.taskId, primary: fake.address(0) };
  yield* framesOf(asked, fake.address(0), WORDS);
  yield ended(asked, { agreed: fake.address(0) });
};

function ended(
  { taskId }: Asked,
  changes: Partial<Extract<TaskStreamEvent, { type: 'ended' }>>,
): TaskStreamEvent {
  return {
    type: 'ended',
    taskId,
    outcome: 'completed',
    agreed: null,
    resultCid: null,
    resultCids: [],
    requestCid: 'bafkrequest',
    ...changes,
  };
}

function recipient({ keyring }: Asked): Promise<string> {
  return recipientOf(keyring.identity);
}

function chunk(content: string): string {
  return JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
}

async function collect(stream: AsyncIterable<string>): Promise<string[]> {
  const deltas: string[] = [];
  for await (const delta of stream) deltas.push(delta);
  return deltas;
}

async function rejects(work: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof EngineError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}
