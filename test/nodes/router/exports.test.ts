import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { EngineError } from '../../../domain/errors.js';
import type { ExportControl, ExportView } from '../../../domain/export.js';
import { exportView } from '../../../nodes/router/openapi/export-answers.js';
import { API_KEY, SESSION, startWorld, viewOf } from './support.js';

const VIEW: ExportView = {
  sessionId: SESSION,
  sink: 'mine',
  mode: 'follow',
  state: 'WaitingForCredentials',
  lastError: 'SINK_CREDENTIALS',
  retryAtMs: null,
  tasks: 3,
  rows: 27,
  lag: 1,
  receipt: null,
  removal: null,
  verification: {
    sessionId: SESSION,
    sink: 'mine',
    rows: { session: 1, task: 3, task_result: 9, payload: 14 },
    digest: `0x${'ab'.repeat(32)}`,
    faults: { missing: 0, extra: 0, altered: 1 },
    found: [{ fault: 'altered', table: 'task', key: '0x01' }],
    verifiedAt: '2026-01-01T00:00:00.000Z',
  },
  answered: 'ask',
};

/** A router with exports that note what is asked of them. */
async function world(t: TestContext) {
  const asked: unknown[] = [];
  const exports: ExportControl = {
    start: async (...what) => {
      asked.push(what);
      return VIEW;
    },
    view: async () => {
      if (asked.length === 0) throw new EngineError('EXPORT_NOT_FOUND', { sessionId: SESSION });
      return VIEW;
    },
    order: async (...what) => {
      asked.push(what);
      return VIEW;
    },
    ask: async (...what) => {
      asked.push(what.slice(0, 3));
      return { view: VIEW, isAnswered: true };
    },
  };
  const made = await startWorld([{}], { exports });
  t.after(() => made.close());
  const { policy } = viewOf();
  made.gateway.view = async () => viewOf({ policy: { ...policy, sinks: ['mine'] } });
  const call = async (method: string, path: string, body?: object) => {
    const response = await fetch(`${made.router.url}/api/v1/sessions/${SESSION}/exports/${path}`, {
      method,
      headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as never };
  };
  return { asked, call };
}

test('an export is started, watched, and given orders', async (t) => {
  const { asked, call } = await world(t);
  assert.equal((await call('GET', 'mine')).status, 404);
  const started = await call('POST', 'mine', { follow: true });
  assert.deepEqual([started.status, started.body], [202, VIEW]);
  assert.deepEqual(exportView.parse(started.body), VIEW);
  assert.equal((await call('POST', 'mine', {})).status, 202);
  assert.deepEqual((await call('GET', 'mine')).body, VIEW);
  for (const order of ['pause', 'resume', 'retry', 'stop', 'verify', 'remove']) {
    assert.equal((await call('POST', 'mine/orders', { order })).status, 202, order);
  }
  assert.deepEqual(asked, [
    [SESSION, 'mine', 'follow'],
    [SESSION, 'mine', 'once'],
    ...['pause', 'resume', 'retry', 'stop', 'verify', 'remove'].map((o) => [SESSION, 'mine', o]),
  ]);
});

test('a session goes to no sink that its policy does not name', async (t) => {
  const { asked, call } = await world(t);
  for (const path of ['yours', 'toString', 'mine%2F..%2Fyours']) {
    const { status, body } = await call('POST', path, {});
    assert.equal(status, 400);
    assert.equal((body as { error: { code: string } }).error.code, 'REQUEST_INVALID');
  }
  assert.equal((await call('POST', 'yours/orders', { order: 'remove' })).status, 400);
  assert.deepEqual(asked, []);
});

test('orders and options of another form change nothing', async (t) => {
  const { asked, call } = await world(t);
  for (const [path, body] of [
    ['mine', { follow: 'yes' }],
    ['mine', { mode: 'remove' }],
    ['mine/orders', {}],
    ['mine/orders', { order: 'drop table' }],
  ] as const) {
    assert.equal((await call('POST', path, body)).status, 400);
  }
  assert.deepEqual(asked, []);
});
