/** A router with its miners, and a real oracle over HTTP that judges for it and attests its batches. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { Wallet } from 'ethers';
import { merkleRoot, taskLeaf } from '../../../adapters/chain/merkle.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { digestOf } from '../../../adapters/ipfs/cid.js';
import { createIdentity } from '../../../adapters/seal/identity.js';
import type { AttestationAnswer } from '../../../domain/api.js';
import { chargeOf } from '../../../domain/charge.js';
import type { Address } from '../../../domain/ids.js';
import { sumBatch } from '../../../domain/settlement.js';
import type { SettledTask, TaskCompletion } from '../../../domain/task.js';
import { startOracle } from '../../../nodes/oracle/oracle.js';
import type { OracleDeps } from '../../../nodes/oracle/ports.js';
import { createJudge } from '../../../nodes/router/judge.js';
import type { Script } from '../router/scripted-miner.js';
import {
  DOMAIN,
  MemoryBlocks,
  NETWORK,
  SESSION,
  startWorld,
  type World,
} from '../router/support.js';

export interface JudgedWorld {
  readonly world: World;
  /** Has the oracle look at a batch. */
  attest(tasks: readonly SettledTask[]): Promise<AttestationAnswer>;
}

/** Starts three miners, a router and an oracle.
 * @param model - of the session; what an oracle reads texts with. */
export async function startJudged(
  t: TestContext,
  { model = 'tiny', embedder }: { readonly model?: string } & Pick<OracleDeps, 'embedder'>,
): Promise<JudgedWorld> {
  const blocks = new MemoryBlocks();
  const miners = new Map<string, string>();
  const { identity } = await createIdentity();
  const policyHash = { value: '0x' as `0x${string}` };
  const oracle = await startOracle({
    host: '127.0.0.1',
    port: 0,
    wallet: new Wallet(`0x${'31'.repeat(32)}`),
    identity,
    store: blocks,
    chain: {
      async readNode(address) {
        const recipient = miners.get(address.toLowerCase());
        if (recipient === undefined) return null;
        const facts = { role: 'miner', status: 'Active', stakeWei: 1n, metadataCid: '' } as const;
        return { address, recipient, ...facts };
      },
      async readSession() {
        const money = { heldWei: 1_000_000n, chargedWei: 0n };
        return { owner: DOMAIN.verifyingContract, policyHash: policyHash.value, ...money };
      },
    },
    embedder,
    domains: {
      nodeRegistry: DOMAIN,
      healthLedger: DOMAIN,
      nodePool: DOMAIN,
      sessionPayment: DOMAIN,
    },
    models: [{ name: model, pricePerTokenWei: '1' }],
    feeBps: NETWORK.feeBps,
    log: () => undefined,
  });
  t.after(() => oracle.close());
  const script: Script = { models: [model] };
  const world = await startWorld([script, script, script], {
    policy: { model, level: 'open', redundancy: 3, minMiners: 3, maxMiners: 3 },
    blocks,
    judge: createJudge(
      [{ address: DOMAIN.verifyingContract, url: oracle.url, recipient: '' }],
      30_000,
    ),
  });
  t.after(() => world.close());
  for (const miner of world.miners) miners.set(miner.address.toLowerCase(), miner.recipient);
  policyHash.value = digestOf(await blocks.put(encodeJson(world.lease.policy)));
  return {
    world,
    async attest(tasks) {
      const root = merkleRoot(tasks.map(taskLeaf));
      const batch = { version: 1, batchId: root, root, tasks, ...sumBatch(tasks) };
      const batchCid = await blocks.put(encodeJson(batch));
      const response = await fetch(new URL('/v1/attest', oracle.url), {
        method: 'POST',
        body: JSON.stringify({ kind: 'settle', batchCid }),
        signal: AbortSignal.timeout(30_000),
      });
      return (await response.json()) as AttestationAnswer;
    },
  };
}

/** What is settled of a task that ended, paid as it says or to others. */
export function settledTask(
  world: World,
  { taskId, outcome, evidenceCid, resultCid, usage, paidMiners }: TaskCompletion,
  paid: readonly Address[] = paidMiners,
): SettledTask {
  const record = world.gateway.records.get(taskId);
  assert.ok(record && evidenceCid !== undefined && resultCid !== undefined);
  const { ordinal, requestCid } = record;
  const { feeBps } = NETWORK;
  return {
    sessionId: SESSION,
    taskId,
    ordinal,
    outcome,
    requestCid,
    evidenceCid,
    resultCid,
    ...chargeOf({ usage, pricePerTokenWei: 1n, miners: paid, feeBps }),
  };
}
