import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { JudgeRequest } from '../../../domain/api.js';
import type { Verdict } from '../../../domain/verdict.js';
import { createJudge } from '../../../nodes/router/judge.js';
import { collectGarbage } from '../../support/collect.js';

const A = '0x00000000000000000000000000000000000000a1';
const B = '0x00000000000000000000000000000000000000b2';
const REQUEST: JudgeRequest = {
  sessionId: '1',
  taskId: `0x${'11'.repeat(32)}`,
  asked: 3,
  keyringCid: null,
  answers: [
    { miner: A, resultCid: 'one' },
    { miner: B, resultCid: 'two' },
  ],
};
const VERDICT: Verdict = {
  status: 'agreed',
  method: 'embedding',
  medoid: A,
  scores: [
    { miner: A, scoreBps: 10_000, isAgreed: true },
    { miner: B, scoreBps: 9_000, isAgreed: true },
  ],
};

async function oracle(t: TestContext, listener: RequestListener) {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { address: A, url: `http://127.0.0.1:${port}`, recipient: 'age1' } as const;
}

const saying =
  (answer: unknown): RequestListener =>
  (_request, response) => {
    response.end(JSON.stringify(answer));
  };
const signal = new AbortController().signal;

test('the first oracle that gives a sound verdict is believed', async (t) => {
  const silent = await oracle(t, () => undefined);
  const failing = await oracle(t, (_request, response) => response.writeHead(500).end());
  const sound = await oracle(t, saying(VERDICT));
  const closed = { ...sound, url: 'http://127.0.0.1:1' };
  const judge = createJudge([closed, silent, failing, sound], 2_000);
  assert.deepEqual(await judge(REQUEST, signal), VERDICT);
});

test('an oracle that says nothing is given up in time, whatever is collected meanwhile', async (t) => {
  const requests = new EventEmitter();
  const silent = await oracle(t, () => requests.emit('one'));
  const judge = createJudge([silent, await oracle(t, saying(VERDICT))], 1_000);
  const verdict = judge(REQUEST, signal);
  await once(requests, 'one');
  await collectGarbage();
  assert.deepEqual(await verdict, VERDICT);
});

test('a verdict that breaks its own rules is not believed', async (t) => {
  const scores = VERDICT.scores;
  const unsound: readonly object[] = [
    { ...VERDICT, scores: scores.map((score) => ({ ...score, isAgreed: false })) },
    { ...VERDICT, medoid: '0x00000000000000000000000000000000000000c3' },
    { ...VERDICT, scores: scores.slice(0, 1) },
    { ...VERDICT, scores: [scores[0], scores[0]] },
    { ...VERDICT, scores: scores.map((score) => ({ ...score, scoreBps: 10_001 })) },
    { ...VERDICT, status: 'no-quorum' },
    { nothing: true },
  ];
  for (const verdict of unsound) {
    const judge = createJudge([await oracle(t, saying(verdict))], 20_000);
    await assert.rejects(judge(REQUEST, signal), { code: 'ORACLE_UNREACHABLE' });
  }
});
