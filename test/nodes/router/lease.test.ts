import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MockActivityEnvironment } from '@temporalio/testing';
import { precommitmentOf } from '../../../adapters/chain/precommitment.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { getJson } from '../../../adapters/ipfs/block-store.js';
import { sealAtRest } from '../../../adapters/seal/at-rest.js';
import type { EpochEvidence, Probe } from '../../../domain/health.js';
import type { LeaseInput } from '../../../domain/lease.js';
import { gate, readSse, SESSION, startWorld, textOf, until, type World } from './support.js';

const holdLease = (env: MockActivityEnvironment, world: World, lease: LeaseInput) =>
  env.run(world.router.activities.holdLease as (input: LeaseInput) => Promise<unknown>, lease);

test('a lease heartbeats, hands over its running tasks, and ends when it is cancelled', async (t) => {
  const held = gate();
  const world = await startWorld([{ beforePrecommit: () => held.opened }]);
  t.after(() => world.close());
  const env = new MockActivityEnvironment();
  let beats = 0;
  env.on('heartbeat', () => beats++);
  const [former] = world.router.sessions.all();
  const lease = holdLease(env, world, world.lease);
  const ended = assert.rejects(lease, { name: 'CancelledFailure' });
  await until(() => beats >= 1, 'a heartbeat');
  await until(() => world.router.sessions.all()[0] !== former, 'the session');
  const answer = world.chat('hi', { stream: true });
  await until(() => world.miner(0).said.includes('frame'), 'the first frame');
  env.cancel();
  // The lease is looked for anew; this gateway knows of none.
  const late = await world.chat('too late');
  assert.match(await late.text(), /SESSION_NOT_FOUND/);
  held.open();
  const events = await readSse(await answer);
  assert.equal(textOf(events), 'You said: hi');
  assert.equal(events.at(-1)?.data, '[DONE]');
  await ended;
  assert.deepEqual(world.router.sessions.all(), []);
});

test('open tasks of a lost router are dispatched again from their requests at rest', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const request = {
    model: 'tiny',
    messages: [{ role: 'user', content: 'left behind' }],
    maxTokens: 16,
    temperature: 0,
    topP: 1,
  };
  const block = await sealAtRest(encodeJson(request), [world.lease.keyring?.recipient ?? '']);
  const requestCid = await world.blocks.put(block);
  const taskId = `0x${'77'.repeat(32)}` as const;
  const submission = {
    taskId,
    requestCid,
    model: 'tiny',
    maxPromptTokens: 99,
    maxTokens: 16,
    seed: 1,
  };
  await world.gateway.submit(SESSION, [submission]);
  const [host] = world.router.sessions.all();
  assert.ok(host);
  await world.router.sessions.open({ ...world.lease, openTasks: [{ ...submission, ordinal: 0 }] });
  await until(() => world.gateway.ends.length === 1, 'the completion');
  assert.equal(world.gateway.ends[0]?.outcome, 'completed');
  const assigned = world.miner(0).heard.find((message) => message.type === 'assign');
  assert.equal(assigned?.type === 'assign' && assigned.task.request, null);
});

test('the workflow is told of a request once that is at rest, so that any router can go on with it', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const { opened, open } = gate();
  let isHeld = false;
  const { put } = world.blocks;
  world.blocks.put = async (bytes) => {
    isHeld = true;
    await opened;
    return put.call(world.blocks, bytes);
  };
  const answer = world.chat('hi');
  // The miners have done their part meanwhile.
  await until(() => isHeld && world.miner(0).said.includes('precommit'), 'the precommitment');
  assert.equal(world.gateway.submitted.length, 0);
  open();
  assert.equal((await answer).status, 200);
  const [submitted] = world.gateway.submitted.flat();
  assert.ok(world.blocks.blocks.has(submitted?.requestCid ?? ''));
});

test('an open task whose request never came to rest ends without a charge', async (t) => {
  const missing = `0x${'78'.repeat(32)}` as const;
  const world = await startWorld([{}], {
    policy: { taskSeconds: 1 },
    openTasks: [
      {
        taskId: missing,
        requestCid: 'bafkreimissing',
        model: 'tiny',
        maxPromptTokens: 9,
        maxTokens: 9,
        seed: 1,
        ordinal: 0,
      },
    ],
  });
  t.after(() => world.close());
  await until(() => world.gateway.ends.length === 1, 'the completion');
  assert.deepEqual(
    [world.gateway.ends[0]?.outcome, world.gateway.ends[0]?.paidMiners],
    ['failed', []],
  );
});

/** Puts two probes to all miners of a world. */
async function runProbes(world: World): Promise<{ evidenceCid: string; answered: number }> {
  const probe = (n: string): Probe => ({
    id: `0x${n.repeat(64)}`,
    kind: 'poi',
    request: {
      model: 'tiny',
      messages: [{ role: 'user', content: `probe ${n}` }],
      maxTokens: 16,
      temperature: 0,
      topP: 1,
    },
    seed: 7,
  });
  const input = {
    epoch: 12,
    miners: world.miners.map(({ address }) => address),
    probes: [probe('a'), probe('b')],
    deadlineMs: 5_000,
  };
  const env = new MockActivityEnvironment();
  return (await env.run(world.router.activities.runProbes as never, input)) as never;
}

test('probes are put to every named miner at once, and the evidence can be recomputed', async (t) => {
  const cheat = { tamper: (c: object) => ({ ...c, salt: `0x${'22'.repeat(32)}` }) };
  const world = await startWorld([{}, {}, cheat as never, {}], { absent: 1 });
  t.after(() => world.close());
  const answered = await runProbes(world);
  // Cut after its first lie: four answers of two honest miners remain.
  assert.equal(answered.answered, 4);
  const evidence = await getJson(world.blocks, answered.evidenceCid, (v) => v as EpochEvidence);
  assert.equal(evidence.miners.length, 4);
  for (const { commitment, precommitment, text, probeId } of evidence.answers) {
    assert.equal(precommitmentOf(commitment), precommitment.precommitment);
    assert.equal(commitment.sessionId, '12');
    assert.equal(commitment.taskId, probeId);
    assert.equal(text, `You said: probe ${probeId[2]}`);
  }
});

test('a miner that comes back while probes wait for it is asked with the others', async (t) => {
  const world = await startWorld([{}, {}], { absent: 1 });
  t.after(() => world.close());
  const probing = runProbes(world);
  await world.miner(1).connect(world.router.url);
  assert.equal((await probing).answered, 4);
});
