import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, test } from 'node:test';
import { ApplicationFailure } from '@temporalio/common';
import { createOracleActivities, type OracleActivities } from '../../activities/oracles.js';
import type { AttestationAnswer } from '../../domain/api.js';
import { scoreNode } from '../../domain/health.js';
import type { Address, Hex } from '../../domain/ids.js';

const T1: Hex = `0x${'11'.repeat(32)}`;
const T2: Hex = `0x${'22'.repeat(32)}`;
const REQUEST = { kind: 'settle', batchCid: 'batch-cid' } as const;
const SCORES = [
  scoreNode(`0x${'01'.repeat(20)}`, { livenessBps: 10_000, poiBps: 9_000, pouwBps: 8_000 }),
];

/** What an oracle does with a request: an answer, a status with a body, or silence. */
type Behaviour = (path: string) => { readonly status: number; readonly body: unknown } | null;

/** By URL. */
const servers = new Map<string, Server>();
afterEach(async () => {
  await Promise.all([...servers.values()].map(close));
  servers.clear();
});

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

async function oracleAt(behaviour: Behaviour): Promise<string> {
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const answer = behaviour(request.url ?? '');
    if (answer === null) return;
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  servers.set(url, server);
  return url;
}

const addressOf = (byte: string): Address => `0x${byte.repeat(20)}`;
const says =
  (body: AttestationAnswer): Behaviour =>
  () => ({ status: 200, body });
const signs = (byte: string): Behaviour =>
  says({ signed: true, oracle: addressOf(byte), signature: `0x${byte}` });
const refuses = (...disputed: Hex[]): Behaviour =>
  says({ signed: false, oracle: addressOf('ff'), reason: 'sums', disputed, missing: [] });
const lacks = (...missing: Hex[]): Behaviour =>
  says({ signed: false, oracle: addressOf('ff'), reason: 'gone', disputed: [], missing });
const breaks = (): ReturnType<Behaviour> => ({ status: 500, body: {} });
const hangs = (): ReturnType<Behaviour> => null;

/** The committee's activities, with a quorum of three unless said otherwise. */
async function committee(
  behaviours: readonly (Behaviour | 'gone')[],
  quorum = 3,
): Promise<OracleActivities> {
  const oracles = await Promise.all(
    behaviours.map(async (behaviour) => ({
      address: addressOf('00'),
      recipient: 'age1oracle',
      url: behaviour === 'gone' ? await closedUrl() : await oracleAt(behaviour),
    })),
  );
  return createOracleActivities({ oracles, quorum, timeoutMs: 3_000 });
}

/** An address at which nothing listens. */
async function closedUrl(): Promise<string> {
  const url = await oracleAt(breaks);
  const server = servers.get(url);
  assert.ok(server);
  servers.delete(url);
  await close(server);
  return url;
}

async function failureOf(running: Promise<unknown>): Promise<ApplicationFailure> {
  try {
    await running;
  } catch (error) {
    assert.ok(error instanceof ApplicationFailure);
    return error;
  }
  throw new Error('nothing was thrown');
}

test('collectAttestations: has a quorum with one oracle down and one that refuses, by ascending signer', async () => {
  const { collectAttestations } = await committee([
    signs('0c'),
    'gone',
    signs('0a'),
    refuses(T1),
    signs('0b'),
  ]);
  assert.deepEqual(await collectAttestations(REQUEST), ['0x0a', '0x0b', '0x0c']);
});

test('collectAttestations: orders signers by number, not by letter case', async () => {
  const upper = says({ signed: true, oracle: `0x${'AB'.repeat(20)}`, signature: '0xab' });
  const { collectAttestations } = await committee([signs('ac'), upper, signs('aa')]);
  assert.deepEqual(await collectAttestations(REQUEST), ['0xaa', '0xab', '0xac']);
});

test('collectAttestations: hands over no more signatures than the quorum', async () => {
  const { collectAttestations } = await committee([signs('03'), signs('01'), signs('02')], 2);
  assert.deepEqual(await collectAttestations(REQUEST), ['0x01', '0x02']);
});

test('collectAttestations: a refusing majority names the tasks that more than half of it disputes', async () => {
  const { collectAttestations } = await committee([refuses(T1, T2), refuses(T1), signs('01')], 2);
  const failure = await failureOf(collectAttestations(REQUEST));
  assert.equal(failure.type, 'ATTESTATION_REFUSED');
  assert.equal(failure.nonRetryable, true);
  const [details] = failure.details as [{ disputed: string; reason: string }];
  assert.deepEqual(details, { kind: 'settle', reason: 'sums', disputed: T1 });
});

test('collectAttestations: does not take a minority of refusals for the verdict', async () => {
  const { collectAttestations } = await committee(['gone', refuses(T1), signs('01')], 2);
  const failure = await failureOf(collectAttestations(REQUEST));
  assert.equal(failure.type, 'NO_QUORUM');
  assert.notEqual(failure.nonRetryable, true);
});

test('collectAttestations: content that oracles lack is no refusal, and names the tasks that wait for it', async () => {
  const { collectAttestations } = await committee([lacks(T1, T2), lacks(T1), signs('01')], 2);
  const failure = await failureOf(collectAttestations(REQUEST));
  assert.equal(failure.type, 'NO_QUORUM');
  assert.notEqual(failure.nonRetryable, true);
  const [details] = failure.details as [{ missing: string }];
  assert.equal(details.missing, T1, 'two may sign for the other one');
});

test('collectAttestations: one oracle without the content does not keep the others from signing', async () => {
  const { collectAttestations } = await committee([lacks(T1), signs('02'), signs('01')], 2);
  assert.deepEqual(await collectAttestations(REQUEST), ['0x01', '0x02']);
});

test('collectAttestations: asks again later when no oracle can be reached', async () => {
  const { collectAttestations } = await committee(['gone', breaks, hangs]);
  const failure = await failureOf(collectAttestations(REQUEST));
  assert.equal(failure.type, 'NO_QUORUM');
  assert.notEqual(failure.nonRetryable, true);
  assert.deepEqual(failure.details, [{ signed: 0, of: 3, quorum: 3, missing: '' }]);
});

test('scoreEpoch: takes the scores of the first oracle that answers', async () => {
  const scores: Behaviour = (path) => {
    assert.equal(path, '/v1/score');
    return { status: 200, body: { scores: SCORES } };
  };
  const { scoreEpoch } = await committee(['gone', breaks, scores]);
  assert.deepEqual(await scoreEpoch('evidence-cid'), SCORES);
});

test('scoreEpoch: ends with the code of an oracle that cannot score the evidence', async () => {
  const broken: Behaviour = () => ({ status: 502, body: { error: { code: 'CONTENT_MISMATCH' } } });
  const final: Behaviour = () => ({ status: 400, body: { error: { code: 'REQUEST_INVALID' } } });
  const { scoreEpoch } = await committee([broken, final]);
  const failure = await failureOf(scoreEpoch('evidence-cid'));
  assert.equal(failure.type, 'REQUEST_INVALID');
  assert.equal(failure.nonRetryable, true);
});

test('scoreEpoch: asks again later when no oracle can be reached', async () => {
  const { scoreEpoch } = await committee(['gone', hangs]);
  const failure = await failureOf(scoreEpoch('evidence-cid'));
  assert.equal(failure.type, 'ORACLE_UNREACHABLE');
  assert.notEqual(failure.nonRetryable, true);
});
