/** A client of several routers: which one is asked, and when the next. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '../../domain/errors.js';
import { RouterHttp } from '../../sdk/http.js';

interface Call {
  readonly host: string;
  readonly path: string;
  readonly after: string | null;
}

type Answerer = (call: Call) => Response;

const gone = (): never => {
  throw new TypeError('fetch failed');
};
const refusal = (code: string) => () => Response.json({ error: { code } }, { status: 503 });
const fine = () => Response.json({ ok: true });

/** Events by their numbers; a stream that is cut breaks instead of ending. */
function stream(ids: readonly number[], isCut = false): Response {
  const wire = ids.map((id) => `id: ${id}\ndata: piece ${id}\n\n`).join('');
  const chunks = [new TextEncoder().encode(wire)];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const chunk = chunks.shift();
      if (chunk !== undefined) controller.enqueue(chunk);
      else if (isCut) controller.error(new TypeError('terminated'));
      else controller.close();
    },
  });
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
}

/** Two routers, `a` and `b`. */
function routers(a: Answerer, b: Answerer) {
  const calls: Call[] = [];
  const http = new RouterHttp({
    baseUrl: 'http://a',
    urls: ['http://b', 'http://a'],
    apiKey: 'sk-test',
    fetch: async (input, init) => {
      const { host, pathname } = new URL(input instanceof Request ? input.url : input);
      const call = { host, path: pathname, after: new Headers(init?.headers).get('last-event-id') };
      calls.push(call);
      return (host === 'a' ? a : b)(call);
    },
  });
  return { http, calls, hosts: () => calls.map(({ host }) => host).join('') };
}

const isCode = (code: string) => (error: unknown) =>
  error instanceof EngineError && error.code === code;

test('a router that is gone is left for the next, which is kept to', async () => {
  const { http, hosts } = routers(gone, fine);
  assert.deepEqual(await http.json('/api/v1/network'), { ok: true });
  await http.json('/api/v1/network');
  assert.equal(hosts(), 'abb');
});

for (const code of ['ROUTER_DRAINING', 'ROUTER_BUSY', 'ROUTER_LEASE_LOST']) {
  test(`what a router refuses as ${code} is put to the next, whatever it is`, async () => {
    const { http, hosts } = routers(refusal(code), fine);
    await http.json('/api/v1/sources', { method: 'POST', body: {} });
    assert.equal(hosts(), 'ab');
  });
}

test('when no router answers, each was asked once', async () => {
  const { http, hosts } = routers(gone, refusal('ROUTER_DRAINING'));
  await assert.rejects(http.json('/api/v1/network'), isCode('ROUTER_DRAINING'));
  assert.equal(hosts(), 'ab');
});

test('an error that is no router’s fault is not asked about elsewhere', async () => {
  const { http, hosts } = routers(refusal('BUDGET_EXHAUSTED'), fine);
  await assert.rejects(http.json('/api/v1/network'), isCode('BUDGET_EXHAUSTED'));
  assert.equal(hosts(), 'a');
});

test('what may have arrived is put again only where twice is once', async () => {
  const post = { method: 'POST', body: {} } as const;
  const unnamed = routers(gone, fine);
  await assert.rejects(unnamed.http.json('/api/v1/sources', post), isCode('ROUTER_UNREACHABLE'));
  await unnamed.http.json('/api/v1/network');
  assert.equal(unnamed.hosts(), 'ab');

  const order = routers(gone, fine);
  await order.http.json('/api/v1/sessions/7/deposits', post);
  const named = routers(gone, fine);
  await named.http.json('/v1/embeddings', { ...post, headers: { 'idempotency-key': 'k' } });
  assert.deepEqual([order.hosts(), named.hosts()], ['ab', 'ab']);
});

test('a stream that breaks off goes on at the next router, after its last event', async () => {
  const { http, calls } = routers(
    () => stream([1, 2], true),
    ({ after }) => stream([1, 2, 3, 4].filter((id) => id > Number(after))),
  );
  const pieces: string[] = [];
  const ask = { method: 'POST', headers: { 'idempotency-key': 'k' } } as const;
  await http.events('/v1/chat/completions', ask, async (data) => void pieces.push(data));
  assert.deepEqual(pieces, ['piece 1', 'piece 2', 'piece 3', 'piece 4']);
  assert.deepEqual(
    calls.map(({ host, after }) => [host, after]),
    [
      ['a', null],
      ['b', '2'],
    ],
  );
});

test('a stream goes back and forth as long as there is something new, and not for ever', async () => {
  const one = ({ after }: Call) => stream([Number(after) + 1], true);
  const { http, hosts } = routers(one, one);
  const ask = { method: 'POST', headers: { 'idempotency-key': 'k' } } as const;
  const pieces: string[] = [];
  await assert.rejects(
    http.events('/v1/chat/completions', ask, async (data) => void pieces.push(data)),
    isCode('ROUTER_UNREACHABLE'),
  );
  assert.deepEqual(
    pieces,
    pieces.map((_, i) => `piece ${i + 1}`),
  );
  assert.ok(pieces.length > 10 && pieces.length < 30);
  assert.ok(hosts().startsWith('ababab'));
});

test('a caller that gives up is not taken for a router that is gone', async () => {
  const giveUp = new AbortController();
  const { http, hosts } = routers(() => {
    giveUp.abort(new Error('enough'));
    return gone();
  }, fine);
  await assert.rejects(http.json('/api/v1/network', { signal: giveUp.signal }), /enough/);
  assert.equal(hosts(), 'a');
});
