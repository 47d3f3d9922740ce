/** Erasures, by way of their workflows: one a session, which its workflow id sees to. */
import {
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  type Client,
} from '@temporalio/client';
import type { EngineConfig } from '../domain/config.js';
import type { ErasureControl, ErasureView } from '../domain/erasure.js';
import { EngineError } from '../domain/errors.js';
import { TASK_QUEUES, workflowIds, type SessionId } from '../domain/ids.js';
import type { eraseSession } from '../workflows/erase-session.js';
import { erasureQuery, WORKFLOWS } from '../workflows/messages.js';

const CALL_MS = 10_000;

export function createErasures(deps: {
  readonly config: Pick<EngineConfig, 'retries' | 'layers'>;
  readonly client: Client;
}): ErasureControl {
  const { config, client } = deps;
  const { chainId } = config.layers.service;

  async function call<T>(sessionId: SessionId, ask: () => Promise<T>): Promise<T> {
    try {
      return await client.withDeadline(Date.now() + CALL_MS, ask);
    } catch (cause) {
      if (cause instanceof WorkflowNotFoundError) {
        throw new EngineError('ERASURE_NOT_FOUND', { sessionId }, { cause });
      }
      throw new EngineError('TEMPORAL_UNREACHABLE', { sessionId }, { cause });
    }
  }

  const view = (sessionId: SessionId): Promise<ErasureView> =>
    call(sessionId, () =>
      client.workflow
        .getHandle<typeof eraseSession>(workflowIds.eraseSession(chainId, sessionId))
        .query(erasureQuery),
    );

  return {
    view,
    async start(sessionId) {
      await call(sessionId, async () => {
        try {
          await client.workflow.start<typeof eraseSession>(WORKFLOWS.eraseSession, {
            workflowId: workflowIds.eraseSession(chainId, sessionId),
            taskQueue: TASK_QUEUES.workflows,
            workflowIdConflictPolicy: 'USE_EXISTING',
            // One that was refused has touched nothing, and may come true later.
            workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
            args: [
              {
                chainId,
                sessionId,
                workflowId: workflowIds.session(chainId, sessionId),
                retries: config.retries,
              },
            ],
          });
        } catch (error) {
          if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
        }
      });
      return await view(sessionId);
    },
  };
}
