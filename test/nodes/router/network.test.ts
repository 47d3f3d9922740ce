/** What a router tells of the network: with everything there, and with parts of it away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import type { PublishedEpoch } from '../../../adapters/chain/health.js';
import type { RouterStatus } from '../../../domain/api.js';
import { EngineError } from '../../../domain/errors.js';
import type { Address, Hex } from '../../../domain/ids.js';
import {
  openNetworkReader,
  type NetworkReaderDeps,
} from '../../../nodes/router/network/chain-reader.js';
import { openStatusReader, type StatusProbes } from '../../../nodes/router/network/status.js';
import { MemoryBlocks, startWorld } from './support.js';

const A: Address = `0x${'a1'.repeat(20)}`;
const B: Address = `0x${'b2'.repeat(20)}`;
const HEX: Hex = `0x${'ab'.repeat(32)}`;

/** Two miners, of which one answered its only probe in the last of three epochs. */
async function network() {
  const blocks = new MemoryBlocks();
  const metadata = { version: 1, address: A, models: ['tiny'], capacity: 2, pricePerTokenWei: '7' };
  const metadataCid = await blocks.put(encodeJson(metadata));
  const evidence = {
    version: 1,
    epoch: 3,
    miners: [A, B],
    probes: [{}],
    answers: [{ miner: A, commitment: { usage: { completionTokens: 10 } }, elapsedMs: 500 }],
  };
  const evidenceCid = await blocks.put(encodeJson(evidence));
  const reads: number[] = [];
  const epochOf = (epoch: number): PublishedEpoch => ({
    epoch,
    root: HEX,
    reportTx: HEX,
    evidenceCid,
    scores: [
      { miner: A, scoreBps: 9_000, level: 9 },
      { miner: B, scoreBps: 0, level: 0 },
    ],
  });
  const node = { role: 'miner', status: 'Active', stakeWei: 5n, recipient: 'age1' } as const;
  const deps: NetworkReaderDeps = {
    onboarding: {
      listNodes: async () => [
        { address: A, ...node, metadataCid },
        { address: B, ...node, status: 'Jailed', metadataCid: 'bafkreigone' },
      ],
    },
    health: {
      readLastEpoch: async () => 3,
      readEpoch: async (epoch) => {
        reads.push(epoch);
        return epoch > 3 ? null : epochOf(epoch);
      },
      readPoolKind: async () => 'Reserved',
    },
    blockStore: blocks,
  };
  return { deps, reads, blocks, evidenceCid };
}

test('a miner is shown with what the chains and its own words say of it', async () => {
  const reader = openNetworkReader((await network()).deps);
  const [first, second] = await reader.miners();
  assert.deepEqual(first, {
    miner: A,
    models: ['tiny'],
    status: 'Active',
    stakeWei: '5',
    kind: 'Reserved',
    scoreBps: 9_000,
    level: 9,
    tokensPerSecond: 20,
    pricePerTokenWei: '7',
  });
  assert.deepEqual(
    [second?.status, second?.models, second?.tokensPerSecond, second?.pricePerTokenWei],
    ['Jailed', [], null, null],
  );
});

test('epochs come newest first, and each is read once', async () => {
  const { deps, reads } = await network();
  const reader = openNetworkReader(deps);
  const list = async (before: number | null, limit: number) =>
    (await reader.epochs({ before, limit })).map(({ epoch }) => epoch);
  assert.deepEqual(await list(null, 50), [3, 2, 1]);
  assert.deepEqual(await list(3, 1), [2]);
  assert.deepEqual(await list(1, 50), []);
  const { scores, probes, evidenceError } = await reader.epoch(3);
  assert.deepEqual([probes, evidenceError], [1, null]);
  assert.deepEqual(
    scores.map(({ answered, tokensPerSecond }) => [answered, tokensPerSecond]),
    [
      [1, 20],
      [0, null],
    ],
  );
  assert.deepEqual(
    reads.sort((a, b) => a - b),
    [1, 2, 3],
  );
  await assert.rejects(reader.epoch(4), { code: 'EPOCH_NOT_FOUND' });
});

test('an epoch whose evidence is away says so, and is read again later', async () => {
  const { deps, blocks, evidenceCid } = await network();
  const block = blocks.blocks.get(evidenceCid);
  assert.ok(block);
  blocks.blocks.delete(evidenceCid);
  const reader = openNetworkReader(deps);
  const { probes, evidenceError, scores } = await reader.epoch(3);
  assert.deepEqual([probes, evidenceError, scores[0]?.answered], [null, 'CONTENT_MISSING', null]);
  blocks.blocks.set(evidenceCid, block);
  assert.equal((await reader.epoch(3)).probes, 1);
});

test('chains that are away are told of, and asked again by the next caller', async () => {
  const { deps } = await network();
  let isAway = true;
  const listNodes: NetworkReaderDeps['onboarding']['listNodes'] = async (role) => {
    if (isAway) throw new EngineError('CHAIN_UNREACHABLE');
    return deps.onboarding.listNodes(role);
  };
  const reader = openNetworkReader({ ...deps, onboarding: { listNodes } });
  await assert.rejects(reader.miners(), { code: 'CHAIN_UNREACHABLE' });
  isAway = false;
  assert.equal((await reader.miners()).length, 2);
});

test('a miner that is connected is shown with its load, also before the chain is read again', async (t) => {
  const { deps } = await network();
  const world = await startWorld([{}], { chainReader: openNetworkReader(deps) });
  t.after(() => world.close());
  const miners = (await (await world.ask('/api/v1/miners')).json()) as {
    miner: Address;
    isConnected: boolean;
    status: string | null;
    capacity: number | null;
    sessions: number;
  }[];
  assert.deepEqual(
    miners.map((m) => [m.miner, m.isConnected, m.status, m.capacity, m.sessions]),
    [
      [A, false, 'Active', null, 0],
      [B, false, 'Jailed', null, 0],
      [world.miner(0).address, true, null, 4, 1],
    ],
  );
});

test('status names what is away or hangs, keeps nobody waiting, and shows no more than a code', async (t) => {
  const secret = 'postgres://user:secret@host';
  const probes: StatusProbes = {
    chains: [
      { layer: 'health', chainId: 1, readBlock: async () => ({ height: 7, timestampMs: 0 }) },
      { layer: 'service', chainId: 2, readBlock: () => new Promise(() => undefined) },
    ],
    readQueues: async () => {
      throw new Error(secret);
    },
    askIpfs: async () => {
      throw new EngineError('IPFS_UNREACHABLE', { reason: secret });
    },
    askDatabase: async () => undefined,
  };
  const world = await startWorld([{}], { readDependencies: openStatusReader(probes, 50) });
  t.after(() => world.close());
  const response = await world.ask('/api/v1/status');
  const text = await response.text();
  assert.ok(!text.includes('secret'));
  const status = JSON.parse(text) as RouterStatus;
  assert.equal(status.state, 'degraded');
  assert.deepEqual(
    [...status.chains, status.temporal, status.ipfs, status.database].map((part) => part.error),
    [null, 'CHAIN_UNREACHABLE', 'TEMPORAL_UNREACHABLE', 'IPFS_UNREACHABLE', null],
  );
  assert.deepEqual([status.chains[0]?.height, status.chains[1]?.height], [7, null]);
  assert.deepEqual(status.router, {
    id: 'router-1',
    requests: 1,
    miners: 1,
    leases: 1,
    openTasks: 0,
  });
});
