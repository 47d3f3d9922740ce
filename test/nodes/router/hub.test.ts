import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { EngineError } from '../../../domain/errors.js';
import { DOMAIN, startWorld, until, type World } from './support.js';
import { ScriptedMiner } from './scripted-miner.js';

const connected = (world: World) => world.router.hub.connected().map((miner) => miner.address);

test('a registered miner is let in, whether pending, active or jailed', async (t) => {
  const world = await startWorld([{}, {}, {}, {}], { absent: 4 });
  t.after(() => world.close());
  for (const [i, status] of (['Pending', 'Active', 'Jailed', 'Exited'] as const).entries()) {
    world.statuses.set(world.miner(i).address, status);
    await world.miner(i).connect(world.router.url);
  }
  assert.deepEqual(
    world.miners.map((miner) => miner.isWelcome),
    [true, true, true, false],
  );
  assert.equal(world.miner(3).refusal, 'NODE_NOT_REGISTERED');
});

test('a stranger is refused and disconnected', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const stranger = await ScriptedMiner.create(DOMAIN);
  await stranger.connect(world.router.url);
  assert.equal(stranger.refusal, 'NODE_NOT_REGISTERED');
  await until(() => stranger.isClosed, 'the disconnection');
  assert.deepEqual(connected(world), [world.miner(0).address]);
});

test('an unreachable chain is not an unregistered miner', async (t) => {
  const world = await startWorld([{}], {
    absent: 1,
    readNode: async () => {
      throw new EngineError('CHAIN_UNREACHABLE');
    },
  });
  t.after(() => world.close());
  await world.miner(0).connect(world.router.url);
  assert.equal(world.miner(0).refusal, 'CHAIN_UNREACHABLE');
});

test('a signature of another key is refused', async (t) => {
  const world = await startWorld([{}, {}], { absent: 1 });
  t.after(() => world.close());
  const thief = await ScriptedMiner.create(DOMAIN);
  Object.assign(thief, { address: world.miner(1).address });
  await thief.connect(world.router.url);
  assert.equal(thief.refusal, 'SIGNATURE_INVALID');
});

test('the newest connection of a miner replaces the older one', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const older = world.miner(0).ws;
  let isOlderClosed = false;
  older?.once('close', () => {
    isOlderClosed = true;
  });
  await world.miner(0).connect(world.router.url);
  await until(() => isOlderClosed, 'the older connection');
  assert.deepEqual(connected(world), [world.miner(0).address]);
  assert.equal((await world.chat('hi')).status, 200);
});

test('a miner that sends garbage is cut', async (t) => {
  const world = await startWorld([{}, {}, {}, {}]);
  t.after(() => world.close());
  const unknown = `0x${'ab'.repeat(32)}`;
  const floods: readonly ((ws: WebSocket) => void)[] = [
    (ws) => ws.send('not json'),
    (ws) => ws.send(Buffer.from([1, 2, 3])),
    (ws) => ws.send(JSON.stringify({ type: 'frame', taskId: unknown, frame: { seq: -1 } })),
    (ws) => ws.send(JSON.stringify({ type: 'ack', taskId: unknown })),
  ];
  for (const [i, flood] of floods.entries()) {
    const { ws } = world.miner(i);
    assert.ok(ws);
    for (let n = 0; n < 1_000; n++) flood(ws);
    await until(() => world.miner(i).isClosed, `the cut of miner ${i}`);
    assert.equal(world.miner(i).refusal, 'MINER_PROTOCOL');
  }
  assert.deepEqual(connected(world), []);
});

test('a message beyond the limit ends the connection', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  world.miner(0).ws?.send('x'.repeat(5 * 1024 * 1024));
  await until(() => world.miner(0).isClosed, 'the cut');
});

test('a miner that falls silent is dropped, and its task goes to another', async (t) => {
  const world = await startWorld([{ isDeaf: true, isSilent: true }, {}], { silenceMs: 4_000 });
  t.after(() => world.close());
  const response = await world.chat('hi');
  assert.equal(response.status, 200);
  await until(() => world.miner(0).isClosed, 'the drop');
  assert.equal(world.miner(0).refusal, 'MINER_TIMEOUT');
  assert.deepEqual(world.gateway.ends[0]?.paidMiners, [world.miner(1).address]);
});

test('an upgrade of another path is refused', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const ws = new WebSocket(`${world.router.url.replace('http', 'ws')}/elsewhere`);
  const error = await new Promise<Error>((resolve) => ws.once('error', resolve));
  assert.match(error.message, /404/);
});
