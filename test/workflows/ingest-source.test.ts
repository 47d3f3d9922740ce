import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ApplicationFailure } from '@temporalio/common';
import type { SourceActivities } from '../../activities/sources.js';
import { TASK_QUEUES, workflowIds } from '../../domain/ids.js';
import type { RemovalReceipt } from '../../domain/source.js';
import { ingestProgressQuery, sourceChangedSignal } from '../../workflows/messages.js';
import { RETRIES, startLocal, withWorkers } from '../support/workflows.js';

const COUNTS = { items: 1, added: 2, unchanged: 3 };
const RECEIPT: RemovalReceipt = {
  chunks: 5,
  vectors: 5,
  blocks: 6,
  digest: '0x0d',
  removedAt: '2026-01-01T00:00:00.000Z',
};

let env: TestWorkflowEnvironment;
before(async () => {
  // A server that skips time does not end a run that is cancelled from within its own activity.
  env = await startLocal();
});
after(() => env.teardown());

/** A catalogue of one source, and what was done about it. */
class Fake implements SourceActivities {
  revision = 1;
  isRemoved = false;
  items = 2;
  readonly done: string[] = [];
  onItem: (item: number) => Promise<void> = async () => undefined;

  planIngest = async () => {
    const { revision, isRemoved, items } = this;
    return { revision, isRemoved, items };
  };
  ingestItem: SourceActivities['ingestItem'] = async ({ revision, item }) => {
    await this.onItem(item);
    this.done.push(`item ${item} of ${revision}`);
    return COUNTS;
  };
  finishIngest: SourceActivities['finishIngest'] = async ({ revision, counts }) => {
    this.done.push(`finish ${revision}: ${counts.added} added, ${counts.unchanged} unchanged`);
    return 0;
  };
  noteIngest: SourceActivities['noteIngest'] = async ({ revision, failure }) => {
    this.done.push(`note ${revision}: ${failure?.code ?? 'none'}`);
  };
  removeSource = async () => {
    this.done.push('remove');
    return RECEIPT;
  };
}

const start = (name: string) => {
  const input = { owner: 'key:a', source: name, retries: RETRIES };
  return env.client.workflow.start('ingestSource', {
    workflowId: workflowIds.ingestSource('key:a', name),
    taskQueue: TASK_QUEUES.workflows,
    args: [input],
  });
};
const handleOf = (name: string) =>
  env.client.workflow.getHandle(workflowIds.ingestSource('key:a', name));
const working = (fake: Fake, scenario: () => Promise<void>) =>
  withWorkers(env, { [TASK_QUEUES.database]: fake }, scenario);

test('ingestSource: brings every document in, then drops what is stale', async () => {
  const fake = new Fake();
  await working(fake, async () => {
    const handle = await start('plain');
    await handle.result();
    const progress = await handle.query(ingestProgressQuery);
    assert.deepEqual([progress.items, progress.done, progress.counts.added], [2, 2, 4]);
  });
  assert.deepEqual(fake.done, ['item 0 of 1', 'item 1 of 1', 'finish 1: 4 added, 6 unchanged']);
});

test('ingestSource: begins anew when the source changes under way, up to its removal', async () => {
  const fake = new Fake();
  await working(fake, async () => {
    const handle = handleOf('changing');
    fake.onItem = async () => {
      fake.onItem = async () => {
        fake.isRemoved = true;
        await handle.signal(sourceChangedSignal);
      };
      fake.revision = 2;
      await handle.signal(sourceChangedSignal);
    };
    await start('changing');
    await handle.result();
  });
  assert.deepEqual(fake.done, ['item 0 of 1', 'item 0 of 2', 'remove']);
});

test('ingestSource: a document that cannot be read keeps no other from being found', async () => {
  const fake = new Fake();
  fake.onItem = async (item) => {
    if (item === 0) throw ApplicationFailure.nonRetryable('locked', 'SOURCE_UNREADABLE');
  };
  await working(fake, async () => {
    await (await start('unreadable')).result();
  });
  assert.deepEqual(fake.done, ['item 1 of 1', 'note 1: SOURCE_UNREADABLE']);
});

test('ingestSource: tells that it was cancelled, and runs again when something changes', async () => {
  const fake = new Fake();
  await working(fake, async () => {
    const handle = handleOf('cancelled');
    fake.onItem = async () => {
      fake.onItem = async () => undefined;
      await handle.cancel();
    };
    await start('cancelled');
    await assert.rejects(handle.result());
    assert.deepEqual(fake.done.at(-1), 'note 1: CANCELLED');
    await (await start('cancelled')).result();
  });
  assert.equal(fake.done.at(-1), 'finish 1: 4 added, 6 unchanged');
});
