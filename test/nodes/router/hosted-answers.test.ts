/** What clients hear of a session's host, and what a miner can do to another session's keys. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getJson, type PutOptions } from '../../../adapters/ipfs/block-store.js';
import type { Validation } from '../../../domain/api.js';
import { sessionHolder } from '../../../domain/content.js';
import { EngineError } from '../../../domain/errors.js';
import type { Cid, SessionId, TaskId } from '../../../domain/ids.js';
import type { TaskCompletion, TaskEvidence } from '../../../domain/task.js';
import type { Judge } from '../../../nodes/router/judge.js';
import { FakeGateway, MemoryBlocks, SESSION, startWorld, viewOf } from './support.js';

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

/** Our nodes, and the user's store that content has moved to; read through one, as the engine does. */
class MovedBlocks extends MemoryBlocks {
  readonly theirs = new Map<Cid, Uint8Array>();
  override async get(cid: Cid): Promise<Uint8Array> {
    return this.theirs.get(cid) ?? (await super.get(cid));
  }
}

test('a task whose answers have moved to their host is judged, and nothing of it stays with us', async () => {
  const blocks = new MovedBlocks();
  const judge: Judge = async ({ answers }) => {
    for (const { resultCid } of answers) {
      if (!blocks.blocks.has(resultCid)) throw new EngineError('ORACLE_UNREACHABLE');
    }
    const scores = answers.map(({ miner }) => ({ miner, scoreBps: 10_000, isAgreed: true }));
    const medoid = answers[0]?.miner ?? null;
    return { status: 'agreed', method: 'embedding', medoid, scores };
  };
  const policy = { redundancy: 3, host: 'mine' };
  const world = await startWorld([{}, {}, {}], { blocks, judge, policy });
  try {
    const { lease, gateway } = world;
    gateway.views.set(SESSION, viewOf({ policy: lease.policy, keyring: lease.keyring }));
    const taskId = (await world.chat('hello')).headers.get('x-cortensor-task') as TaskId;
    const { evidenceCid } = gateway.records.get(taskId) ?? assert.fail();
    const evidence = await getJson(blocks, evidenceCid ?? '', (value) => value as TaskEvidence);
    const results = evidence.commitments.map(({ resultCid }) => resultCid);
    for (const cid of results) {
      blocks.theirs.set(cid, await blocks.get(cid));
      blocks.blocks.delete(cid);
    }
    const body = JSON.stringify({ sessionId: SESSION, taskId });
    const response = await world.ask('/api/v1/validate', { method: 'POST', body });
    assert.equal(((await response.json()) as Validation).verdict, 'VALID');
    for (const cid of results) assert.ok(!blocks.blocks.has(cid), 'lent, and let go again');
  } finally {
    await world.close();
  }
});
