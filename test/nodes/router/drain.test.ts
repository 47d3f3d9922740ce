import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { API_KEY, gate, startWorld, until } from './support.js';

test('a router that drains says so, serves who comes still, and then listens no more', async (t) => {
  const held = gate();
  const world = await startWorld([{ beforePrecommit: () => held.opened }]);
  t.after(() => world.close());
  const running = await world.chat('one two', { stream: true });
  const drained = world.router.drain();
  const health = await fetch(`${world.router.url}/healthz`);
  assert.equal(health.status, 503);
  assert.equal(((await health.json()) as { status: string }).status, 'draining');
  const late = await world.chat('three', { stream: true });
  assert.equal(late.status, 200);
  assert.equal(late.headers.get('connection'), 'close');
  await drained;
  await assert.rejects(fetch(`${world.router.url}/healthz`));
  const closed = world.router.close(10_000);
  held.open();
  for (const stream of [running, late]) {
    assert.ok((await stream.text()).endsWith('data: [DONE]\n\n'));
  }
  await closed;
});

const CLIENTS = 8;
const WORDS = 'one two three four five six';

test('of requests that hammer two routers, none fails when one of them is stopped', async (t) => {
  const first = await startProcess(t);
  const second = await startProcess(t);
  let isOver = false;
  let answered = 0;
  let moved = 0;
  const client = async (name: number) => {
    // As a balancer does it: the first that is there, the other when it is not.
    for (let i = 0; !isOver; i++) {
      const key = `client ${name} request ${i}`;
      let text = await ask(first.url, key);
      if (text === null) {
        moved++;
        text = await ask(second.url, key);
      }
      assert.ok(text?.endsWith('data: [DONE]\n\n'), `${key}: ${text}`);
      answered++;
    }
  };
  const clients = Promise.all(Array.from({ length: CLIENTS }, (_, name) => client(name)));
  await Promise.race([clients, until(() => answered > CLIENTS * 3, 'answers', 60_000)]);
  const exited = once(first.process, 'exit');
  first.process.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);
  // Some that come after the exit were given before it; those that went on to the other count.
  await Promise.race([clients, until(() => moved > CLIENTS * 2, 'answers of the other', 60_000)]);
  isOver = true;
  await clients;
});

/** @returns the whole stream; `null` when the router did not take the request on.
 * @throws when it took it on, and broke it off. */
async function ask(url: string, idempotencyKey: string): Promise<string | null> {
  const body = { model: 'tiny', messages: [{ role: 'user', content: WORDS }], stream: true };
  let response: Response;
  try {
    response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: {
        authorization: `Bearer ${API_KEY}`,
        'content-type': 'application/json',
        'idempotency-key': idempotencyKey,
      },
      signal: AbortSignal.timeout(60_000),
    });
  } catch {
    // Nothing of an answer came: it is not there any more.
    return null;
  }
  const text = await response.text();
  if (response.status === 200) return text;
  assert.match(text, /ROUTER_DRAINING/);
  return null;
}

async function startProcess(
  t: TestContext,
): Promise<{ readonly url: string; readonly process: ChildProcess }> {
  const child = fork(fileURLToPath(new URL('router-process.js', import.meta.url)));
  t.after(() => child.kill('SIGKILL'));
  const [url] = (await once(child, 'message')) as [string];
  return { url, process: child };
}
