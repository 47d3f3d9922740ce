import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createChainActivities, type ChainActivityDeps } from '../../activities/chain.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, Hex } from '../../domain/ids.js';
import type { Candidate, NodeStatus } from '../../domain/node.js';

const NODE: Address = '0x00000000000000000000000000000000000000aa';
const APPLICATION = {
  node: NODE,
  role: 'miner',
  stakeWei: '1',
  recipient: 'age1',
  metadataCid: 'metadata',
  deadline: 7,
  signature: '0x',
  permitSignature: '0x',
} as const;
const DECISION = { node: NODE, evidenceCid: 'evidence', signatures: ['0x01'] as Hex[] };

/** An outbox that sends each key once, and a chain that holds what it is told. */
function world(options: { readonly status?: NodeStatus; readonly isReverting?: boolean } = {}) {
  const sent = new Map<string, Hex>();
  const node = options.status === undefined ? null : { address: NODE, status: options.status };
  const write = { to: NODE, data: '0x' } as const;
  const outbox = {
    execute({ key }: { key: string }) {
      if (options.isReverting === true) {
        return Promise.reject(new EngineError('TRANSACTION_REVERTED', { error: 'Refused' }));
      }
      const hash: Hex = sent.get(key) ?? `0x${(sent.size + 1).toString(16)}`;
      sent.set(key, hash);
      return Promise.resolve({ hash, blockNumber: 1, contractAddress: null, logs: [] });
    },
  };
  const deps = {
    outbox,
    onboarding: {
      readNode: () => Promise.resolve(node),
      listNodes: () =>
        Promise.resolve(
          ['good', 'unreadable', 'jailed'].map((metadataCid) => ({
            address: NODE,
            status: metadataCid === 'jailed' ? 'Jailed' : 'Active',
            recipient: 'age1',
            metadataCid,
          })),
        ),
      encodeRegisterNode: () => write,
      encodeAdmitNode: () => write,
      encodeJailNode: () => write,
    },
    health: {
      readLastEpoch: () => Promise.resolve(0),
      readPoolKind: () => Promise.resolve('Ephemeral'),
    },
    service: {},
    readJson: (cid: string, parse: (value: unknown) => unknown) =>
      Promise.resolve().then(() =>
        parse(
          cid === 'good' ? { version: 1, address: NODE, models: ['m'], capacity: 1 } : 'nonsense',
        ),
      ),
  } as unknown as ChainActivityDeps;
  const activities = createChainActivities(deps);
  const env = new MockActivityEnvironment();
  return { activities, sent, run: env.run.bind(env) };
}

test('registerNode: run twice with one application, it sends one transaction', async () => {
  const { activities, sent, run } = world();
  const first = await run(activities.registerNode, APPLICATION);
  assert.equal(await run(activities.registerNode, APPLICATION), first);
  assert.equal(sent.size, 1);
});

test('registerNode: finds that another application has registered the node', async () => {
  const { activities, run } = world({ isReverting: true, status: 'Pending' });
  assert.equal(await run(activities.registerNode, APPLICATION), null);
});

test('admitNode: run twice on one evidence, it sends one transaction', async () => {
  const { activities, sent, run } = world();
  await run(activities.admitNode, DECISION);
  await run(activities.admitNode, DECISION);
  assert.equal(sent.size, 1);
});

test('admitNode: a refusal is final while the node is not what was asked for', async () => {
  const { activities, run } = world({ isReverting: true, status: 'Pending' });
  await assert.rejects(run(activities.admitNode, DECISION), {
    type: 'TRANSACTION_REVERTED',
    nonRetryable: true,
  });
});

test('changeNodeStatus: jailing a node that is jailed already is no error', async () => {
  const { activities, run } = world({ isReverting: true, status: 'Jailed' });
  const jailing = { ...DECISION, kind: 'jail-node', epoch: 3 } as const;
  assert.equal(await run(activities.changeNodeStatus, jailing), null);
});

test('listCandidates: a miner with unreadable metadata, or in jail, does not hold up the others', async () => {
  const { activities, run } = world();
  const candidates = (await run(activities.listCandidates, 'm')) as readonly Candidate[];
  assert.deepEqual(
    candidates.map((candidate) => candidate.models),
    [['m']],
  );
});
