import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApplicationFailure } from '@temporalio/common';
import { createChainActivities, type ChainActivityDeps } from '../../activities/chain.js';
import type { Intent } from '../../adapters/chain/outbox.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, Cid, Hex } from '../../domain/ids.js';
import type { NodeStatus, RegisteredNode } from '../../domain/node.js';
import type { NodeApplication } from '../../domain/onboarding.js';
import type { OpenSessionRequest } from '../../domain/session.js';
import { activityEnvironment } from './environment.js';

const NODE: Address = `0x${'0a'.repeat(20)}`;
const APPLICATION: NodeApplication = {
  node: NODE,
  role: 'miner',
  stakeWei: '1000',
  recipient: 'age1miner',
  metadataCid: 'metadata-cid',
  deadline: 2_000_000_000,
  signature: '0x',
  permitSignature: '0x',
};
const APPROVED = { evidenceCid: 'evidence-cid', signatures: ['0x01' as const] };

/** What the activities read and write: an outbox that sends a key once, and chains that answer. */
function world(
  reads: {
    status?: NodeStatus;
    isUserKnown?: boolean;
    refuses?: EngineError;
    nodes?: readonly RegisteredNode[];
    pools?: Readonly<Record<Address, string>>;
    scores?: readonly { miner: Address; scoreBps: number; level: number }[];
    documents?: Readonly<Record<Cid, unknown>>;
    closing?: { chargedWei: bigint; refundedWei: bigint } | null;
    root?: Hex | null;
  } = {},
) {
  const sent = new Map<string, Intent>();
  const encode = (name: string) => (value: unknown) => ({
    to: NODE,
    data: `0x${name}:${JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? `${v}` : v))}`,
  });
  const deps = {
    outbox: {
      execute: async (intent: Intent, options: { onPoll?: () => void }) => {
        options.onPoll?.();
        const known = sent.get(intent.key);
        if (known !== undefined && known.data !== intent.data) {
          throw new EngineError('IDEMPOTENCY_CONFLICT', { key: intent.key });
        }
        if (known === undefined && reads.refuses !== undefined) throw reads.refuses;
        sent.set(intent.key, intent);
        const hash = `0x${[...sent.keys()].indexOf(intent.key) + 1}`;
        return { hash, blockNumber: 1, contractAddress: null, logs: [] };
      },
      confirm: async () => ({ hash: '0x1', blockNumber: 1, contractAddress: null, logs: [] }),
    },
    onboarding: {
      readNode: async () => (reads.status === undefined ? null : { status: reads.status }),
      readUser: async () => (reads.isUserKnown === true ? {} : null),
      listNodes: async () => reads.nodes ?? [],
      encodeRegisterNode: encode('register'),
      encodeAdmitNode: encode('admit'),
      encodeJailNode: encode('jail'),
      encodeReleaseNode: encode('release'),
      encodeRegisterUser: encode('user'),
    },
    health: {
      readLastEpoch: async () => (reads.scores === undefined ? 0 : 7),
      readEpoch: async (epoch: number) =>
        reads.root === null
          ? null
          : {
              epoch,
              root: reads.root ?? '0x0e',
              scores: reads.scores,
              evidenceCid: 'evidence',
            },
      readPoolKind: async (node: Address) => reads.pools?.[node] ?? 'Ephemeral',
      encodeReportEpoch: encode('report'),
      encodeEnterPool: encode('pool'),
    },
    service: {
      readClosing: async () => reads.closing ?? null,
      encodeOpenSession: encode('open'),
      encodeSettle: encode('settle'),
      encodeCloseSession: encode('close'),
    },
    readJson: async <T>(cid: Cid, parse: (value: unknown) => T): Promise<T> => {
      const document = reads.documents?.[cid];
      if (document instanceof Error) throw document;
      if (document === undefined) throw new EngineError('CONTENT_MISSING', { cid });
      return parse(document);
    },
  };
  // The chains are classes; of each, these are the methods that the activities call.
  const activities = createChainActivities(deps as unknown as ChainActivityDeps);
  return { activities, sent };
}

/** Runs an activity as a worker does. */
function run<A extends unknown[], R>(activity: (...args: A) => Promise<R>, ...args: A): Promise<R> {
  return activityEnvironment().run(activity, ...args);
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

const REVERTED = new EngineError('TRANSACTION_REVERTED', { error: 'AlreadySo' });
const REQUEST = { sessionId: '7' } as OpenSessionRequest;
const CLOSE = { sessionId: '7', chargedWei: '945', signatures: [] };
const BATCH = { batchId: '0x0b', root: '0x0c', tasks: [] };

test('chain activities: run twice, each is one transaction', async () => {
  const closing = { chargedWei: 945n, refundedWei: 55n };
  const { activities, sent } = world({ closing, documents: { 'batch-cid': BATCH } });
  const change = { node: NODE, epoch: 3, ...APPROVED };
  const user = { user: NODE, recipient: 'age1user', level: 'link', deadline: 1, signature: '0x' };
  const each = [
    () => run(activities.registerNode, APPLICATION),
    () => run(activities.admitNode, { node: NODE, ...APPROVED }),
    () => run(activities.enterPool, { node: NODE, ...APPROVED }),
    () => run(activities.changeNodeStatus, { kind: 'jail-node', ...change }),
    () => run(activities.changeNodeStatus, { kind: 'release-node', ...change }),
    () => run(activities.registerUser, user as never),
    () => run(activities.reportEpoch, { epoch: 3, scores: [], ...APPROVED }),
    () => run(activities.openSession, { request: REQUEST, policyCid: 'policy-cid' }),
    () => run(activities.settleBatch, { batchCid: 'batch-cid', signatures: [] }),
    () => run(activities.closeSession, CLOSE),
  ];
  for (const [index, activity] of each.entries()) {
    const first = await activity();
    assert.equal(sent.size, index + 1);
    assert.deepEqual(await activity(), first);
    assert.equal(sent.size, index + 1);
  }
});

test('chain activities: keys name the business, so that no other attempt shares one', async () => {
  const { activities, sent } = world({ documents: { 'batch-cid': BATCH } });
  await run(activities.registerNode, APPLICATION);
  await run(activities.registerNode, { ...APPLICATION, deadline: APPLICATION.deadline + 1 });
  await run(activities.settleBatch, { batchCid: 'batch-cid', signatures: [] });
  assert.deepEqual(
    [...sent.values()].map((intent) => [intent.layer, intent.key]),
    [
      ['onboarding', `register-node:${NODE}:2000000000`],
      ['onboarding', `register-node:${NODE}:2000000001`],
      ['service', 'settle:0x0b'],
    ],
  );
});

test('chain activities: what another transaction brought about is no error', async () => {
  const already = (status: NodeStatus) => world({ refuses: REVERTED, status }).activities;
  const change = { node: NODE, epoch: 3, ...APPROVED };
  assert.equal(await run(already('Pending').registerNode, APPLICATION), null);
  assert.equal(await run(already('Active').admitNode, { node: NODE, ...APPROVED }), null);
  const jail = { kind: 'jail-node', ...change } as const;
  assert.equal(await run(already('Jailed').changeNodeStatus, jail), null);
  const release = { kind: 'release-node', ...change } as const;
  assert.equal(await run(already('Active').changeNodeStatus, release), null);
  const { activities } = world({ refuses: REVERTED, isUserKnown: true });
  assert.equal(await run(activities.registerUser, { user: NODE, deadline: 1 } as never), null);
});

test('chain activities: a refusal that left the state as it was is final', async () => {
  const { activities } = world({ refuses: REVERTED, status: 'Active' });
  const jail = { kind: 'jail-node', node: NODE, epoch: 3, ...APPROVED } as const;
  const failure = await failureOf(run(activities.changeNodeStatus, jail));
  assert.equal(failure.type, 'TRANSACTION_REVERTED');
  assert.equal(failure.nonRetryable, true);
});

test('chain activities: an outage is not taken for a refusal, whatever the state', async () => {
  const refuses = new EngineError('CHAIN_UNREACHABLE');
  const { activities } = world({ refuses, status: 'Active' });
  const failure = await failureOf(run(activities.admitNode, { node: NODE, ...APPROVED }));
  assert.equal(failure.type, 'CHAIN_UNREACHABLE');
  assert.notEqual(failure.nonRetryable, true);
});

test('chain activities: heartbeat while they wait for a transaction', async () => {
  const { activities } = world();
  const environment = activityEnvironment();
  let beats = 0;
  environment.on('heartbeat', () => beats++);
  await environment.run(activities.registerNode, APPLICATION);
  assert.equal(beats, 1);
});

test('closeSession: finds the refund of a session whose owner took the exit first', async () => {
  const closing = { chargedWei: 0n, refundedWei: 1_000n };
  const { activities } = world({ refuses: REVERTED, closing });
  assert.deepEqual(await run(activities.closeSession, CLOSE), { refundedWei: '1000' });
});

test('closeSession: with signatures of other members, the transaction that is out counts', async () => {
  const { activities, sent } = world({ closing: { chargedWei: 945n, refundedWei: 55n } });
  const first = await run(activities.closeSession, { ...CLOSE, signatures: ['0x01'] });
  const again = await run(activities.closeSession, { ...CLOSE, signatures: ['0x02'] });
  assert.deepEqual(again, first);
  assert.equal(sent.size, 1);
});

test('closeSession: fails for good when it is refused and the session is open', async () => {
  const { activities } = world({ refuses: REVERTED, closing: null });
  const failure = await failureOf(run(activities.closeSession, CLOSE));
  assert.equal(failure.type, 'TRANSACTION_REVERTED');
});

test('closeSession: looks again later when the node does not show the closing yet', async () => {
  const { activities } = world({ closing: null });
  const failure = await failureOf(run(activities.closeSession, CLOSE));
  assert.equal(failure.type, 'TRANSACTION_PENDING');
  assert.notEqual(failure.nonRetryable, true);
});

test('reportEpoch: answers with the root on chain, and waits for it to be there', async () => {
  const report = { epoch: 3, scores: [], ...APPROVED };
  const { activities } = world({ root: '0x0f' });
  assert.deepEqual(await run(activities.reportEpoch, report), { root: '0x0f', reportTx: '0x1' });
  const failure = await failureOf(run(world({ root: null }).activities.reportEpoch, report));
  assert.equal(failure.type, 'TRANSACTION_PENDING');
});

test('listCandidates: lists active miners in a pool that serve the model and were not found wanting', async () => {
  const miner = (byte: string, metadataCid: string, status: NodeStatus = 'Active') => ({
    address: `0x${byte.repeat(20)}` as const,
    role: 'miner' as const,
    status,
    stakeWei: 1n,
    recipient: `age1${byte}`,
    metadataCid,
  });
  const metadata = (models: readonly string[]) => ({
    version: 1,
    address: NODE,
    models,
    capacity: 1,
  });
  const nodes = [
    miner('01', 'm'),
    miner('02', 'm', 'Jailed'),
    miner('03', 'other'),
    miner('04', 'm'),
    miner('05', 'missing'),
    miner('06', 'm'),
    miner('07', 'broken'),
    miner('08', 'm'),
  ];
  const [good, , , unpooled, , wanting, , unscored] = nodes.map((node) => node.address);
  assert.ok(good && unpooled && wanting && unscored);
  const { activities } = world({
    nodes,
    pools: { [unpooled]: 'None' },
    scores: [
      { miner: good, scoreBps: 9_000, level: 9 },
      { miner: wanting, scoreBps: 4_999, level: 4 },
    ],
    documents: {
      m: metadata(['m', 'n']),
      other: metadata(['n']),
      missing: new EngineError('CONTENT_MISSING'),
      broken: { version: 2 },
    },
  });
  const candidates = await run(activities.listCandidates, 'm');
  assert.deepEqual(
    candidates.map(({ address, scoreBps, level }) => [address, scoreBps, level]),
    [
      [good, 9_000, 9],
      [unscored, 0, 0],
    ],
  );
});

test('listCandidates: brings what is known of speed and price, and nothing where it is not', async () => {
  const nodes = ['0a', '0b'].map((byte) => ({
    address: `0x${byte.repeat(20)}` as Address,
    status: 'Active' as const,
    metadataCid: byte,
  })) as RegisteredNode[];
  const [fast, unknown] = nodes.map((node) => node.address);
  assert.ok(fast && unknown);
  const answer = (completionTokens: number, elapsedMs: number) => ({
    miner: fast.toUpperCase().replace('0X', '0x'),
    commitment: { usage: { promptTokens: 1, completionTokens } },
    elapsedMs,
  });
  const metadata = { version: 1, address: fast, models: ['m'], capacity: 1 };
  const { activities } = world({
    nodes,
    scores: [],
    documents: {
      '0a': { ...metadata, pricePerTokenWei: '7' },
      '0b': metadata,
      evidence: { answers: [answer(10, 1_000), answer(60, 2_000), answer(80, 1_000)] },
    },
  });
  const candidates = await run(activities.listCandidates, 'm');
  assert.deepEqual(
    candidates.map((c) => [c.address, c.tokensPerSecond, c.pricePerTokenWei]),
    [
      [fast, 30, '7'],
      [unknown, null, null],
    ],
  );
});

test('listCandidates: does not take an outage of IPFS for a network without miners', async () => {
  const { activities } = world({
    nodes: [{ address: NODE, status: 'Active', metadataCid: 'm' } as RegisteredNode],
    documents: { m: new EngineError('IPFS_UNREACHABLE') },
  });
  assert.equal((await failureOf(run(activities.listCandidates, 'm'))).type, 'IPFS_UNREACHABLE');
});

test('nextEpoch: counts from the last epoch on chain', async () => {
  assert.equal(await run(world().activities.nextEpoch), 1);
  assert.equal(await run(world({ scores: [] }).activities.nextEpoch), 8);
});
