import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { getBytes, keccak256, type Wallet } from 'ethers';
import { merkleRoot, scoreLeaf } from '../../../adapters/chain/merkle.js';
import { packScores } from '../../../adapters/chain/pack-scores.js';
import { recoverSigner, type MessageValue } from '../../../adapters/chain/sign.js';
import { digestOf } from '../../../adapters/ipfs/cid.js';
import type { AttestationAnswer, AttestationRequest, ErrorBody } from '../../../domain/api.js';
import type { MessageType, SigningDomain } from '../../../domain/attestation.js';
import type { EpochEvidence, NodeHealth } from '../../../domain/health.js';
import { sameAddress, type Address } from '../../../domain/ids.js';
import { startOracle } from '../../../nodes/oracle/oracle.js';
import { createNetwork, DOMAINS, epochEvidence, SESSION, type Network } from './network.js';

let network: Network;
let made: Promise<EpochEvidence> | undefined;

beforeEach(async () => {
  network = await createNetwork();
});

describe('an oracle signs an epoch', () => {
  test('with the scores that it computes itself', async () => {
    const evidence = await epoch3();
    const evidenceCid = network.putJson(evidence);
    const { scores } = await network.post<{ scores: NodeHealth[] }>('/v1/score', { evidenceCid });
    await signs({ kind: 'report-epoch', evidenceCid }, 'ReportEpoch', DOMAINS.healthLedger, {
      epoch: 3,
      root: merkleRoot(scores.map(scoreLeaf)),
      scoresHash: keccak256(packScores(scores)),
      evidence: digestOf(evidenceCid),
    });
  });

  test('in which honest miners are healthy and one with a canned answer is not', async () => {
    const scores = await score(await epoch3());
    const of = (index: number) => scores.find((s) => sameAddress(s.miner, addressOf(index)));
    assert.deepEqual(
      [0, 1, 2].map((index) => of(index)?.isHealthy),
      [true, true, false],
    );
    assert.deepEqual(pick(of(0)), { livenessBps: 10_000, poiBps: 10_000, pouwBps: 10_000 });
    assert.deepEqual(pick(of(2)), { livenessBps: 10_000, poiBps: 0, pouwBps: 0 });
  });

  test('in which a silent miner loses its share of everything', async () => {
    const evidence = await epochEvidence(3, [
      { wallet: minerAt(0), say: honest },
      { wallet: minerAt(1), say: honest },
      { wallet: minerAt(2), say: () => null },
    ]);
    const silent = (await score(evidence)).find((s) => sameAddress(s.miner, addressOf(2)));
    assert.equal(silent?.scoreBps, 0);
    assert.equal(silent?.isHealthy, false);
  });

  test('in whatever order its answers stand', async () => {
    const evidence = await epoch3();
    const turned = { ...evidence, answers: [...evidence.answers].reverse() };
    assert.deepEqual(await score(turned), await score(evidence));
  });
});

describe('an oracle refuses an epoch', () => {
  const changes: Record<string, readonly [RegExp, (evidence: EpochEvidence) => EpochEvidence]> = {
    'with easier questions than the seed gives': [
      /probes are not those/,
      (evidence) => ({
        ...evidence,
        probes: evidence.probes.map((probe) =>
          probe.accepted ? { ...probe, accepted: ['the', 'a'] } : probe,
        ),
      }),
    ],
    'with an answer that its miner did not give': [
      /not what its miner committed to/,
      (evidence) => ({
        ...evidence,
        answers: evidence.answers.map((answer) => ({ ...answer, text: 'something else' })),
      }),
    ],
    'with an answer that counts twice': [
      /answer to no question/,
      (evidence) => ({ ...evidence, answers: [...evidence.answers, ...evidence.answers] }),
    ],
    'with answers that were given in another epoch': [
      /probes are not those/,
      (evidence) => ({ ...evidence, epoch: 4 }),
    ],
    'with answers of a miner that it does not score': [
      /was not asked/,
      (evidence) => ({ ...evidence, miners: evidence.miners.slice(0, 2) }),
    ],
    'that scores a stranger': [
      /not a miner of the network/,
      (evidence) => ({
        ...evidence,
        miners: [...evidence.miners, `0x${'99'.repeat(20)}`],
      }),
    ],
  };
  for (const [name, [reason, change]] of Object.entries(changes)) {
    test(name, async () => {
      const evidenceCid = network.putJson(change(await epoch3()));
      await refuses({ kind: 'report-epoch', evidenceCid }, reason);
    });
  }
});

describe('an oracle moves a node only as the evidence says', () => {
  test('it jails who scored too low, and nobody else', async () => {
    const evidenceCid = network.putJson(await epoch3());
    const jail = { kind: 'jail-node', epoch: 3, evidenceCid } as const;
    await signs({ ...jail, node: addressOf(2) }, 'JailNode', DOMAINS.nodeRegistry, {
      node: addressOf(2),
      epoch: 3,
      evidence: digestOf(evidenceCid),
    });
    await refuses({ ...jail, node: addressOf(0) }, /scored 10000/);
    await refuses({ ...jail, node: addressOf(2), epoch: 2 }, /another epoch/);
  });

  test('it releases who scored well again, and nobody else', async () => {
    const evidenceCid = network.putJson(await epoch3());
    const release = { kind: 'release-node', epoch: 3, evidenceCid } as const;
    await signs({ ...release, node: addressOf(0) }, 'ReleaseNode', DOMAINS.nodeRegistry, {
      node: addressOf(0),
      epoch: 3,
      evidence: digestOf(evidenceCid),
    });
    await refuses({ ...release, node: addressOf(2) }, /scored/);
  });

  test('it admits a node that answered its assessment, and lets it into the pool', async () => {
    const node = addressOf(0);
    network.setStatus(node, 'Pending');
    const assessment = await epochEvidence(0, [{ wallet: minerAt(0), say: honest }]);
    const evidenceCid = network.putJson(assessment);
    const evidence = digestOf(evidenceCid);
    await signs({ kind: 'admit-node', node, evidenceCid }, 'AdmitNode', DOMAINS.nodeRegistry, {
      node,
      evidence,
    });
    await signs({ kind: 'enter-pool', node, evidenceCid }, 'EnterPool', DOMAINS.nodePool, {
      node,
      kind: 1,
      evidence,
    });
    await refuses({ kind: 'admit-node', node: addressOf(1), evidenceCid }, /another node/);
  });

  test('it does not admit a node that left a question unanswered', async () => {
    let asked = 0;
    const assessment = await epochEvidence(0, [
      { wallet: minerAt(0), say: (prompt) => (asked++ === 0 ? null : prompt) },
    ]);
    const evidenceCid = network.putJson(assessment);
    await refuses({ kind: 'admit-node', node: addressOf(0), evidenceCid }, /unanswered/);
  });

  test('it lets nobody out of the pool who is healthy', async () => {
    const evidenceCid = network.putJson(await epoch3());
    await refuses({ kind: 'leave-pool', node: addressOf(0), evidenceCid }, /healthy/);
    const node = addressOf(2);
    const value = { node, evidence: digestOf(evidenceCid) };
    await signs({ kind: 'leave-pool', node, evidenceCid }, 'LeavePool', DOMAINS.nodePool, value);
  });
});

describe('an oracle closes a session', () => {
  test('for what the chain has charged it', async () => {
    await signs(
      { kind: 'close-session', sessionId: SESSION, chargedWei: '500' },
      'CloseSession',
      DOMAINS.sessionPayment,
      { sessionId: SESSION, charged: 500n },
    );
  });

  test('and for nothing else', async () => {
    const close = { kind: 'close-session', sessionId: SESSION, chargedWei: '499' } as const;
    await refuses(close, /charged otherwise/);
    await refuses({ ...close, sessionId: '78' }, /not on chain/);
  });
});

describe('the routes of an oracle', () => {
  test('refuse what is not a request, with the field', async () => {
    const body = await network.post<ErrorBody>('/v1/attest', { kind: 'settle' });
    assert.equal(body.error.code, 'REQUEST_INVALID');
    assert.equal(body.error.details['field'], 'batchCid');
  });

  test('refuse a body that is too large', async () => {
    const body = 'x'.repeat(65 * 1024);
    const response = await network.app.request('/v1/judge', {
      method: 'POST',
      body,
      headers: { 'content-length': String(body.length) },
    });
    assert.equal(response.status, 413);
  });

  test('answer with an error when a deadline is over', async () => {
    const store = { get: () => new Promise<Uint8Array>(() => undefined) };
    const oracle = await startOracle({
      ...network.deps,
      store,
      deadlineMs: 20,
      host: '127.0.0.1',
      port: 0,
    });
    try {
      const response = await fetch(`${oracle.url}/v1/score`, {
        method: 'POST',
        body: JSON.stringify({ evidenceCid: network.keyringCid }),
      });
      assert.equal(response.status, 503);
      assert.equal((await fetch(`${oracle.url}/healthz`)).status, 200);
    } finally {
      await oracle.close();
    }
  });
});

test('packed scores are 23 bytes a miner, ascending by address', () => {
  const packed = packScores([
    { miner: `0x${'bb'.repeat(20)}`, scoreBps: 0x1234, level: 4 },
    { miner: `0x${'aa'.repeat(20)}`, scoreBps: 10_000, level: 10 },
  ]);
  assert.equal(packed, `0x${'aa'.repeat(20)}27100a${'bb'.repeat(20)}123404`);
  assert.equal(getBytes(packed).length, 46);
});

function honest(prompt: string, accepted?: string): string {
  return accepted === undefined ? `an honest answer to ${prompt}` : `It is ${accepted}.`;
}

/** Epoch 3 of two honest miners and one with a canned answer; made once, signatures are slow. */
function epoch3(): Promise<EpochEvidence> {
  const canned = 'quarterly figures of fishing fleets were presented yesterday';
  return (made ??= epochEvidence(3, [
    { wallet: minerAt(0), say: honest },
    { wallet: minerAt(1), say: honest },
    { wallet: minerAt(2), say: () => canned },
  ]));
}

async function score(evidence: EpochEvidence): Promise<NodeHealth[]> {
  const evidenceCid = network.putJson(evidence);
  return (await network.post<{ scores: NodeHealth[] }>('/v1/score', { evidenceCid })).scores;
}

function pick(health: NodeHealth | undefined) {
  assert.ok(health);
  const { livenessBps, poiBps, pouwBps } = health;
  return { livenessBps, poiBps, pouwBps };
}

async function signs(
  request: AttestationRequest,
  type: MessageType,
  domain: SigningDomain,
  value: MessageValue,
): Promise<void> {
  const answer = await network.post<AttestationAnswer>('/v1/attest', request);
  assert.ok(answer.signed, JSON.stringify(answer));
  assert.equal(recoverSigner(type, domain, value, answer.signature), network.oracle.address);
}

async function refuses(request: AttestationRequest, reason: RegExp): Promise<void> {
  const answer = await network.post<AttestationAnswer>('/v1/attest', request);
  assert.equal(answer.signed, false, JSON.stringify(answer));
  assert.match(answer.reason, reason);
}

function minerAt(index: number): Wallet {
  const miner = network.miners[index];
  assert.ok(miner);
  return miner;
}

function addressOf(index: number): Address {
  return minerAt(index).address as Address;
}
