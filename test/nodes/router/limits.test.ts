import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '../../../domain/errors.js';
import type { SessionView } from '../../../domain/session.js';
import { SESSION, startWorld, viewOf, type World } from './support.js';

async function refusal(response: Promise<Response>): Promise<[number, string]> {
  const answer = await response;
  const { error } = (await answer.json()) as { error: { code: string; requestId: string } };
  assert.equal(error.requestId, answer.headers.get('x-request-id'));
  return [answer.status, error.code];
}

test('bad requests get one clear error each, and change nothing', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const raw = (body: BodyInit) => world.ask('/v1/chat/completions', { method: 'POST', body });
  const messages = [{ role: 'user', content: 'hi' }];
  const cases: readonly [string, Promise<Response>, number, string][] = [
    ['unknown model', world.chat('hi', { model: 'huge' }), 404, 'MODEL_UNKNOWN'],
    ['model of no session', world.chat('hi', { model: 'small' }), 404, 'MODEL_UNKNOWN'],
    ['empty prompt', world.chat('  '), 400, 'PROMPT_INVALID'],
    ['no messages', world.chat('', { messages: [] }), 400, 'REQUEST_INVALID'],
    [
      'lone surrogate',
      raw('{"model":"tiny","messages":[{"role":"user","content":"\\ud800"}]}'),
      400,
      'PROMPT_INVALID',
    ],
    ['large prompt', world.chat('x'.repeat(5_000)), 413, 'PROMPT_TOO_LARGE'],
    ['large body', raw('x'.repeat(70_000)), 413, 'PROMPT_TOO_LARGE'],
    ['not UTF-8', raw(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])), 400, 'PROMPT_INVALID'],
    ['not JSON', raw('{'), 400, 'REQUEST_INVALID'],
    ['no tool', world.chat('hi', { tools: [{}] }), 400, 'REQUEST_INVALID'],
    ['two choices', world.chat('hi', { n: 2 }), 400, 'FEATURE_UNSUPPORTED'],
    ['too many tokens', world.chat('hi', { max_tokens: 5_000 }), 400, 'REQUEST_INVALID'],
    ['bad session id', world.chat('hi', { session_id: '-1' }), 400, 'REQUEST_INVALID'],
    ['session of another key', world.chat('hi', { session_id: '4712' }), 401, 'API_KEY_INVALID'],
    ['unknown path', world.ask('/v2/nothing'), 404, 'REQUEST_INVALID'],
    [
      'wrong key',
      world.ask('/v1/chat/completions', {
        method: 'POST',
        body: JSON.stringify({ model: 'tiny', messages }),
        headers: { authorization: 'Bearer sk-wrong' },
      }),
      401,
      'API_KEY_INVALID',
    ],
    ['no key', world.ask('/v1/models', { headers: { authorization: '' } }), 401, 'API_KEY_INVALID'],
  ];
  for (const [name, response, status, code] of cases) {
    assert.deepEqual(await refusal(response), [status, code], name);
  }
  assert.equal(world.gateway.submitted.length, 0);
  assert.ok(!world.miner(0).heard.some(({ type }) => type === 'assign'));
});

test('a body that grows beyond the limit without saying so is cut short', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  let sent = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (sent++ > 100) controller.close();
      else controller.enqueue(new Uint8Array(1_024).fill(0x20));
    },
  });
  const response = world.ask('/v1/chat/completions', {
    method: 'POST',
    body,
    duplex: 'half',
  } as RequestInit);
  assert.deepEqual(await refusal(response), [413, 'PROMPT_TOO_LARGE']);
});

test('a sealed session refuses plain requests, and names the SDK', async (t) => {
  const world = await startWorld([{}], { policy: { level: 'sealed' } });
  t.after(() => world.close());
  const response = await world.chat('hi');
  assert.equal(response.status, 409);
  const { error } = (await response.json()) as { error: { code: string; message: string } };
  assert.equal(error.code, 'SESSION_SEALED');
  assert.match(error.message, /SDK/);
});

test('too few connected miners are an error that passes, before anything is recorded', async (t) => {
  const world = await startWorld([{}, {}, {}], { policy: { redundancy: 3 }, absent: 2 });
  t.after(() => world.close());
  assert.deepEqual(await refusal(world.chat('hi')), [503, 'NO_MINERS']);
  assert.equal(world.gateway.submitted.length, 0);
});

test('a session that the budget refuses gets no tokens for its next request', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  world.gateway.refusal = 'BUDGET_EXHAUSTED';
  assert.deepEqual(await refusal(world.chat('one')), [402, 'BUDGET_EXHAUSTED']);
  const assigned = () => world.miner(0).heard.filter(({ type }) => type === 'assign').length;
  assert.equal(assigned(), 1);
  assert.deepEqual(await refusal(world.chat('two', { stream: true })), [402, 'BUDGET_EXHAUSTED']);
  assert.equal(assigned(), 1);
  world.gateway.refusal = null;
  assert.equal((await world.chat('three')).status, 200);
  assert.equal(world.gateway.ends.length, 1);
});

test('an unknown error tells the caller nothing but its number', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  world.gateway.tasks = async () => {
    throw new Error('secret of the inside');
  };
  const response = await world.ask(`/api/v1/sessions/${SESSION}/tasks`);
  const text = await response.text();
  assert.equal(response.status, 500);
  assert.ok(!text.includes('secret'));
  assert.match(text, /INTERNAL/);
});

test('a session that is not held here is claimed, and its state is told apart', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const [host] = world.router.sessions.all();
  assert.ok(host);
  await world.router.sessions.release(host, 0);
  assert.deepEqual(await refusal(world.chat('hi')), [404, 'SESSION_NOT_FOUND']);
  const view = (state: SessionView['state']) => world.gateway.views.set(SESSION, viewOf({ state }));
  view('Closing');
  assert.deepEqual(await refusal(world.chat('hi')), [409, 'SESSION_NOT_OPEN']);
  view('Open');
  world.gateway.onClaim = () => 'router:another';
  // As from another router, so that it is looked for here alone.
  const relayed = { 'x-cortensor-relay': 'router-1' };
  assert.deepEqual(await refusal(world.chat('hi', {}, relayed)), [503, 'ROUTER_LEASE_LOST']);
  world.gateway.onClaim = (taskQueue) => {
    assert.equal(taskQueue, 'router:router-1');
    void world.router.sessions.open(world.lease);
    return taskQueue;
  };
  assert.equal((await world.chat('hi')).status, 200);
});

test('updates are tried again until they are answered', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  let failures = 2;
  world.gateway.beforeSubmit = failSometimes;
  world.gateway.beforeComplete = failSometimes;
  async function failSometimes(): Promise<void> {
    if (failures-- > 0) throw new EngineError('TEMPORAL_UNREACHABLE');
  }
  assert.equal((await world.chat('hi')).status, 200);
  const [first, ...again] = world.gateway.submitted.filter((tasks) => tasks.length > 0);
  for (const batch of again) assert.deepEqual(batch, first);
  assert.equal(world.gateway.ends.length, 1);
});

test('liveness and the network need no key', async (t) => {
  const world: World = await startWorld([{}]);
  t.after(() => world.close());
  const health = await fetch(`${world.router.url}/healthz`);
  assert.deepEqual(await health.json(), { status: 'ok', miners: 1, sessions: 1 });
  const network = await fetch(`${world.router.url}/api/v1/network`);
  assert.equal(((await network.json()) as { chainId: number }).chainId, 31_337);
});
