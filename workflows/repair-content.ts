/**
 * `repairContent`: keeps the IPFS nodes of a deployment alike. What one has lost or damaged comes back
 * from another, part by part, so that a worker that dies costs one part. Runs once, or for ever.
 */
import { continueAsNew, log, setHandler, sleep } from '@temporalio/workflow';
import { REPAIR_PARTS, sumReports, type RepairReport } from '../domain/content.js';
import type { RetryPolicies } from '../domain/config.js';
import { repairActivities } from './activities.js';
import { untilKnown } from './failure.js';
import { repairReportQuery } from './messages.js';

export interface RepairContentInput {
  /** From the end of one repair to the next; `null`: one is enough. */
  readonly everyMs: number | null;
  /** Of the repair before this one. */
  readonly last?: RepairReport | null;
  readonly retries: RetryPolicies;
}

export async function repairContent(input: RepairContentInput): Promise<RepairReport> {
  const ipfs = repairActivities(input.retries);
  let last = input.last ?? null;
  setHandler(repairReportQuery, () => last);
  const parts: RepairReport[] = [];
  for (let part = 0; part < REPAIR_PARTS; part++) {
    await untilKnown('repairing', async () => {
      parts.push(await ipfs.repairPart({ part, of: REPAIR_PARTS }));
    });
  }
  last = sumReports(parts);
  if (last.missing + last.corrupt + last.lost > 0) log.warn('blocks repaired', { ...last });
  if (input.everyMs === null) return last;
  await sleep(input.everyMs);
  return await continueAsNew<typeof repairContent>({ ...input, last });
}
