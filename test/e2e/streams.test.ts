/**
 * Streams that survive: miners that die at a random token, routers that are stopped and started again
 * under load, and routers that die, behind a balancer that knows nothing of all this.
 * `CORTENSOR_KILLS` makes the campaign longer.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import OpenAI from 'openai';
import { taskIdOf } from '../../adapters/seal/task-id.js';
import type { SessionHandle } from '../../sdk/index.js';
import { answerTo, TOKENS } from './streams/answer.js';
import { startStreamNetwork, type StreamNetwork } from './streams/network.js';
import { readWire } from './streams/wire.js';

const KILLS = Number(process.env['CORTENSOR_KILLS'] ?? 20);
const CLIENTS = 6;
const LEVELS = ['open', 'link', 'sealed'] as const;
const KINDS = ['socket', 'process'] as const;

const stops: (() => Promise<unknown>)[] = [];
let network: StreamNetwork;
before(async () => {
  network = await startStreamNetwork({}, (stop) => stops.push(stop));
});
after(async () => {
  for (const stop of stops.toReversed()) await stop();
});

/** As anybody's client asks: no second attempt by itself. */
function openai(baseUrl: string): OpenAI {
  return new OpenAI({ baseURL: `${baseUrl}/v1`, apiKey: network.apiKey, maxRetries: 0 });
}

async function askStreamed(client: OpenAI, session: SessionHandle, prompt: string, key: string) {
  const pieces: string[] = [];
  const stream = await client.chat.completions.create(
    {
      model: network.model,
      messages: [{ role: 'user', content: prompt }],
      max_tokens: 64,
      stream: true,
    },
    { headers: { 'x-cortensor-session': session.id, 'idempotency-key': key } },
  );
  let finished: string | null = null;
  for await (const { choices } of stream) {
    pieces.push(choices[0]?.delta.content ?? '');
    finished = choices[0]?.finish_reason ?? finished;
  }
  assert.equal(finished, 'stop', 'a whole answer');
  return pieces;
}

test(`of answers whose miner died at a random token, each is whole, and is billed once`, async (t) => {
  const sessions = await Promise.all(
    LEVELS.flatMap((level) =>
      [1, 3].map(async (redundancy) => ({
        level,
        redundancy,
        session: await network.openSession({ level, redundancy }),
      })),
    ),
  );
  const client = openai(network.url(0));
  const asked = new Map<SessionHandle, string[]>();
  const longest: number[] = [];
  for (let i = 0; i < KILLS; i++) {
    const { session, level } = sessions[i % sessions.length] ?? assert.fail();
    const kind = KINDS[Math.floor(i / sessions.length) % KINDS.length];
    const at = Math.floor(Math.random() * (TOKENS + 1));
    const key = `kill-${i}`;
    const prompt = `die ${at} ${kind} ${key}`;
    const startedAt = performance.now();
    let pieces: string[] = [];
    if (level === 'sealed') {
      const messages = [{ role: 'user', content: prompt }] as const;
      const ask = session.ask({ messages, maxTokens: 64 }, { idempotencyKey: key });
      for await (const piece of ask) pieces.push(piece);
      assert.equal((await ask.done).text, answerTo(prompt), `${level} ${prompt}`);
    } else {
      pieces = await askStreamed(client, session, prompt, key);
    }
    assert.equal(pieces.join(''), answerTo(prompt), `${level} ${prompt}`);
    longest.push(performance.now() - startedAt);
    asked.set(session, [...(asked.get(session) ?? []), key]);
    if (kind === 'process' || i % 10 === 9) await network.untilMinersAreBack();
  }
  let billed = 0;
  for (const [session, keys] of asked) {
    const records = await network.records(session.id);
    for (const key of keys) {
      const taskId = await taskIdOf(session.id, key);
      const own = records.filter((record) => record.taskId === taskId);
      assert.equal(own.length, 1, `${key} is one task`);
      assert.equal(own[0]?.outcome, 'completed');
      assert.equal(own[0]?.usage?.completionTokens, TOKENS);
      billed++;
    }
    assert.equal(records.length, keys.length, 'nothing else was taken on');
    const charged = records.reduce((sum, { chargeWei }) => sum + BigInt(chargeWei), 0n);
    const { budget } = await network.gateway.view(session.id);
    assert.equal(budget.chargedWei, String(charged), 'the bill is the sum of the tasks');
  }
  const slowest = Math.max(...longest).toFixed(0);
  t.diagnostic(
    `${KILLS} miners killed: ${KILLS} answers whole and identical, ${billed} billed once; slowest ${slowest} ms`,
  );
});

/** Clients that ask one request after the other, streamed and whole by turns, until they are stopped. */
function startLoad(baseUrl: string, sessions: readonly SessionHandle[]) {
  let isOver = false;
  const failures: string[] = [];
  let answered = 0;
  const run = async (number: number) => {
    const client = openai(baseUrl);
    const session = sessions[number % sessions.length] ?? assert.fail();
    for (let i = 0; !isOver; i++) {
      const prompt = `client ${number} request ${i}`;
      try {
        if (i % 2 === 0) {
          const pieces = await askStreamed(client, session, prompt, prompt);
          assert.equal(pieces.join(''), answerTo(prompt));
        } else {
          const whole = await client.chat.completions.create(
            { model: network.model, messages: [{ role: 'user', content: prompt }], max_tokens: 64 },
            { headers: { 'x-cortensor-session': session.id } },
          );
          assert.equal(whole.choices[0]?.message.content, answerTo(prompt));
        }
        answered++;
      } catch (error) {
        failures.push(`${prompt}: ${String(error)}`);
        await delay(200);
      }
    }
  };
  const clients = Array.from({ length: CLIENTS }, (_, number) => run(number));
  return {
    failures,
    answered: () => answered,
    /** Waits for so many more answers. */
    async more(count: number) {
      const goal = answered + count;
      for (const deadline = Date.now() + 60_000; answered < goal; await delay(20)) {
        if (Date.now() > deadline) assert.fail(`no answers any more: ${failures.join('\n')}`);
      }
    },
    async stop() {
      isOver = true;
      await Promise.all(clients);
    },
  };
}

test('of requests under way while two routers are restarted in turn, none fails', async (t) => {
  const sessions = await Promise.all(
    (['open', 'link'] as const).map((level) => network.openSession({ level, redundancy: 1 })),
  );
  const load = startLoad(network.balancer.url, sessions);
  await load.more(CLIENTS * 3);
  for (const router of [0, 1]) {
    assert.equal(await network.stopRouter(router, 'SIGTERM'), 0);
    await load.more(CLIENTS * 2);
    await network.startRouter(router);
    await network.untilMinersAreBack();
    await load.more(CLIENTS * 2);
  }
  await load.stop();
  t.diagnostic(`${load.answered()} answers, ${load.failures.length} failed`);
  assert.deepEqual(load.failures, []);
});

test('a stream whose router was killed goes on at another router where it stopped', async () => {
  const session = await network.openSession({ level: 'link', redundancy: 1 });
  const body = JSON.stringify({
    model: network.model,
    messages: [{ role: 'user', content: 'on another router' }],
    max_tokens: 64,
    stream: true,
  });
  const headers = { 'x-cortensor-session': session.id, 'idempotency-key': 'resumed' };
  const path = '/v1/chat/completions';
  const ask = { method: 'POST', body, headers };
  const half = (text: string) => text.split(' ').length > TOKENS / 2;
  const first = await readWire(network.url(0) + path, network.apiKey, ask, half);
  assert.ok(!first.isWhole && first.text !== '');
  // Another reader comes to the router that does not hold the session, and is let through.
  const through = readWire(
    `${network.url(1)}/api/v1/sessions/${session.id}/tasks/${first.taskId}/answer`,
    network.apiKey,
    {},
  );
  await network.stopRouter(0, 'SIGKILL');
  const rest = await readWire(network.url(1) + path, network.apiKey, {
    ...ask,
    headers: { ...headers, 'last-event-id': first.lastEventId },
  });
  assert.equal(first.text + rest.text, answerTo('on another router'));
  assert.ok(rest.isWhole);
  const relayed = await through;
  assert.equal(relayed.text, answerTo('on another router'), 'the relayed stream goes on by itself');
  assert.ok(relayed.isWhole);
  const records = await network.records(session.id);
  assert.deepEqual(
    records.map(({ outcome, usage }) => [outcome, usage?.completionTokens]),
    [['completed', TOKENS]],
  );
  await network.startRouter(0);
  await network.untilMinersAreBack();
  const again = await readWire(
    `${network.url(0)}/api/v1/sessions/${session.id}/tasks/${first.taskId}/answer`,
    network.apiKey,
    { headers: { 'last-event-id': first.lastEventId } },
  );
  assert.equal(first.text + again.text, answerTo('on another router'), 'also long after its end');
});
