/**
 * A session's older tasks on their way out of its workflow: into an archive on IPFS while it serves,
 * and, where its policy says so, off IPFS again some time after its close.
 */
import { condition, isCancellation, log, sleep } from '@temporalio/workflow';
import { codeOf } from './failure.js';
import type { SessionContext } from './session-context.js';

/** Pause after retries have ended in an outage, before they start again. */
const OUTAGE_PAUSE = '1 minute';

/** Archives the oldest tasks by pages, and forgets them then. Runs while the session serves. */
export async function archiveTasks(session: SessionContext): Promise<never> {
  const { ledger, sessionId } = session;
  for (;;) {
    await condition(() => ledger.archivable().length > 0);
    try {
      await archivePage(session, ledger.archivable());
    } catch (error) {
      if (isCancellation(error)) throw error;
      log.warn('tasks not archived yet', { sessionId, code: codeOf(error) });
      await sleep(OUTAGE_PAUSE);
    }
  }
}

async function archivePage(
  session: SessionContext,
  records: ReturnType<SessionContext['ledger']['archivable']>,
): Promise<void> {
  const { ipfs, ledger, sessionId, archive } = session;
  const previous = archive.at(-1) ?? null;
  const cid = await ipfs.archiveTasks({ sessionId, previous, records });
  session.archive = [...archive, cid];
  ledger.forget(records.map((record) => record.taskId));
}
