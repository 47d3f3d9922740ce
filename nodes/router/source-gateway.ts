/** What the router tells the workflows of sources: that something has changed, or is to stop. */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { RetryPolicies } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import { TASK_QUEUES, workflowIds } from '../../domain/ids.js';
import { sourceChangedSignal, WORKFLOWS } from '../../workflows/messages.js';

export interface SourceGateway {
  /** Has a source brought to what the catalogue says: by the run that is under way, or a new one.
   * @throws TEMPORAL_UNREACHABLE */
  changed(owner: string, source: string): Promise<void>;
  /** Stops the run under way, if any; what it has indexed stays. @throws TEMPORAL_UNREACHABLE */
  cancel(owner: string, source: string): Promise<void>;
}

/** Opens the gateway of a deployment. */
export function openSourceGateway(deps: {
  readonly client: Client;
  readonly retries: RetryPolicies;
}): SourceGateway {
  const { client, retries } = deps;
  const reach = async (call: () => Promise<unknown>): Promise<void> => {
    try {
      await call();
    } catch (cause) {
      if (cause instanceof WorkflowNotFoundError) return;
      throw new EngineError('TEMPORAL_UNREACHABLE', {}, { cause });
    }
  };
  return {
    changed: (owner, source) =>
      reach(() =>
        client.workflow.signalWithStart(WORKFLOWS.ingestSource, {
          workflowId: workflowIds.ingestSource(owner, source),
          taskQueue: TASK_QUEUES.workflows,
          args: [{ owner, source, retries }],
          signal: sourceChangedSignal,
          signalArgs: [],
        }),
      ),
    cancel: (owner, source) =>
      reach(() => client.workflow.getHandle(workflowIds.ingestSource(owner, source)).cancel()),
  };
}
