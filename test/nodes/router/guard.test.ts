import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Wallet } from 'ethers';
import fc from 'fast-check';
import { SiweMessage } from 'siwe';
import { UNRESTRICTED, type ApiKeyConfig } from '../../../domain/config.js';
import type { Address } from '../../../domain/ids.js';
import { scopeOf } from '../../../nodes/router/guard/caller.js';
import { Gate } from '../../../nodes/router/guard/gate.js';
import {
  API_KEY,
  gate as createGate,
  memoryGuardStore,
  SESSION,
  sha256,
  startWorld,
  until,
  viewOf,
  type World,
  type WorldOptions,
} from './support.js';

const key = (name: string, more: Partial<ApiKeyConfig> = {}): ApiKeyConfig => ({
  ...UNRESTRICTED,
  name,
  sha256: sha256(`sk-${name}`),
  ...more,
});
const as = (name: string) => ({ authorization: `Bearer sk-${name}` });

async function start(t: TestContext, options: WorldOptions = {}): Promise<World> {
  const world = await startWorld([{}], options);
  t.after(() => world.close());
  return world;
}

async function refusal(answer: Response): Promise<[number, string]> {
  const { error } = (await answer.json()) as { error: { code: string } };
  return [answer.status, error.code];
}

const PLACE = { headers: { 'x-cortensor-session': SESSION } };

test('a key does what its scopes say, and nothing else', async (t) => {
  const world = await start(t, {
    apiKeys: [
      key('reader', { scopes: ['sessions:read'] }),
      key('talker', { scopes: ['chat'], sessions: [SESSION] }),
      key('watcher', { scopes: ['network:read'] }),
    ],
  });
  world.gateway.views.set(SESSION, viewOf());
  const session = `/api/v1/sessions/${SESSION}`;
  const ask = (path: string, name: string, method = 'GET') =>
    world.ask(path, { method, headers: as(name) });
  assert.equal((await ask(session, 'reader')).status, 200);
  assert.equal((await ask('/api/v1/miners', 'watcher')).status, 200);
  assert.equal((await world.chat('hi', {}, as('talker'))).status, 200);
  assert.equal((await ask('/v1/models', 'talker')).status, 200);
  for (const refused of [
    ask(session, 'talker'),
    ask(session, 'watcher'),
    ask(`${session}/close`, 'reader', 'POST'),
    ask('/api/v1/miners', 'reader'),
    world.chat('hi', {}, { ...as('reader'), ...PLACE.headers }),
  ]) {
    assert.deepEqual(await refusal(await refused), [403, 'KEY_SCOPE']);
  }
});

test('a route that nobody named a scope for still needs one', () => {
  assert.equal(scopeOf('POST', '/api/v1/anything'), 'sessions:write');
  assert.equal(scopeOf('GET', '/api/v1/anything'), 'network:read');
  assert.equal(scopeOf('POST', '/api/v1/sessions/1/tasks'), 'chat');
  assert.equal(scopeOf('POST', '/api/v1/sessions/1/tasks-of-mine'), 'sessions:write');
  assert.equal(scopeOf('HEAD', '/api/v1/sessions/1'), 'sessions:read');
});

test('a key that has expired is no key', async (t) => {
  const at = (ms: number) => new Date(Date.now() + ms).toISOString();
  const world = await start(t, {
    apiKeys: [key('old', { expiresAt: at(-1) }), key('new', { expiresAt: at(60_000) })],
  });
  const models = (name: string) => world.ask('/v1/models', { headers: as(name) });
  assert.deepEqual(await refusal(await models('old')), [401, 'API_KEY_INVALID']);
  assert.equal((await models('new')).status, 200);
});

test('a budget covers the worst case of a task, and outlives the router', async (t) => {
  // 12 tokens are billed a task; its worst case is 64 + 16 + 2 bytes of prompt, and max_tokens.
  const apiKeys = [key('small', { budgetTokens: 110, sessions: [SESSION] })];
  const guardStore = memoryGuardStore();
  const first = await start(t, { apiKeys, guardStore });
  const ask = (world: World) => world.chat('hi', { max_tokens: 10 }, as('small'));
  assert.equal((await ask(first)).status, 200);
  await until(() => first.gateway.ends.length === 1, 'the end');
  assert.equal((await ask(first)).status, 200);
  await first.router.guard.settled();
  const second = await start(t, { apiKeys, guardStore });
  assert.deepEqual(await refusal(await ask(second)), [402, 'KEY_BUDGET_EXHAUSTED']);
  assert.equal(second.gateway.submitted.length, 0);
  assert.equal((await second.chat('hi')).status, 200, 'another key is not held to it');
});

test('tasks under way count against a budget before they are billed', async (t) => {
  const held = createGate();
  const world = await startWorld([{ beforePrecommit: () => held.opened }], {
    apiKeys: [key('small', { budgetTokens: 100, sessions: [SESSION] })],
  });
  t.after(() => world.close());
  const running = world.chat('hi', { max_tokens: 10 }, as('small'));
  await until(() => world.miner(0).said.includes('ack'), 'the task');
  const second = await world.chat('hi', { max_tokens: 10 }, as('small'));
  assert.deepEqual(await refusal(second), [402, 'KEY_BUDGET_EXHAUSTED']);
  held.open();
  assert.equal((await running).status, 200);
});

test('requests beyond a minute’s get 429, when to come back, and OpenAI’s headers', async (t) => {
  const world = await start(t, { apiKeys: [key('slow', { requestsPerMinute: 2 })] });
  const models = (name: string) => world.ask('/v1/models', { headers: as(name) });
  const first = await models('slow');
  assert.equal(first.headers.get('x-ratelimit-limit-requests'), '2');
  assert.equal(first.headers.get('x-ratelimit-remaining-requests'), '1');
  assert.match(first.headers.get('x-ratelimit-reset-requests') ?? '', /^\d+ms$/);
  assert.equal((await models('slow')).status, 200);
  const third = await models('slow');
  assert.equal(third.status, 429);
  const seconds = Number(third.headers.get('retry-after'));
  assert.ok(seconds > 0 && seconds <= 60);
  assert.equal(
    ((await third.json()) as { error: { type: string } }).error.type,
    'rate_limit_error',
  );
  assert.equal((await world.ask('/v1/models')).status, 200, 'another key has its own minute');
});

test('tokens are estimated, then set right by what was billed', async (t) => {
  const world = await start(t, {
    apiKeys: [key('slow', { tokensPerMinute: 100, sessions: [SESSION] })],
  });
  const ask = (maxTokens: number) => world.chat('hello', { max_tokens: maxTokens }, as('slow'));
  const first = await ask(90);
  assert.equal(first.headers.get('x-ratelimit-remaining-tokens'), '8');
  await until(() => world.gateway.ends.length === 1, 'the end');
  const second = await ask(60);
  assert.equal(second.status, 200);
  // 12 were billed for the first; 62 are expected of the second.
  assert.equal(second.headers.get('x-ratelimit-remaining-tokens'), '26');
  await until(() => world.gateway.ends.length === 2, 'the second end');
  const third = await ask(90);
  assert.deepEqual(await refusal(third), [429, 'RATE_LIMITED']);
  assert.equal(world.gateway.submitted.flat().length, 2);
});

test('beyond its places a router lets some wait, and sends the rest away at once', async (t) => {
  const held = createGate();
  const world = await startWorld([{ beforePrecommit: () => held.opened }], {
    limits: { maxConcurrent: 1, maxWaiting: 1, waitMs: 5_000 },
  });
  t.after(() => world.close());
  const running = world.chat('one', { stream: true });
  await until(() => world.router.guard.gate.inside === 1, 'the first');
  const others = [world.chat('two'), world.chat('three')];
  const refused = await Promise.race(others);
  assert.equal(refused.headers.get('retry-after'), '1');
  assert.deepEqual(await refusal(refused), [503, 'ROUTER_BUSY']);
  const health = await fetch(`${world.router.url}/healthz`);
  assert.equal(health.status, 200, 'it is asked how it is all the same');
  held.open();
  await (await running).text();
  const answers = await Promise.all(others);
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200, 503]));
  await until(() => world.router.guard.gate.inside === 0, 'the end');
});

test('a client that goes away leaves its place to the next', async (t) => {
  const held = createGate();
  const world = await startWorld([{ beforePrecommit: () => held.opened }], {
    limits: { maxConcurrent: 1, maxWaiting: 0 },
  });
  t.after(() => world.close());
  const abort = new AbortController();
  const body = { model: 'tiny', messages: [{ role: 'user', content: 'hi' }], stream: true };
  const response = await world.ask('/v1/chat/completions', {
    method: 'POST',
    body: JSON.stringify(body),
    signal: abort.signal,
  });
  await response.body?.getReader().read();
  assert.equal(world.router.guard.gate.inside, 1);
  abort.abort();
  await until(() => world.router.guard.gate.inside === 0, 'the place');
  held.open();
});

test('a gate never holds more than its places, and loses nobody', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 0, max: 4 }),
      fc.array(fc.boolean(), { maxLength: 40 }),
      async (maxConcurrent, maxWaiting, comings) => {
        const door = new Gate({ maxConcurrent, maxWaiting, waitMs: 60_000 });
        const inside: (() => void)[] = [];
        let refused = 0;
        let came = 0;
        for (const comes of comings) {
          if (comes) {
            came++;
            door.enter().then(
              (leave) => inside.push(leave),
              () => refused++,
            );
          } else inside.shift()?.();
          await new Promise((resolve) => setImmediate(resolve));
          assert.ok(door.inside <= maxConcurrent);
          assert.equal(door.inside, inside.length);
        }
        door.drain();
        for (const leave of inside.splice(0)) leave();
        await door.empty(1_000);
        assert.equal(door.inside, 0);
        assert.ok(refused <= came);
        await assert.rejects(door.enter(), { code: 'ROUTER_DRAINING' });
      },
    ),
    { numRuns: 60 },
  );
});

interface Nonce {
  readonly nonce: string;
  readonly chainId: number;
  readonly domains: readonly string[];
}

type Signer = Pick<Wallet, 'address' | 'signMessage'>;

async function nonceOf(world: World): Promise<Nonce> {
  return (await (await fetch(`${world.router.url}/api/v1/auth/nonce`)).json()) as Nonce;
}

async function signIn(
  world: World,
  wallet: Signer,
  more: Partial<SiweMessage> = {},
  signer: Signer = wallet,
): Promise<Response> {
  const { nonce, chainId, domains } = await nonceOf(world);
  const message = new SiweMessage({
    domain: domains[0] ?? '',
    address: wallet.address,
    statement: 'Use my sessions.',
    uri: `https://${domains[0]}`,
    version: '1',
    chainId,
    nonce,
    issuedAt: new Date().toISOString(),
    ...more,
  }).prepareMessage();
  return send(world, message, await signer.signMessage(message));
}

function send(world: World, message: string, signature: string): Promise<Response> {
  return fetch(`${world.router.url}/api/v1/auth/sign-in`, {
    method: 'POST',
    body: JSON.stringify({ message, signature }),
    headers: { 'content-type': 'application/json' },
  });
}

test('a wallet signs in, and uses the sessions that it owns and no other', async (t) => {
  const world = await start(t, { policy: { level: 'open' } });
  const wallet = Wallet.createRandom();
  const [host] = world.router.sessions.all();
  assert.ok(host);
  const owner = wallet.address as Address;
  await world.router.sessions.open({ ...world.lease, owner });
  world.gateway.views.set('4712', viewOf({ owner: world.lease.owner }));
  const answer = await signIn(world, wallet);
  assert.equal(answer.status, 200);
  const { token, address } = (await answer.json()) as { token: string; address: string };
  assert.equal(address, wallet.address);
  const headers = { authorization: `Bearer ${token}` };
  assert.equal((await world.chat('hi', { session_id: SESSION }, headers)).status, 200);
  const foreign = await world.chat('hi', { session_id: '4712' }, headers);
  assert.deepEqual(await refusal(foreign), [401, 'API_KEY_INVALID']);
  for (const path of ['', '/tasks']) {
    const answered = await world.ask(`/api/v1/sessions/4712${path}`, { headers });
    assert.deepEqual(await refusal(answered), [401, 'API_KEY_INVALID']);
  }
  assert.equal((await world.ask(`/api/v1/sessions/${SESSION}/tasks`, { headers })).status, 200);
});

test('a sign-in holds once, for this domain, chain and wallet, and in its time', async (t) => {
  const world = await start(t);
  const wallet = Wallet.createRandom();
  const { nonce } = await nonceOf(world);
  const forged = `${nonce.slice(0, -1)}${nonce.endsWith('0') ? '1' : '0'}`;
  const past = new Date(Date.now() - 1_000).toISOString();
  const future = new Date(Date.now() + 60_000).toISOString();
  const cases: readonly [string, Partial<SiweMessage>, number, string][] = [
    ['another domain', { domain: 'evil.example' }, 400, 'REQUEST_INVALID'],
    ['another chain', { chainId: 1 }, 400, 'REQUEST_INVALID'],
    ['expired', { expirationTime: past }, 400, 'REQUEST_INVALID'],
    ['not yet', { notBefore: future }, 400, 'REQUEST_INVALID'],
    ['its own nonce', { nonce: 'a1b2c3d4e5f6' }, 401, 'SIGNATURE_INVALID'],
    ['a forged nonce', { nonce: forged }, 401, 'SIGNATURE_INVALID'],
  ];
  for (const [name, more, status, code] of cases) {
    assert.deepEqual(await refusal(await signIn(world, wallet, more)), [status, code], name);
  }
  const other = await signIn(world, wallet, {}, Wallet.createRandom());
  assert.deepEqual(await refusal(other), [401, 'SIGNATURE_INVALID']);
  assert.equal((await signIn(world, wallet, { nonce })).status, 200);
  assert.deepEqual(await refusal(await signIn(world, wallet, { nonce })), [
    401,
    'SIGNATURE_INVALID',
  ]);
  assert.deepEqual(await refusal(await send(world, 'let me in', `0x${'11'.repeat(65)}`)), [
    400,
    'REQUEST_INVALID',
  ]);
});

test('a token ends, and no change makes it another wallet’s', async (t) => {
  const world = await start(t, { signIn: { tokenMs: -1 } });
  const answer = await signIn(world, Wallet.createRandom());
  const { token } = (await answer.json()) as { token: string };
  const ask = (bearer: string) =>
    world.ask('/v1/models', { headers: { authorization: `Bearer ${bearer}` } });
  assert.deepEqual(await refusal(await ask(token)), [401, 'API_KEY_INVALID']);
  const [head = '', , mac = ''] = token.split('.');
  const later = `${head}.${(Date.now() + 60_000).toString(36)}.${mac}`;
  assert.deepEqual(await refusal(await ask(later)), [401, 'API_KEY_INVALID']);
});

test('pages of configured origins may call, and read the headers that matter', async (t) => {
  const world = await start(t, { cors: ['https://app.example'] });
  const preflight = (origin: string) =>
    fetch(`${world.router.url}/v1/chat/completions`, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type',
      },
    });
  const allowed = await preflight('https://app.example');
  assert.equal(allowed.status, 204);
  assert.equal(allowed.headers.get('access-control-allow-origin'), 'https://app.example');
  assert.match(allowed.headers.get('access-control-allow-headers') ?? '', /authorization/);
  const foreign = await preflight('https://evil.example');
  assert.equal(foreign.headers.get('access-control-allow-origin'), null);
  const answer = await world.ask('/v1/models', { headers: { origin: 'https://app.example' } });
  assert.match(answer.headers.get('access-control-expose-headers') ?? '', /x-cortensor-task/);
  const refused = await fetch(`${world.router.url}/v1/models`, {
    headers: { origin: 'https://app.example' },
  });
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get('access-control-allow-origin'), 'https://app.example');
});

test('every answer says whose it is, and what the router took before it asked a miner', async (t) => {
  const world = await start(t);
  const given = await world.chat('hi', {}, { 'x-request-id': 'my-request-1' });
  assert.equal(given.headers.get('x-request-id'), 'my-request-1');
  const overhead = Number(given.headers.get('x-cortensor-overhead-ms'));
  assert.ok(overhead > 0 && overhead < 5_000, `${overhead} ms`);
  const made = await fetch(`${world.router.url}/v1/models`, {
    headers: { authorization: `Bearer ${API_KEY}`, 'x-request-id': 'a b' },
  });
  assert.match(made.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
});
