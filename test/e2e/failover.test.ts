/**
 * Clients that know two routers, while these are killed and stopped in turn: nothing that was
 * acknowledged is lost, every answer is whole, and each is billed once. `CORTENSOR_DEATHS` and
 * `CORTENSOR_CLIENTS` make the campaign longer and wider.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Wallet } from 'ethers';
import { createIdentity } from '../../adapters/seal/identity.js';
import { taskIdOf } from '../../adapters/seal/task-id.js';
import type { SealingLevel } from '../../domain/sealing.js';
import { CortensorClient, EngineError, type SessionHandle } from '../../sdk/index.js';
import { answerTo, TOKENS } from './streams/answer.js';
import { startStreamNetwork, type StreamNetwork } from './streams/network.js';
import { readWire } from './streams/wire.js';

const DEATHS = Number(process.env['CORTENSOR_DEATHS'] ?? 2);
const CLIENTS = Number(process.env['CORTENSOR_CLIENTS'] ?? 12);
const SIGNALS = ['SIGKILL', 'SIGTERM'] as const;
const PATIENCE_MS = 120_000;
const PATH = '/v1/chat/completions';

const stops: (() => Promise<unknown>)[] = [];
let network: StreamNetwork;
before(async () => {
  network = await startStreamNetwork({}, (stop) => stops.push(stop));
});
after(async () => {
  for (const stop of stops.toReversed()) await stop();
});

async function openSession(level: SealingLevel): Promise<SessionHandle> {
  const { identity } = await createIdentity();
  const { apiKey, model } = network;
  const urls = [network.url(1)];
  const client = new CortensorClient({ baseUrl: network.url(0), urls, apiKey, identity });
  return await client.openSession({
    signer: Wallet.createRandom(),
    policy: { model, level, redundancy: 1, priceCeilingWei: String(10n ** 12n), maxTasks: 10_000 },
    depositWei: 10n ** 21n,
  });
}

/** Puts a request, tells when it has begun to be answered, and gives the whole answer. */
type Ask = (
  session: SessionHandle,
  prompt: string,
  key: string,
  begun: () => void,
) => Promise<string>;

const throughSdk: Ask = async (session, prompt, key, begun) => {
  const answer = session.ask(prompt, { idempotencyKey: key });
  let text = '';
  for await (const piece of answer) {
    text += piece;
    begun();
  }
  assert.equal((await answer.done).text, text);
  return text;
};

/** As any OpenAI client with a list of routers would: the same key, and the last event it has. */
const overTheWire: Ask = async (session, prompt, key, begun) => {
  let text = '';
  let lastEventId = '';
  const body = JSON.stringify({
    model: network.model,
    messages: [{ role: 'user', content: prompt }],
    max_tokens: 64,
    stream: true,
  });
  const headers = { 'x-cortensor-session': session.id, 'idempotency-key': key };
  const deadline = Date.now() + PATIENCE_MS;
  for (let router = 0; ; router = 1 - router) {
    const place = lastEventId === '' ? {} : { 'last-event-id': lastEventId };
    const init = { method: 'POST', body, headers: { ...headers, ...place } };
    const enough = (said: string) => (said !== '' && begun(), false);
    const url = network.url(router) + PATH;
    const read = await readWire(url, network.apiKey, init, enough).catch(async (error: unknown) => {
      // Not there, or not yet.
      if (Date.now() > deadline) throw error;
      await delay(250);
      return null;
    });
    if (read === null) continue;
    text += read.text;
    lastEventId = read.lastEventId || lastEventId;
    if (read.isWhole) return text;
    assert.ok(Date.now() < deadline, `${key} was not answered in time`);
  }
};

/** Asks again what may be asked again. */
async function patiently<T>(deadline: number, ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const isPassing = error instanceof EngineError && error.retryable;
      if (!isPassing || Date.now() > deadline) throw error;
      await delay(100);
    }
  }
}

/** Nobody waits on a connection: what was acknowledged comes to its end by itself. */
const delegated: Ask = async (session, prompt, key, begun) => {
  const job = { goal: prompt, maxTokens: 64 };
  const deadline = Date.now() + PATIENCE_MS;
  const { taskId } = await patiently(deadline, () =>
    session.delegate(job, { idempotencyKey: key }),
  );
  begun();
  for (; Date.now() < deadline; await delay(1_000)) {
    const { outcome, outputs } = await patiently(deadline, () => session.task(taskId, 'outputs'));
    if (outcome === null) continue;
    assert.equal(outcome, 'completed', key);
    const plain = outputs[0]?.plain ?? null;
    return plain !== null && 'text' in plain ? plain.text : '';
  }
  throw new Error(`${key} did not end in time`);
};

const KINDS = [
  { level: 'open', ask: throughSdk },
  { level: 'link', ask: overTheWire },
  { level: 'sealed', ask: throughSdk },
  { level: 'link', ask: delegated },
] as const;

test('of requests under way while their router dies, none is lost, and none is paid twice', async (t) => {
  const kinds = await Promise.all(
    KINDS.map(async (kind) => ({ ...kind, session: await openSession(kind.level) })),
  );
  const keys = new Map<SessionHandle, string[]>(kinds.map(({ session }) => [session, []]));
  let slowestMs = 0;
  for (let round = 0; round < DEATHS; round++) {
    let begun = 0;
    const startedAt = performance.now();
    const asking = Array.from({ length: CLIENTS }, async (_, number) => {
      const { session, ask } = kinds[number % kinds.length] ?? assert.fail();
      const key = `round ${round} client ${number}`;
      keys.get(session)?.push(key);
      let isBegun = false;
      const answer = await ask(session, key, key, () => {
        if (!isBegun) begun++;
        isBegun = true;
      });
      assert.equal(answer, answerTo(key), `${key}: the whole answer, nothing twice`);
      slowestMs = Math.max(slowestMs, performance.now() - startedAt);
    });
    const all = Promise.all(asking);
    all.catch(() => undefined);
    const deadline = Date.now() + PATIENCE_MS;
    while (begun < CLIENTS / 2) {
      assert.ok(Date.now() < deadline, `${begun} of ${CLIENTS} have begun`);
      await Promise.race([delay(5), all]);
    }
    // Both routers are killed, and both stopped.
    const router = round % 2;
    await network.stopRouter(router, SIGNALS[Math.floor(round / 2) % 2 === round % 2 ? 0 : 1]);
    await all;
    await network.startRouter(router);
    await network.untilMinersAreBack();
  }

  let billed = 0;
  for (const [session, asked] of keys) {
    const records = await network.records(session.id);
    for (const key of asked) {
      const taskId = await taskIdOf(session.id, key);
      const own = records.filter((record) => record.taskId === taskId);
      assert.deepEqual(
        own.map(({ outcome, usage }) => [outcome, usage?.completionTokens]),
        [['completed', TOKENS]],
        key,
      );
      billed++;
    }
    assert.equal(records.length, asked.length, 'nothing else was taken on');
    const charged = records.reduce((sum, { chargeWei }) => sum + BigInt(chargeWei), 0n);
    const { budget } = await network.gateway.view(session.id);
    assert.equal(budget.chargedWei, String(charged), 'the bill is the sum of the tasks');
    assert.equal(budget.reservedWei, '0');
  }
  assert.equal(billed, DEATHS * CLIENTS);
  t.diagnostic(
    `${DEATHS} routers died under ${CLIENTS} clients: ${billed} answers whole, ${billed} billed once; ` +
      `slowest ${slowestMs.toFixed(0)} ms`,
  );
});
