/** The health epoch of the main job: the schedule's own run, asked for now. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { EngineError } from '../../domain/errors.js';
import type { healthEpoch, HealthEpochResult } from '../../workflows/health-epoch.js';
import { failureCode } from '../workflow-failure.js';
import { HEALTH_SCHEDULE, type Starter } from '../../workers/starter.js';

const POLL_MS = 200;
/** From asking the schedule to its workflow being there. */
const START_MS = 30_000;

/** Runs an epoch and waits for its report. A run that is under way already is as good.
 * @throws JOB_FAILED — no epoch started, or it failed. */
export async function runEpoch(client: Client, starter: Starter): Promise<HealthEpochResult> {
  await starter.scheduleEpochs();
  const schedule = client.schedule.getHandle(HEALTH_SCHEDULE);
  const before = await workflowsOf();
  await schedule.trigger('SKIP');
  const workflowId = await newRun(before);
  try {
    return await client.workflow.getHandle<typeof healthEpoch>(workflowId).result();
  } catch (cause) {
    throw new EngineError(
      'JOB_FAILED',
      { what: 'the health epoch failed', code: failureCode(cause) },
      { cause },
    );
  }

  async function workflowsOf(): Promise<{ running: string[]; recent: string[] }> {
    const { info } = await schedule.describe();
    const idsOf = (actions: typeof info.recentActions): string[] =>
      actions.flatMap(({ action }) =>
        action.type === 'startWorkflow' ? [action.workflow.workflowId] : [],
      );
    const running = info.runningActions.flatMap((action) =>
      action.type === 'startWorkflow' ? [action.workflow.workflowId] : [],
    );
    return { running, recent: idsOf(info.recentActions) };
  }

  async function newRun(known: { running: string[]; recent: string[] }): Promise<string> {
    for (let waitedMs = 0; waitedMs < START_MS; waitedMs += POLL_MS) {
      const { running, recent } = await workflowsOf();
      const found = running.at(-1) ?? recent.findLast((id) => !known.recent.includes(id));
      if (found !== undefined) return found;
      await delay(POLL_MS);
    }
    throw new EngineError('JOB_FAILED', { what: 'the schedule started no health epoch' });
  }
}
