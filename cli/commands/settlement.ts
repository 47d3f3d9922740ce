/** `cortensor settlement`: the one workflow that settles sessions' tasks in batches. */
import { WorkflowNotFoundError } from '@temporalio/client';
import { workflowIds } from '../../domain/ids.js';
import { defineCommand } from '../command.js';
import { OPERATOR_OPTIONS, withEngine, type Engine } from '../operator.js';

const COMMON = { args: [], options: OPERATOR_OPTIONS } as const;

export const settlementStart = defineCommand({
  ...COMMON,
  name: 'settlement start',
  about: `Starts the settlement workflow of the service layer; one that runs goes on as it is. Every worker
does the same when it starts.`,
  failure: 'Temporal could not be reached',
  run: ({ values }) =>
    withEngine(values.config, async (engine) => {
      await engine.starter.startSettlement();
      return await describe(engine);
    }),
});

export const settlementShow = defineCommand({
  ...COMMON,
  name: 'settlement show',
  about: 'Says whether the settlement workflow of the service layer runs.',
  failure: 'it does not run, or Temporal could not be reached',
  run: ({ values }) => withEngine(values.config, describe),
});

async function describe({ client, config }: Engine) {
  const workflowId = workflowIds.settlement(config.layers.service.chainId);
  const status = await statusOf(client.workflow.getHandle(workflowId));
  return {
    lines: [`${workflowId}: ${status}`],
    json: { workflowId, status },
    isHeld: status === 'RUNNING',
  };
}

async function statusOf(handle: {
  describe(): Promise<{ readonly status: { readonly name: string } }>;
}): Promise<string> {
  try {
    return (await handle.describe()).status.name;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return 'NOT_STARTED';
    throw error;
  }
}
