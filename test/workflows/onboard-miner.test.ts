import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { AttestationRequest } from '../../domain/api.js';
import { TASK_QUEUES, type Address } from '../../domain/ids.js';
import type { OnboardMinerInput, OnboardMinerResult } from '../../workflows/onboard-miner.js';
import {
  down,
  durationMsOf,
  failureCodeOf,
  refused,
  RETRIES,
  startTimeSkipping,
  withWorkers,
  type FakeActivities,
} from '../support/workflows.js';

const NODE: Address = `0x${'0a'.repeat(20)}`;
const INPUT: OnboardMinerInput = {
  application: {
    node: NODE,
    role: 'miner',
    stakeWei: '1000',
    recipient: 'age1miner',
    metadataCid: 'metadata-cid',
    deadline: 2_000_000_000,
    signature: '0x',
    permitSignature: '0x',
  },
  model: 'm',
  deadlineMs: 60_000,
  retries: RETRIES,
};

let env: TestWorkflowEnvironment;
before(async () => {
  env = await startTimeSkipping();
});
after(async () => {
  await env.teardown();
});

/** A network that works and notes what is asked of it, in order. */
function network(changes: { chain?: object; oracles?: object; routers?: object } = {}) {
  const steps: string[] = [];
  const step =
    <T>(name: string, answer: T) =>
    async (): Promise<T> => {
      steps.push(name);
      return answer;
    };
  const fakes: FakeActivities = {
    chain: {
      registerNode: step('registerNode', '0x01'),
      admitNode: step('admitNode', '0x02'),
      enterPool: step('enterPool', '0x03'),
      ...changes.chain,
    },
    oracles: {
      collectAttestations: async ({ kind }: AttestationRequest) => {
        steps.push(`sign ${kind}`);
        return ['0x01', '0x02', '0x03'];
      },
      ...changes.oracles,
    },
    routers: {
      runProbes: step('runProbes', { evidenceCid: 'evidence-cid', answered: 1 }),
      ...changes.routers,
    },
  };
  return { fakes, steps };
}

let runs = 0;
async function start() {
  return await env.client.workflow.start('onboardMiner', {
    workflowId: `onboard:${++runs}`,
    taskQueue: TASK_QUEUES.workflows,
    args: [INPUT],
  });
}

/** Runs the workflow to its end. */
async function onboard(fakes: FakeActivities): Promise<OnboardMinerResult> {
  return await withWorkers(env, fakes, async () => (await (await start()).result()) as never);
}

test('onboardMiner: registers, assesses, admits and pools a miner, in this order', async () => {
  const { fakes, steps } = network();
  assert.deepEqual(await onboard(fakes), {
    node: NODE,
    registrationTx: '0x01',
    admissionTx: '0x02',
    poolTx: '0x03',
    evidenceCid: 'evidence-cid',
  });
  assert.deepEqual(steps, [
    'registerNode',
    'runProbes',
    'sign admit-node',
    'admitNode',
    'sign enter-pool',
    'enterPool',
  ]);
});

test('onboardMiner: waits for a miner that connects late', async () => {
  let asked = 0;
  const runProbes = async () => ({
    evidenceCid: `evidence-${++asked}`,
    answered: asked < 20 ? 0 : 1,
  });
  const { fakes } = network({ routers: { runProbes } });
  const { evidenceCid, poolTx } = await onboard(fakes);
  assert.equal(evidenceCid, 'evidence-20', 'the evidence is of the answers, not of the silence');
  assert.equal(poolTx, '0x03');
});

test('onboardMiner: fails after two minutes with a miner that never answers, and admits it never', async () => {
  const runProbes = async () => ({ evidenceCid: 'evidence-cid', answered: 0 });
  const { fakes, steps } = network({ routers: { runProbes } });
  await withWorkers(env, fakes, async () => {
    const handle = await start();
    assert.equal(await failureCodeOf(handle), 'MINER_FAILED');
    const seconds = (await durationMsOf(handle)) / 1_000;
    assert.ok(seconds > 115 && seconds < 180, `${seconds} s`);
  });
  assert.deepEqual(steps, ['registerNode']);
});

test('onboardMiner: goes on from the registration and admission of an earlier attempt', async () => {
  const already = async () => null;
  const { fakes } = network({ chain: { registerNode: already, admitNode: already } });
  const { registrationTx, admissionTx, poolTx } = await onboard(fakes);
  assert.deepEqual([registrationTx, admissionTx, poolTx], [null, null, '0x03']);
});

test('onboardMiner: ends with the code of a registration that the contract refuses', async () => {
  const { fakes, steps } = network({
    chain: {
      registerNode: async () => {
        throw refused('TRANSACTION_REVERTED');
      },
    },
  });
  await withWorkers(env, fakes, async () => {
    assert.equal(await failureCodeOf(await start()), 'TRANSACTION_REVERTED');
  });
  assert.deepEqual(steps, []);
});

test('onboardMiner: is delayed, not failed, by routers that are away for half an hour', async () => {
  let startedAt: number | null = null;
  const runProbes = async () => {
    const nowMs = await env.currentTimeMs();
    startedAt ??= nowMs;
    if (nowMs - startedAt < 1_800_000) throw down('ROUTER_UNREACHABLE');
    return { evidenceCid: 'evidence-cid', answered: 1 };
  };
  const { fakes } = network({ routers: { runProbes } });
  assert.equal((await onboard(fakes)).poolTx, '0x03');
});
