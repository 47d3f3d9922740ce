/** The steps of a session's tasks on chain, where its policy asks for each of them. */
import { log } from '@temporalio/workflow';
import type { SettledTask } from '../domain/task.js';
import { stepActivities } from './activities.js';
import { codeOf, untilKnown } from './failure.js';
import type { SessionContext } from './session-context.js';

/** Puts the steps of ended tasks on chain, before they are settled. Money never depends on it: what
 * the chain refuses is left out. Twice for one task is once. */
export async function recordSteps(
  { input, policy, sessionId, stepped }: SessionContext,
  tasks: readonly SettledTask[],
): Promise<void> {
  if (policy.settlement !== 'stepwise') return;
  const steps = stepActivities(input.retries);
  const left = tasks.filter((task) => !stepped.has(task.taskId));
  await Promise.all(
    left.map(async ({ taskId, outcome, requestCid, evidenceCid }) => {
      const task = { sessionId, taskId, outcome, requestCid };
      const ended = evidenceCid === undefined ? task : { ...task, evidenceCid };
      const refusal = await untilKnown('steps', async () => {
        try {
          await steps.recordSteps(ended);
        } catch (error) {
          // Settling waits for the evidence, for a while; the steps are not to keep it from that.
          if (codeOf(error) !== 'CONTENT_MISSING') throw error;
          log.warn('steps left out', { sessionId, taskId });
        }
      });
      if (refusal !== null) log.warn('steps refused', { sessionId, taskId, code: refusal });
      stepped.add(taskId);
    }),
  );
}
