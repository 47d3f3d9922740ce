/** One miner at several routers: a connection to each, and one desk behind them all. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Wallet } from 'ethers';
import type { InferenceBackend } from '../../../adapters/model/backend.js';
import { toBase64, toUtf8 } from '../../../adapters/seal/bytes.js';
import { createIdentity } from '../../../adapters/seal/identity.js';
import { signingDomain } from '../../../domain/attestation.js';
import type { TaskId } from '../../../domain/ids.js';
import type { AssignedTask } from '../../../domain/wire.js';
import { startMiner } from '../../../nodes/miner/miner.js';
import { ScriptedRouter } from './scripted-router.js';

const MODEL = 'held';
const CONCURRENCY = 2;

/** A model that says one token, and the rest when it is told to. */
class HeldModel implements InferenceBackend {
  readonly model = MODEL;
  readonly features = [];
  running = 0;
  most = 0;
  generations = 0;
  readonly #waiting: (() => void)[] = [];
  #isOpen = false;

  async *generate(): ReturnType<InferenceBackend['generate']> {
    this.generations++;
    this.most = Math.max(this.most, ++this.running);
    try {
      yield { type: 'delta', text: 'first' };
      if (!this.#isOpen) await new Promise<void>((resolve) => this.#waiting.push(resolve));
      yield { type: 'delta', text: ' second' };
      const usage = { promptTokens: 1, completionTokens: 2 };
      yield { type: 'end', finishReason: 'stop', usage };
    } finally {
      this.running--;
    }
  }

  /** Lets all go on, and whatever comes later. */
  release(): void {
    this.#isOpen = true;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async close(): Promise<void> {}
}

async function start(t: TestContext, urlsOf: (routers: ScriptedRouter[]) => string[]) {
  const routers = [await ScriptedRouter.listen(), await ScriptedRouter.listen()] as const;
  const model = new HeldModel();
  const lines: string[] = [];
  const miner = startMiner({
    routerUrls: urlsOf([...routers]),
    wallet: new Wallet(`0x${'11'.repeat(32)}`),
    identity: (await createIdentity()).identity,
    backend: model,
    domain: signingDomain(31_337, '0x00000000000000000000000000000000000000aa'),
    concurrency: CONCURRENCY,
    log: (_level, event, fields) => lines.push(JSON.stringify({ event, ...fields })),
    waits: { firstMs: 5, mostMs: 20, unregisteredMs: 5 },
  });
  t.after(async () => {
    await miner.close();
    await Promise.all(routers.map((router) => router.close()));
  });
  return { routers, model, lines, miner };
}

const all = (routers: ScriptedRouter[]) => routers.map(({ url }) => url);

async function welcome(router: ScriptedRouter): Promise<void> {
  await router.next('hello');
  await router.next('proof');
  await router.next('heartbeat');
  router.send({ type: 'session', grant: { sessionId: '0', level: 'open', keyring: null } });
}

function task(taskId: TaskId = `0x${randomBytes(32).toString('hex')}`): AssignedTask {
  const request = {
    model: MODEL,
    messages: [{ role: 'user', content: 'hi' }],
    maxTokens: 8,
    temperature: 0,
    topP: 1,
  };
  const data = toBase64(toUtf8(JSON.stringify(request)));
  return {
    sessionId: '0',
    taskId,
    request: { seq: 0, isLast: true, data },
    seed: 1,
    isPrimary: true,
    deadlineMs: 60_000,
  };
}

async function until(isSo: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 30_000; !isSo(); await delay(5)) {
    assert.ok(Date.now() < deadline, 'not in time');
  }
}

const textOf = (frame: { readonly data: string }) =>
  (JSON.parse(Buffer.from(frame.data, 'base64').toString('utf8')) as { text?: string }).text;

test('it is at all of them at once, and what one does leaves the others alone', async (t) => {
  const { routers, lines } = await start(t, all);
  const [a, b] = routers;
  await Promise.all([welcome(a), welcome(b)]);
  a.refusal = 'ROUTER_DRAINING';
  a.cut();
  await a.next('hello');
  await a.next('proof');
  a.refusal = null;
  await welcome(a);
  await b.settle();
  assert.equal(b.connections, 1);
  assert.ok(
    lines.some((line) => line.includes('"ROUTER_DRAINING"') && line.includes(`:${a.port}`)),
  );
});

test('a task that a second router assigns goes on there from its first token, as one generation', async (t) => {
  const { routers, model } = await start(t, all);
  const [a, b] = routers;
  await Promise.all([welcome(a), welcome(b)]);
  const assigned = task();
  a.send({ type: 'assign', task: assigned });
  await a.next('ack');
  assert.equal(textOf((await a.next('frame')).frame), 'first');
  await a.close();

  b.send({ type: 'assign', task: assigned });
  await b.next('ack');
  assert.equal(textOf((await b.next('frame')).frame), 'first');
  model.release();
  assert.equal(textOf((await b.next('frame')).frame), ' second');
  await b.next('frame');
  const { precommitment } = await b.next('precommit');
  b.send({ type: 'reveal', taskId: assigned.taskId });
  assert.equal((await b.next('commit')).commitment.taskId, precommitment.taskId);
  assert.equal(model.generations, 1);
});

test('a router that lost a task to another one neither ends it nor sees what it came to', async (t) => {
  const { routers, model } = await start(t, all);
  const [a, b] = routers;
  await Promise.all([welcome(a), welcome(b)]);
  const assigned = task();
  const { taskId } = assigned;
  a.send({ type: 'assign', task: assigned });
  await a.next('ack');
  await a.next('frame');
  b.send({ type: 'assign', task: assigned });
  await b.next('ack');
  await b.next('frame');

  a.send({ type: 'cancel', taskId });
  a.send({ type: 'reveal', taskId });
  await a.settle();
  model.release();
  await b.next('frame');
  await b.next('frame');
  await b.next('precommit');
  a.send({ type: 'reveal', taskId });
  await a.settle();
  assert.ok(a.received.every(({ type }) => type !== 'precommit' && type !== 'commit'));
  b.send({ type: 'reveal', taskId });
  await b.next('commit');
});

test('all of them together get no more of it than it has, and each hears of the work of the other', async (t) => {
  const { routers, model } = await start(t, all);
  await Promise.all(routers.map(welcome));
  const [a, b] = routers;
  const tasks = Array.from({ length: 4 * CONCURRENCY }, () => task());
  tasks.forEach((assigned, i) => (i % 2 === 0 ? a : b).send({ type: 'assign', task: assigned }));
  await Promise.all([a.settle(), b.settle()]);
  const loads = routers.map(({ received }) => received.findLast((m) => m.type === 'heartbeat'));
  assert.deepEqual(
    loads.map((beat) => beat?.type === 'heartbeat' && beat.load),
    [tasks.length, tasks.length],
  );
  assert.equal(model.running, CONCURRENCY);
  model.release();
  const received = () => [...a.received, ...b.received];
  await until(() => received().filter(({ type }) => type === 'precommit').length === tasks.length);
  assert.equal(model.most, CONCURRENCY);
  assert.equal(model.generations, tasks.length);
});

test('two names of one router are one connection, by URL and by what it calls itself', async (t) => {
  const { routers, lines } = await start(t, ([a, b]) => {
    assert.ok(a !== undefined && b !== undefined);
    b.routerId = a.routerId;
    return [a.url, `${a.url}/`, b.url];
  });
  const [a, b] = routers;
  // Whichever was first; the other is tried again until it calls itself something else.
  const proofs = () => [...a.received, ...b.received].filter(({ type }) => type === 'proof').length;
  const refusals = () => lines.filter((line) => line.includes('"USAGE"')).length;
  await until(() => proofs() === 1 && refusals() >= 3);
  b.routerId = 'another';
  a.routerId = 'one';
  await until(() => proofs() === 2);
  await Promise.all([a.settle(), b.settle()]);
  assert.equal(proofs(), 2);
});
