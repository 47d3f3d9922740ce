/** Every state of a task has a deadline, and every task that misses one has a named end. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { EngineError } from '../../../domain/errors.js';
import type { SessionPolicy } from '../../../domain/session.js';
import { startWorld, until, type World, type WorldOptions } from './support.js';
import type { Script } from './scripted-miner.js';

const NEVER = () => new Promise<void>(() => {});

async function open(
  t: TestContext,
  scripts: readonly Script[],
  { policy, ...options }: Omit<WorldOptions, 'policy'> & { policy?: Partial<SessionPolicy> } = {},
): Promise<World> {
  const world = await startWorld(scripts, {
    firstTokenMs: 1_500,
    ...options,
    policy: { redundancy: 1, ...policy },
  });
  t.after(() => world.close());
  return world;
}

const codeOf = async (response: Response) =>
  ((await response.json()) as { error: { code: string } }).error.code;
const endOf = (world: World) => world.gateway.ends.map(({ outcome }) => outcome);
const paid = (world: World) => world.gateway.ends[0]?.paidMiners;
const taskOf = async (world: World) => {
  const response = await world.ask('/api/v1/sessions/4711/tasks');
  return ((await response.json()) as { state: string; failure?: string }[])[0];
};

test('Queued: without enough miners in time, the task fails', async (t) => {
  const world = await open(t, [{}, {}], { absent: 1, policy: { redundancy: 2 } });
  // Two are enough to begin with; the one that leaves is not back in time.
  await world.miner(1).connect(world.router.url);
  world.miner(1).script = {
    beforePrecommit: async (miner) => {
      miner.close();
      await NEVER();
    },
  };
  const answer = world.chat('hi');
  assert.equal(await codeOf(await answer), 'MINER_FAILED');
  assert.deepEqual(endOf(world), ['failed']);
});

test('Assigned: a miner that does not ack is replaced', async (t) => {
  const world = await open(t, [{ isDeaf: true }, {}]);
  assert.equal((await world.chat('hi')).status, 200);
  assert.deepEqual(paid(world), [world.miner(1).address]);
  assert.ok(world.miner(0).heard.some(({ type }) => type === 'cancel'));
});

test('Acked: a primary that never begins is replaced', async (t) => {
  const world = await open(t, [{ beforeFrame: NEVER }, {}]);
  assert.equal((await world.chat('hi')).status, 200);
  assert.deepEqual(paid(world), [world.miner(1).address]);
});

test('Acked: a primary that stops in the middle is replaced', async (t) => {
  const world = await open(t, [{ beforeFrame: (seq) => (seq === 1 ? NEVER() : undefined) }, {}]);
  assert.equal((await world.chat('one two')).status, 200);
  assert.deepEqual(paid(world), [world.miner(1).address]);
});

test('Acked: a primary that streams all and never precommits is replaced', async (t) => {
  const world = await open(t, [{ beforePrecommit: NEVER }, {}]);
  assert.equal((await world.chat('hi')).status, 200);
  assert.deepEqual(paid(world), [world.miner(1).address]);
});

test('Acked: miners that never precommit are replaced in time for a majority', async (t) => {
  const stuck = { beforePrecommit: NEVER };
  const world = await open(t, [{}, stuck, stuck, {}], {
    policy: { redundancy: 3, taskSeconds: 60 },
  });
  // Long before the task's own end.
  const startedAt = Date.now();
  assert.equal((await world.chat('hi')).status, 200);
  assert.ok(Date.now() - startedAt < 30_000);
  assert.equal(paid(world)?.length, 2);
  assert.ok(paid(world)?.includes(world.miner(3).address));
});

test('Acked: where nobody is left to replace it, the task fails', async (t) => {
  const world = await open(t, [{ beforeFrame: NEVER }]);
  assert.equal(await codeOf(await world.chat('hi')), 'MINER_FAILED');
  assert.deepEqual(endOf(world), ['failed']);
});

test('Precommitted: a miner that never reveals is not waited for, and is not paid', async (t) => {
  const world = await open(t, [{}, {}, { beforeCommit: NEVER }], { policy: { redundancy: 3 } });
  assert.equal((await world.chat('hi')).status, 200);
  assert.equal(paid(world)?.length, 2);
  assert.ok(!paid(world)?.includes(world.miner(2).address));
});

test('Precommitted: where no majority reveals, there is no quorum', async (t) => {
  const mute = { beforeCommit: NEVER };
  const world = await open(t, [{}, mute, mute], { policy: { redundancy: 3, taskSeconds: 4 } });
  assert.equal(await codeOf(await world.chat('hi')), 'NO_QUORUM');
  assert.deepEqual(endOf(world), ['no-quorum']);
  assert.deepEqual(paid(world), []);
  assert.ok(world.gateway.ends[0]?.evidenceCid);
});

test('Precommitted: where nobody reveals, the task expires', async (t) => {
  const world = await open(t, [{ beforeCommit: NEVER }], { policy: { taskSeconds: 1 } });
  assert.equal(await codeOf(await world.chat('hi')), 'MINER_TIMEOUT');
  assert.deepEqual(endOf(world), ['expired']);
});

test('a task that every asked miner declines is refused, and costs nothing', async (t) => {
  const world = await open(t, [{ declines: 'MODEL_UNKNOWN' }, { declines: 'RATE_LIMITED' }]);
  assert.equal(await codeOf(await world.chat('hi')), 'MINER_FAILED');
  assert.deepEqual(endOf(world), ['refused']);
  assert.deepEqual(paid(world), []);
});

test('what every miner declines as unsupported is told to the client, and costs nothing', async (t) => {
  const none = { declines: 'FEATURE_UNSUPPORTED' } as const;
  const world = await open(t, [none, none]);
  const ask = async () => {
    const answer = await world.chat('hi', {}, { 'idempotency-key': 'the same' });
    const { error } = (await answer.json()) as { error: { code: string; details: object } };
    return [answer.status, error.code, error.details];
  };
  const expected = [
    400,
    'FEATURE_UNSUPPORTED',
    { outcome: 'refused', reason: 'FEATURE_UNSUPPORTED' },
  ];
  assert.deepEqual(await ask(), expected);
  assert.deepEqual(await ask(), expected);
  // As another router would: the record is all that it has.
  const [host] = world.router.sessions.all();
  assert.ok(host);
  await world.router.sessions.release(host, 0);
  await world.router.sessions.open(world.lease);
  assert.deepEqual(await ask(), expected);
  assert.equal((await taskOf(world))?.failure, 'FEATURE_UNSUPPORTED');
  assert.deepEqual(endOf(world), ['refused']);
  assert.deepEqual(paid(world), []);
});

test('one miner that fails after it began makes it a failure, not a refusal', async (t) => {
  const dying: Script = {
    beforeFrame: (seq, miner) => {
      if (seq === 0) return;
      const assigned = miner.heard.find(({ type }) => type === 'assign');
      if (assigned?.type === 'assign') {
        miner.say('fail', { taskId: assigned.task.taskId, code: 'BACKEND_FAILED' });
      }
      throw new Error('failed');
    },
  };
  const world = await open(t, [dying, { declines: 'RATE_LIMITED' }]);
  await world.chat('one two');
  assert.deepEqual(endOf(world), ['failed']);
});

test('the record of an open task says how far it is', async (t) => {
  const states: (string | undefined)[] = [];
  const look = async () => {
    await until(() => world.gateway.records.size === 1, 'the record');
    states.push((await taskOf(world))?.state);
  };
  const world = await open(
    t,
    [
      {
        beforeFrame: async (seq) => {
          if (seq === 0) await look();
        },
        beforeCommit: look,
      },
    ],
    { firstTokenMs: 5_000 },
  );
  world.gateway.beforeComplete = look;
  await world.chat('hi');
  assert.deepEqual(states, ['Acked', 'Precommitted', 'Committed']);
  assert.equal((await taskOf(world))?.state, 'Ended');
});

test('miners that committed are told how the task ended, after it was recorded', async (t) => {
  const world = await open(t, [{}, {}, { declines: 'RATE_LIMITED' }], {
    policy: { redundancy: 2 },
  });
  await world.chat('hi');
  const told = () =>
    world.miners.map(({ heard }) => heard.filter((message) => message.type === 'ended'));
  await until(() => told().flat().length === 2, 'the news');
  const [end] = world.gateway.ends;
  assert.deepEqual(told()[0], [
    {
      type: 'ended',
      taskId: end?.taskId,
      outcome: 'completed',
      ordinal: 0,
      evidenceCid: end?.evidenceCid,
    },
  ]);
  assert.deepEqual(told()[2], []);
});

test('Committed: where nobody can judge answers that differ, the record says why, and it costs nothing', async (t) => {
  const world = await open(t, [{ answer: () => 'one' }, { answer: () => 'two' }], {
    policy: { redundancy: 2 },
    judge: async () => {
      throw new EngineError('INVARIANT_BROKEN');
    },
  });
  assert.equal(await codeOf(await world.chat('hi')), 'MINER_FAILED');
  assert.deepEqual(endOf(world), ['failed']);
  assert.deepEqual(paid(world), []);
  assert.equal((await taskOf(world))?.failure, 'INVARIANT_BROKEN');
});
