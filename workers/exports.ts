/** Exports, by way of their workflows: started, watched, ordered about. One of a session and sink runs at
 * a time, which its workflow id sees to. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { WorkflowNotFoundError, type Client, type WorkflowHandle } from '@temporalio/client';
import type { EngineConfig } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';
import type { ExportControl, ExportMode, ExportOrder, ExportView } from '../domain/export.js';
import { TASK_QUEUES, workflowIds, type SessionId } from '../domain/ids.js';
import type { exportSession, ExportSessionInput } from '../workflows/export-session.js';
import { exportOrderedSignal, exportQuery, WORKFLOWS } from '../workflows/messages.js';

const POLL_MS = 200;
const CALL_MS = 10_000;

export interface Exports extends ExportControl {
  /** Stops an export and waits for its end; none that runs is no error.
   * @throws the signal's reason — it aborts first. */
  stop(sessionId: SessionId, sink: string, signal: AbortSignal): Promise<void>;
  /** Names of the sinks that an export of the session was ever begun to, as long as Temporal knows. */
  sinksOf(sessionId: SessionId): Promise<readonly string[]>;
}

export function createExports(deps: {
  readonly config: Pick<EngineConfig, 'sinks' | 'retries' | 'layers'>;
  readonly client: Client;
}): Exports {
  const { config, client } = deps;
  const { chainId } = config.layers.service;

  const handleOf = (sessionId: SessionId, sink: string) =>
    client.workflow.getHandle<typeof exportSession>(workflowIds.exportSession(sessionId, sink));

  function optionsOf(sessionId: SessionId, sink: string, mode: ExportMode) {
    if (!Object.hasOwn(config.sinks, sink)) {
      throw new EngineError('REQUEST_INVALID', { field: 'sink', expected: 'a configured sink' });
    }
    const workflowId = workflowIds.session(chainId, sessionId);
    const input: ExportSessionInput = {
      sessionId,
      workflowId,
      sink,
      mode,
      retries: config.retries,
    };
    return {
      workflowId: workflowIds.exportSession(sessionId, sink),
      taskQueue: TASK_QUEUES.workflows,
      args: [input] as [ExportSessionInput],
      workflowIdReusePolicy: 'ALLOW_DUPLICATE' as const,
      workflowIdConflictPolicy: 'USE_EXISTING' as const,
    };
  }

  async function call<T>(place: { sessionId: string; sink: string }, ask: () => Promise<T>) {
    try {
      return await client.withDeadline(Date.now() + CALL_MS, ask);
    } catch (cause) {
      if (cause instanceof EngineError) throw cause;
      if (cause instanceof WorkflowNotFoundError) {
        throw new EngineError('EXPORT_NOT_FOUND', place, { cause });
      }
      throw new EngineError('TEMPORAL_UNREACHABLE', place, { cause });
    }
  }

  const view = (sessionId: SessionId, sink: string): Promise<ExportView> =>
    call({ sessionId, sink }, () => handleOf(sessionId, sink).query(exportQuery));

  const order = async (
    sessionId: SessionId,
    sink: string,
    what: ExportOrder,
  ): Promise<ExportView> => {
    await call({ sessionId, sink }, () =>
      handleOf(sessionId, sink).signal(exportOrderedSignal, { order: what, id: randomUUID() }),
    );
    return await view(sessionId, sink);
  };

  return {
    async start(sessionId, sink, mode) {
      const options = optionsOf(sessionId, sink, mode);
      await call({ sessionId, sink }, () =>
        client.workflow.start<typeof exportSession>(WORKFLOWS.exportSession, options),
      );
      return await view(sessionId, sink);
    },
    view,
    order,
    async ask(sessionId, sink, what, waitMs) {
      const id = randomUUID();
      const options = optionsOf(sessionId, sink, what);
      await call({ sessionId, sink }, () =>
        client.workflow.signalWithStart<typeof exportSession, [{ order: ExportOrder; id: string }]>(
          WORKFLOWS.exportSession,
          { ...options, signal: exportOrderedSignal, signalArgs: [{ order: what, id }] },
        ),
      );
      for (const deadline = Date.now() + waitMs; ; await delay(POLL_MS)) {
        const now = await view(sessionId, sink);
        const isAnswered = now.answered === id;
        if (isAnswered || now.state === 'Failed' || Date.now() >= deadline) {
          return { view: now, isAnswered };
        }
      }
    },
    async sinksOf(sessionId) {
      const begun: string[] = [];
      for (const sink of Object.keys(config.sinks)) {
        try {
          await call({ sessionId, sink }, () => handleOf(sessionId, sink).describe());
          begun.push(sink);
        } catch (error) {
          if (!(error instanceof EngineError && error.code === 'EXPORT_NOT_FOUND')) throw error;
        }
      }
      return begun;
    },
    async stop(sessionId, sink, signal) {
      const handle = handleOf(sessionId, sink);
      try {
        await order(sessionId, sink, 'stop');
      } catch (error) {
        if (error instanceof EngineError && error.code === 'EXPORT_NOT_FOUND') return;
        throw error;
      }
      while (await isRunning(handle)) {
        await delay(POLL_MS, undefined, { signal });
      }
    },
  };
}

async function isRunning(handle: WorkflowHandle<typeof exportSession>): Promise<boolean> {
  return (await handle.describe()).status.name === 'RUNNING';
}
