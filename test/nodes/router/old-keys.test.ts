/** Idempotency keys of tasks that the session's workflow has long forgotten. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import type { ArchivePage } from '../../../domain/archive.js';
import { EngineError } from '../../../domain/errors.js';
import type { TaskId } from '../../../domain/ids.js';
import type { TaskRecord } from '../../../domain/lease.js';
import { SESSION, startWorld, until, type World } from './support.js';

const KEY = { 'idempotency-key': 'the first request of all' };

/** Moves all records into a page of the archive, as a session's workflow does in time, and gives the
 * session to a host that has never served it.
 * @param indexed - ids that the index names the page for besides. */
async function archiveAll(world: World, indexed: readonly TaskId[] = []): Promise<void> {
  const { gateway, blocks, router } = world;
  const records = [...gateway.records.values()];
  const page: ArchivePage = { version: 1, sessionId: SESSION, previous: null, records };
  const cid = await blocks.put(encodeJson(page));
  gateway.pages.push(cid);
  gateway.archiveIndex.add(cid, [...gateway.records.keys(), ...indexed]);
  gateway.records.clear();
  const [host] = router.sessions.all();
  assert.ok(host);
  await until(() => host.openTasks === 0, 'the end of the tasks');
  await router.sessions.release(host, 1_000);
  await router.sessions.open(world.lease);
}

interface Completion {
  readonly choices: readonly { readonly message: { readonly content: string } }[];
}
const contentOf = async (response: Response) =>
  ((await response.json()) as Completion).choices[0]?.message.content;

for (const level of ['open', 'link'] as const) {
  test(`at level ${level}, a key of long ago has its first answer, and nothing runs or is recorded again`, async (t) => {
    const world = await startWorld([{}], { policy: { level } });
    t.after(() => world.close());
    const first = await contentOf(await world.chat('hi', {}, KEY));
    await archiveAll(world);

    const again = await world.chat('hi', {}, KEY);
    assert.equal(again.status, 200);
    assert.equal(await contentOf(again), first);
    assert.equal(world.gateway.ends.length, 1);
    assert.equal(world.gateway.records.size, 0);
  });

  test(`at level ${level}, a key of long ago is no name for another request`, async (t) => {
    const world = await startWorld([{}], { policy: { level } });
    t.after(() => world.close());
    await world.chat('hi', {}, KEY);
    await archiveAll(world);

    const other = await world.chat('something else', {}, KEY);
    assert.equal(other.status, 409);
    assert.match(await other.text(), /IDEMPOTENCY_CONFLICT/);
    assert.equal(world.gateway.records.size, 0);
  });
}

test('a job of long ago that is delegated again is shown as it ended', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const delegate = () =>
    world.ask('/api/v1/delegate', {
      method: 'POST',
      headers: KEY,
      body: JSON.stringify({ goal: 'hi' }),
    });
  const taskId = (await delegate()).headers.get('x-cortensor-task');
  await until(() => world.gateway.ends.length === 1, 'the end of the job');
  await archiveAll(world);

  const again = await delegate();
  assert.equal(again.status, 202);
  assert.equal(again.headers.get('x-cortensor-task'), taskId);
  assert.equal(((await again.json()) as TaskRecord).outcome, 'completed');
  assert.equal(world.gateway.ends.length, 1);
});

test('a page that is named in vain is read once, and the task is taken', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const probe = await world.chat('hi', {}, KEY);
  const taskId = probe.headers.get('x-cortensor-task') as TaskId;
  world.gateway.records.clear();
  await archiveAll(world, [taskId]);

  const response = await world.chat('hi', {}, KEY);
  assert.equal(response.status, 200);
  assert.equal(world.gateway.records.get(taskId)?.outcome, 'completed');
  const [asked, notIn] = world.gateway.submitted.slice(-2).map(([task]) => task?.notIn);
  assert.deepEqual([asked, notIn], [undefined, world.gateway.pages]);
});

test('while the archive cannot be read, a key of long ago waits for it, and is no new task', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const first = await contentOf(await world.chat('hi', {}, KEY));
  await archiveAll(world);
  let outages = 3;
  const { get } = world.blocks;
  world.blocks.get = async (cid) => {
    const isAway = cid === world.gateway.pages[0] && outages-- > 0;
    if (isAway) throw new EngineError('IPFS_UNREACHABLE');
    return get.call(world.blocks, cid);
  };

  assert.equal(await contentOf(await world.chat('hi', {}, KEY)), first);
  assert.ok(outages < 0);
  assert.equal(world.gateway.records.size, 0);
  assert.equal(world.gateway.ends.length, 1);
});
