import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Wallet } from 'ethers';
import { precommitmentOf } from '../../../adapters/chain/precommitment.js';
import { recoverSigner } from '../../../adapters/chain/sign.js';
import { cidOf, digestOf } from '../../../adapters/ipfs/cid.js';
import type { EmbeddingBackend } from '../../../adapters/embedding/backend.js';
import { namedVector, openScriptedEmbedding } from '../../../adapters/embedding/scripted.js';
import type { InferenceBackend } from '../../../adapters/model/backend.js';
import { openScriptedBackend } from '../../../adapters/model/scripted.js';
import { openAtRest, sealAtRest } from '../../../adapters/seal/at-rest.js';
import { toBase64, toUtf8 } from '../../../adapters/seal/bytes.js';
import { openChannel, type Channel } from '../../../adapters/seal/channel.js';
import { createIdentity } from '../../../adapters/seal/identity.js';
import { createKeyring, wrapKeyring } from '../../../adapters/seal/keyring.js';
import { signingDomain } from '../../../domain/attestation.js';
import { textOfVectors } from '../../../domain/embedding.js';
import type { Address, Hex } from '../../../domain/ids.js';
import type { Frame, Keyring } from '../../../domain/sealing.js';
import type {
  ChatRequest,
  ChatResult,
  InferenceRequest,
  StreamEvent,
} from '../../../domain/task.js';
import type { AssignedTask, SessionGrant } from '../../../domain/wire.js';
import type { JournalEntry, TaskJournal } from '../../../nodes/miner/journal.js';
import { startMiner, type Miner } from '../../../nodes/miner/miner.js';
import { ScriptedRouter } from './scripted-router.js';

const DOMAIN = signingDomain(31_337, '0x00000000000000000000000000000000000000aa');
const WALLET = new Wallet(`0x${'11'.repeat(32)}`);
const SESSION = '4242';
const MODEL = 'scripted-1';
const SECRET = 'the launch code is 0451';
const WAITS = { firstMs: 5, mostMs: 20, unregisteredMs: 5 };

const request: ChatRequest = {
  model: MODEL,
  messages: [{ role: 'user', content: SECRET }],
  maxTokens: 64,
  temperature: 0,
  topP: 1,
};

let router: ScriptedRouter;
let miner: Miner | undefined;
let identity: { identity: string; recipient: string };
let keyring: Keyring;
let recipient: string;
let channel: Channel;
let lines: string[];

beforeEach(async () => {
  router = await ScriptedRouter.listen();
  identity = await createIdentity();
  ({ keyring, recipient } = await createKeyring(SESSION));
  channel = await openChannel(keyring);
  lines = [];
});

afterEach(async () => {
  await miner?.close();
  miner = undefined;
  await router.close();
});

describe('a miner joins a router', () => {
  test('it proves its key over the challenge', async () => {
    start();
    const hello = await router.next('hello');
    assert.deepEqual(hello.models, [MODEL]);
    assert.equal(hello.capacity, 2);
    const { signature } = await router.next('proof');
    assert.match(signature, /^0x[0-9a-f]{130}$/);
    await router.next('heartbeat');
  });

  test('it does not answer a challenge that has expired', async () => {
    router.expiresInSeconds = -1;
    start();
    await router.next('hello');
    await router.next('hello');
    assert.equal(
      router.received.some((m) => m.type === 'proof'),
      false,
    );
  });

  test('it keeps asking while its registration is under way', async () => {
    router.refusal = 'NODE_NOT_REGISTERED';
    start();
    await router.next('hello');
    await router.next('proof');
    await router.next('hello');
    router.refusal = null;
    await router.next('proof');
    await router.next('heartbeat');
    assert.ok(lines.some((line) => line.includes('NODE_NOT_REGISTERED')));
  });

  test('it comes back after the router has died', async () => {
    start();
    await welcome();
    const port = router.port;
    await router.close();
    router = await ScriptedRouter.listen(port);
    await welcome();
  });

  test('it leaves a router that does not speak the protocol, and tries again', async () => {
    start();
    await welcome();
    router.sendText('{"type":"assign","task":{}}');
    await welcome();
    assert.ok(lines.some((line) => line.includes('MINER_PROTOCOL')));
  });

  test('close ends it', async () => {
    start();
    await welcome();
    await miner?.close();
    await miner?.closed;
    assert.equal(router.connections, 1);
  });
});

describe('a miner that embeds too', () => {
  const vectors = { kind: 'embedding', model: 'vectors', input: ['one', 'two words'] } as const;

  test('says so, and gives vectors only when they are asked for', async () => {
    start({ embedding: openScriptedEmbedding({ model: 'vectors' }) });
    const hello = await router.next('hello');
    assert.deepEqual(hello.models, [MODEL, 'vectors']);
    assert.deepEqual(hello.features?.['vectors'], ['embedding', 'dimensions']);
    await router.next('proof');
    await router.next('heartbeat');
    router.send({ type: 'session', grant: await grant() });
    const task = await assignment({}, vectors);
    router.send({ type: 'assign', task });
    await router.next('ack');
    assert.deepEqual(await readStream(task), { text: '', frames: 1 });
    await router.next('precommit');
    router.send({ type: 'reveal', taskId: task.taskId });
    const { commitment, result } = await router.next('commit');
    const block = await openAtRest(Buffer.from(result, 'base64'), keyring.identity);
    assert.deepEqual(JSON.parse(new TextDecoder().decode(block)), {
      model: 'vectors',
      text: textOfVectors([namedVector('one'), namedVector('two words')]),
      finishReason: 'embedding',
      usage: { promptTokens: 3, completionTokens: 0 },
    });
    assert.deepEqual(commitment.usage, { promptTokens: 3, completionTokens: 0 });
  });

  test('declines what a model is not for', async () => {
    start({ embedding: openScriptedEmbedding({ model: 'vectors' }) });
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    for (const asked of [
      { ...request, model: 'vectors' },
      { ...vectors, model: MODEL },
    ]) {
      router.send({ type: 'assign', task: await assignment({ isPrimary: false }, asked) });
      await router.next('ack');
      assert.equal((await router.next('fail')).code, 'FEATURE_UNSUPPORTED');
    }
  });
});

describe('a miner works on a sealed task', () => {
  test('as primary it streams frames that only a reader opens, then precommits', async () => {
    start();
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    const task = await assignment();
    router.send({ type: 'assign', task });
    await router.next('ack');
    const { text } = await readStream(task);
    assert.equal(text, 'Four words of answer');
    const { precommitment } = await router.next('precommit');
    const { signature, miner: address, ...value } = precommitment;
    assert.equal(address, WALLET.address);
    assert.equal(recoverSigner('Precommit', DOMAIN, value, signature), WALLET.address);
  });

  test('it reveals a result that hashes to its precommitment', async () => {
    start();
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    const task = await assignment({ isPrimary: false });
    router.send({ type: 'assign', task });
    await router.next('ack');
    const { precommitment } = await router.next('precommit');
    router.send({ type: 'reveal', taskId: task.taskId });
    const { commitment, result } = await router.next('commit');

    assert.equal(precommitmentOf(commitment), precommitment.precommitment);
    const { sessionId, taskId, resultHash, resultDigest, salt, usage, signature } = commitment;
    const value = { sessionId, taskId, resultHash, resultDigest, salt, ...usage };
    assert.equal(recoverSigner('Commit', DOMAIN, value, signature), WALLET.address);
    const block = Buffer.from(result, 'base64');
    assert.equal(cidOf(block), commitment.resultCid);
    assert.equal(digestOf(commitment.resultCid), resultDigest);
    const plain = JSON.parse(
      new TextDecoder().decode(await openAtRest(block, keyring.identity)),
    ) as ChatResult;
    assert.equal(plain.text, 'Four words of answer');
    assert.equal(await channel.resultHash(plain), resultHash);
  });

  test('it never reveals before it has precommitted', async () => {
    const gate = gated();
    start({ backend: gate.backend });
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    const task = await assignment({ isPrimary: false });
    router.send({ type: 'assign', task });
    router.send({ type: 'reveal', taskId: task.taskId });
    await router.next('ack');
    await router.settle();
    gate.open();
    await router.next('precommit');
    await router.settle();
    assert.equal(
      router.received.some((m) => m.type === 'commit'),
      false,
    );
  });

  test('it puts down the end of a task that it revealed an answer to, and of no other', async () => {
    const entries: JournalEntry[] = [];
    const noted = new Promise<void>((resolve) => {
      const append = async (entry: JournalEntry) => {
        entries.push(entry);
        resolve();
      };
      start({ journal: { append } });
    });
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    const task = await assignment({ isPrimary: false });
    const { taskId } = task;
    const ended = { type: 'ended', taskId, outcome: 'completed', ordinal: 3 } as const;
    router.send({ type: 'assign', task });
    await router.next('ack');
    await router.next('precommit');
    router.send({ ...ended, evidenceCid: 'bafktooearly' });
    router.send({ type: 'reveal', taskId });
    const { commitment } = await router.next('commit');
    router.send({ ...ended, taskId: `0x${'5'.repeat(64)}`, evidenceCid: 'bafkanother' });
    router.send({ ...ended, evidenceCid: 'bafkevidence' });
    await noted;
    const [{ endedAtMs, ...entry }] = entries as [JournalEntry];
    assert.equal(entries.length, 1);
    assert.ok(Math.abs(Date.now() - endedAtMs) < 60_000);
    assert.deepEqual(entry, {
      sessionId: SESSION,
      taskId,
      ordinal: 3,
      outcome: 'completed',
      evidenceCid: 'bafkevidence',
      resultDigest: commitment.resultDigest,
    });
  });

  test('it gives one commitment for a task that is assigned twice', async () => {
    let runs = 0;
    start({ backend: scripted(() => `answer ${++runs}`) });
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    const task = await assignment();
    const commits = [];
    for (let round = 0; round < 2; round++) {
      router.send({ type: 'assign', task });
      await router.next('ack');
      assert.equal((await readStream(task)).text, 'answer 1');
      const { precommitment } = await router.next('precommit');
      router.send({ type: 'reveal', taskId: task.taskId });
      commits.push({ precommitment, ...(await router.next('commit')) });
    }
    assert.deepEqual(commits[0], commits[1]);
    assert.equal(runs, 1);
  });

  test('it finishes a task over the connection that comes after a lost one', async () => {
    const gate = gated();
    start({ backend: gate.backend });
    await welcome();
    const granted = await grant();
    router.send({ type: 'session', grant: granted });
    const task = await assignment();
    router.send({ type: 'assign', task });
    await router.next('ack');
    const opener = await channel.opener(task.taskId, WALLET.address);
    await opener.open((await router.next('frame')).frame);
    router.cut();
    await welcome();
    router.send({ type: 'session', grant: granted });
    router.send({ type: 'assign', task });
    await router.next('ack');
    gate.open();
    assert.equal((await readStream(task)).text, 'Four words of answer');
    await router.next('precommit');
  });

  test('it opens the request at rest when a router takes a task over', async () => {
    start({ backend: scripted((asked) => asked.messages[0]?.content ?? '') });
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    const block = await sealAtRest(toUtf8(JSON.stringify(request)), [recipient]);
    const task = await assignment({ request: null, atRest: toBase64(block) });
    router.send({ type: 'assign', task });
    await router.next('ack');
    assert.equal((await readStream(task)).text, SECRET);
  });

  test('it refuses a task whose frame was tampered with', async () => {
    start();
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    const task = await assignment();
    assert.ok(task.request);
    const bytes = Buffer.from(task.request.data, 'base64');
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    const altered: Frame = { ...task.request, data: bytes.toString('base64') };
    router.send({ type: 'assign', task: { ...task, request: altered } });
    await router.next('ack');
    assert.equal((await router.next('fail')).code, 'SEAL_BROKEN');
  });

  test('it refuses a task of a session that it was not made a reader of', async () => {
    start();
    await welcome();
    const stranger = await createIdentity();
    router.send({ type: 'session', grant: await grant([stranger.recipient]) });
    router.send({ type: 'assign', task: await assignment() });
    await router.next('ack');
    assert.equal((await router.next('fail')).code, 'SEAL_NOT_RECIPIENT');
  });

  test('it refuses a grant that would lower the level in silence', async () => {
    start();
    await welcome();
    router.send({ type: 'session', grant: { sessionId: SESSION, level: 'sealed', keyring: null } });
    router.send({ type: 'assign', task: await assignment() });
    await router.next('ack');
    assert.equal((await router.next('fail')).code, 'SEAL_BROKEN');
  });

  const unfit = [
    ['keys of another session', 'sealed', () => ({ ...keyring, sessionId: '4243' })],
    ['keys that are weaker than its level', 'sealed-pq', () => keyring],
  ] as const;
  for (const [what, level, keysOf] of unfit) {
    test(`it refuses a grant of ${what}`, async () => {
      start();
      await welcome();
      const file = toBase64(await wrapKeyring(keysOf(), [identity.recipient]));
      router.send({ type: 'session', grant: { sessionId: SESSION, level, keyring: file } });
      router.send({ type: 'assign', task: await assignment() });
      await router.next('ack');
      assert.equal((await router.next('fail')).code, 'SEAL_BROKEN');
    });
  }

  test('it stops the backend when a task is cancelled, and says nothing more of it', async () => {
    const gate = gated();
    start({ backend: gate.backend });
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    const task = await assignment({ isPrimary: false });
    router.send({ type: 'assign', task });
    await router.next('ack');
    await gate.started;
    router.send({ type: 'cancel', taskId: task.taskId });
    await gate.aborted;
    await router.settle();
    const last = router.received.filter((m) => m.type !== 'heartbeat').at(-1);
    assert.equal(last?.type, 'ack');
  });

  test('it gives a task up at its deadline, even over a backend that ignores its signal', async () => {
    start({ backend: { ...gated().backend, generate: () => never() } });
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    router.send({ type: 'assign', task: await assignment({ deadlineMs: 30 }) });
    await router.next('ack');
    assert.equal((await router.next('fail')).code, 'MINER_TIMEOUT');
  });

  test('it tells a router that sends too much, and works on the rest in turn', async () => {
    const gate = gated();
    start({ backend: gate.backend, concurrency: 1 });
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    const tasks = [];
    for (let i = 0; i < 10; i++) tasks.push(await assignment({ isPrimary: false }));
    for (const task of tasks) router.send({ type: 'assign', task });
    await router.settle();
    const fails = router.received.filter((m) => m.type === 'fail');
    assert.deepEqual(
      fails.map((m) => m.code),
      ['RATE_LIMITED'],
    );
    const beats = router.received.filter((m) => m.type === 'heartbeat');
    assert.equal(beats.at(-1)?.load, 9);
    gate.open();
    const precommits = () => router.received.filter((m) => m.type === 'precommit').length;
    for (let i = 0; i < 50 && precommits() < 9; i++) await router.settle();
    assert.equal(precommits(), 9);
  });

  test('it writes nothing of prompt or answer to its log', async () => {
    start({
      backend: scripted(() => {
        throw new Error(SECRET);
      }),
    });
    await welcome();
    router.send({ type: 'session', grant: await grant() });
    router.send({ type: 'assign', task: await assignment() });
    await router.next('ack');
    assert.equal((await router.next('fail')).code, 'BACKEND_FAILED');
    assert.ok(lines.length > 0);
    assert.equal(lines.join('\n').includes(SECRET), false);
  });
});

test('an open session: frames are plain, the result block is canonical JSON', async () => {
  start();
  await welcome();
  router.send({ type: 'session', grant: { sessionId: '0', level: 'open', keyring: null } });
  const plain = toBase64(toUtf8(JSON.stringify(request)));
  const task = await assignment({
    sessionId: '0',
    isPrimary: false,
    request: { seq: 0, isLast: true, data: plain },
  });
  router.send({ type: 'assign', task });
  await router.next('ack');
  await router.next('precommit');
  router.send({ type: 'reveal', taskId: task.taskId });
  const { result } = await router.next('commit');
  assert.equal(
    Buffer.from(result, 'base64').toString('utf8'),
    '{"finishReason":"stop","model":"scripted-1","text":"Four words of answer",' +
      '"usage":{"completionTokens":4,"promptTokens":5}}',
  );
});

function start(
  options: {
    backend?: InferenceBackend;
    embedding?: EmbeddingBackend;
    concurrency?: number;
    journal?: TaskJournal;
    routerUrls?: readonly string[];
  } = {},
): void {
  miner = startMiner({
    routerUrls: options.routerUrls ?? [router.url],
    wallet: WALLET,
    identity: identity.identity,
    backend: options.backend ?? scripted(() => 'Four words of answer'),
    domain: DOMAIN,
    concurrency: options.concurrency ?? 2,
    log: (level, event, fields) => lines.push(JSON.stringify({ level, event, ...fields })),
    waits: WAITS,
    ...(options.journal === undefined ? {} : { journal: options.journal }),
    ...(options.embedding === undefined ? {} : { embedding: options.embedding }),
  });
}

function scripted(answer: (request: ChatRequest) => string): InferenceBackend {
  return openScriptedBackend({ model: MODEL, answer });
}

async function welcome(): Promise<void> {
  await router.next('hello');
  await router.next('proof');
  await router.next('heartbeat');
}

async function grant(readers = [identity.recipient]): Promise<SessionGrant> {
  const wrapped = await wrapKeyring(keyring, readers);
  return { sessionId: SESSION, level: 'sealed', keyring: toBase64(wrapped) };
}

async function assignment(
  changes: Partial<AssignedTask> = {},
  asked: InferenceRequest = request,
): Promise<AssignedTask> {
  const taskId: Hex = `0x${randomBytes(32).toString('hex')}`;
  const sealer = await channel.sealer(taskId, 'client');
  return {
    sessionId: SESSION,
    taskId,
    request: await sealer.seal(toUtf8(JSON.stringify(asked)), true),
    seed: 7,
    isPrimary: true,
    deadlineMs: 5_000,
    ...changes,
  };
}

async function readStream(task: AssignedTask): Promise<{ text: string; frames: number }> {
  const opener = await channel.opener(task.taskId, WALLET.address as Address);
  let text = '';
  let frames = 0;
  while (!opener.isEnded) {
    const { frame } = await router.next('frame');
    frames++;
    const event = JSON.parse(new TextDecoder().decode(await opener.open(frame))) as StreamEvent;
    if (event.type === 'delta') text += event.text;
  }
  return { text, frames };
}

/** A backend that says its first word at once and the rest when the test opens it. */
function gated() {
  const gate = latch();
  const started = latch();
  const aborted = latch();
  const backend: InferenceBackend = {
    model: MODEL,
    features: [],
    async *generate(_request, { signal }) {
      signal.addEventListener('abort', () => aborted.open(), { once: true });
      yield { type: 'delta', text: 'Four' };
      started.open();
      await gate.opened;
      yield { type: 'delta', text: ' words of answer' };
      yield { type: 'end', finishReason: 'stop', usage: { promptTokens: 5, completionTokens: 4 } };
    },
    async close() {},
  };
  return { backend, open: gate.open, started: started.opened, aborted: aborted.opened };
}

function latch(): { opened: Promise<void>; open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

async function* never(): AsyncGenerator<StreamEvent> {
  await new Promise(() => undefined);
  yield { type: 'delta', text: '' };
}
