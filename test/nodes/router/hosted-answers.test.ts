/** What clients hear of a session's host, and what a miner can do to another session's keys. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '../../../domain/errors.js';
import type { SessionId, TaskId } from '../../../domain/ids.js';
import type { TaskCompletion } from '../../../domain/task.js';
import type { PutOptions } from '../../../adapters/ipfs/block-store.js';
import { sessionHolder } from '../../../domain/content.js';
import { FakeGateway, MemoryBlocks, SESSION, startWorld } from './support.js';

/** A workflow whose session has a host that is away. */
class AwayGateway extends FakeGateway {
  override async complete(sessionId: SessionId, tasks: readonly TaskCompletion[]) {
    const answers = await super.complete(sessionId, tasks);
    return answers.map((answer) => ({ ...answer, hostCode: 'HOST_UNREACHABLE' }));
  }
  override async task(sessionId: SessionId, taskId: TaskId) {
    const record = await super.task(sessionId, taskId);
    const host = { state: 'waiting', code: 'HOST_UNREACHABLE' } as const;
    return record === null ? null : { ...record, host };
  }
}

test('an answer that waits for its host says so, at first and when it is asked for again', async () => {
  const world = await startWorld([{}, {}, {}], { gateway: new AwayGateway() });
  try {
    const headers = { 'idempotency-key': 'one' };
    for (const _ of ['at first', 'again']) {
      const response = await world.chat('hello', {}, headers);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get('x-cortensor-host'), 'HOST_UNREACHABLE');
    }
  } finally {
    await world.close();
  }
});

test('an answer that nothing keeps from anywhere has no word of a host', async () => {
  const world = await startWorld([{}, {}, {}]);
  try {
    assert.equal((await world.chat('hello')).headers.get('x-cortensor-host'), null);
  } finally {
    await world.close();
  }
});

/** Blocks for whom they are, which results are refused for: they are another session's keys. */
class Guarded extends MemoryBlocks {
  readonly holders: (string | undefined)[] = [];
  refused = 0;
  override put(bytes: Uint8Array, options: PutOptions = {}): Promise<string> {
    this.holders.push(options.holder);
    // The request, which is refused for nothing, comes before the results.
    const isFirst = this.holders.length <= 2;
    const isEvidence = bytes[0] === '{'.charCodeAt(0);
    if (isFirst || isEvidence) return super.put(bytes);
    this.refused++;
    return Promise.reject(new EngineError('REQUEST_INVALID', { field: 'content' }));
  }
}

test("a result that is another session's keys is not kept for this one, and ends no task", async () => {
  const blocks = new Guarded();
  const world = await startWorld([{}, {}, {}], { blocks });
  try {
    const response = await world.chat('hello');
    assert.equal(response.status, 200);
    assert.ok(blocks.refused > 0);
    const [, ...ofTask] = blocks.holders;
    assert.deepEqual([...new Set(ofTask)], [sessionHolder(SESSION)]);
  } finally {
    await world.close();
  }
});
