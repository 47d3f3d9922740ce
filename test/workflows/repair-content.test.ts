import assert from 'node:assert/strict';
import test, { after } from 'node:test';
import { REPAIR_PARTS, type RepairReport } from '../../domain/content.js';
import { TASK_QUEUES } from '../../domain/ids.js';
import { repairReportQuery } from '../../workflows/messages.js';
import { down, RETRIES, startTimeSkipping, untilTrue, withWorkers } from '../support/workflows.js';

const env = await startTimeSkipping();
after(() => env.teardown());

const report = (change: Partial<RepairReport>): RepairReport => ({
  ...{ pins: 1, blocks: 2, missing: 0, corrupt: 0, restored: 0, lost: 0, away: 0 },
  ...change,
});

function start(workflowId: string, everyMs: number | null) {
  return env.client.workflow.start('repairContent', {
    workflowId,
    taskQueue: TASK_QUEUES.workflows,
    args: [{ everyMs, retries: RETRIES }],
  });
}

test('repairContent: looks at every part once, outlasts an outage, and adds the counts up', async () => {
  const parts: number[] = [];
  let outages = 2;
  const repairPart = async ({ part, of }: { part: number; of: number }) => {
    assert.equal(of, REPAIR_PARTS);
    if (part === 3 && outages-- > 0) throw down('IPFS_UNREACHABLE');
    parts.push(part);
    return report(part === 5 ? { missing: 2, restored: 1, lost: 1, away: 1 } : {});
  };
  await withWorkers(env, { ipfs: { repairPart } }, async () => {
    const sum: unknown = await (await start('repair:now', null)).result();
    assert.deepEqual(parts, [...Array(REPAIR_PARTS).keys()]);
    assert.deepEqual(sum, {
      ...{ pins: REPAIR_PARTS, blocks: 2 * REPAIR_PARTS },
      ...{ missing: 2, corrupt: 0, restored: 1, lost: 1, away: 1 },
    });
  });
});

test('repairContent: on a schedule it goes on for ever, and says what it found last', async () => {
  let parts = 0;
  const repairPart = async () => report({ corrupt: ++parts > REPAIR_PARTS ? 1 : 0 });
  await withWorkers(env, { ipfs: { repairPart } }, async () => {
    const handle = await start('repair:content', 3_600_000);
    const latest = env.client.workflow.getHandle(handle.workflowId);
    const hasRunTwice = async () =>
      (await latest.query(repairReportQuery))?.corrupt === REPAIR_PARTS;
    await untilTrue(env, hasRunTwice, 'two repairs', '10 minutes');
    assert.ok(parts >= 2 * REPAIR_PARTS);
    await latest.terminate();
  });
});
