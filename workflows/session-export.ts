/** The exports that a session's policy asks for, started when it has closed. */
import { log, startChild, workflowInfo } from '@temporalio/workflow';
import { workflowIds } from '../domain/ids.js';
import type { exportSession } from './export-session.js';
import { codeOf } from './failure.js';
import { WORKFLOWS } from './messages.js';
import type { SessionContext } from './session-context.js';

/** Starts an export to each sink of the policy. They go on by themselves; one that follows the session
 * already brings the end along. */
export async function startExports(session: SessionContext): Promise<void> {
  const { policy, sessionId, input } = session;
  const { workflowId } = workflowInfo();
  for (const sink of policy.sinks) {
    try {
      await startChild<typeof exportSession>(WORKFLOWS.exportSession, {
        workflowId: workflowIds.exportSession(sessionId, sink),
        parentClosePolicy: 'ABANDON',
        args: [{ sessionId, workflowId, sink, mode: 'once', retries: input.retries }],
      });
    } catch (error) {
      log.warn('export not started', { sessionId, sink, code: codeOf(error) });
    }
  }
}
