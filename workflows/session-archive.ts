/**
 * A session's older tasks on their way out of its workflow: into an archive on IPFS while it serves,
 * and, where its policy says so, off IPFS again some time after its close.
 */
import { condition, isCancellation, log, sleep, startChild } from '@temporalio/workflow';
import { ARCHIVE_PAGE_TASKS } from '../domain/archive.js';
import { workflowIds, type Cid } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import type { ManifestLink } from '../domain/manifest.js';
import { codeOf, OUTAGE_PAUSE, untilKnown } from './failure.js';
import { WORKFLOWS } from './messages.js';
import type { releaseContent } from './release-content.js';
import type { SessionContext } from './session-context.js';

/** Archives the oldest tasks by pages, and forgets them then. Runs while the session serves. */
export async function archiveTasks(session: SessionContext): Promise<never> {
  const { ledger, sessionId } = session;
  for (;;) {
    await condition(() => archivable(session).length > 0);
    try {
      const records = archivable(session);
      const page = await archivePage(session, records);
      const taskIds = records.map((record) => record.taskId);
      session.archiveIndex.add(page, taskIds);
      ledger.forget(taskIds);
    } catch (error) {
      if (isCancellation(error)) throw error;
      log.warn('tasks not archived yet', { sessionId, code: codeOf(error) });
      await sleep(OUTAGE_PAUSE);
    }
  }
}

/** What still waits for its host is not forgotten. */
function archivable({ ledger, hosting }: SessionContext): TaskRecord[] {
  const page = ledger.archivable();
  return page.some(({ taskId }) => hosting?.isWaiting(taskId) === true) ? [] : page;
}

/** After the close: the rest of the tasks goes into the archive, and a manifest names all that the
 * session has laid on IPFS. Queries still know the tasks. */
export async function writeManifest(session: SessionContext): Promise<void> {
  const { ledger, sessionId, owner, input, policyCid, ipfs } = session;
  if (policyCid === null) return;
  const rest = ledger.records();
  for (let i = 0; i < rest.length; i += ARCHIVE_PAGE_TASKS) {
    const records = rest.slice(i, i + ARCHIVE_PAGE_TASKS);
    await untilKnown('archiving', () => archivePage(session, records));
  }
  const tasks: ManifestLink[] = [];
  let taskCount = 0;
  for (const page of session.archive) {
    for (let from: number | null = 0; from !== null;) {
      const at: number = from;
      from = null;
      await untilKnown('describing tasks', async () => {
        const described = await ipfs.describeTasks({ page, from: at });
        if (described.list !== null) tasks.push(described.list);
        taskCount += described.tasks;
        from = described.next;
      });
    }
  }
  await untilKnown('writing the manifest', async () => {
    session.manifestCid = await ipfs.writeManifest({
      chainId: input.chainId,
      sessionId,
      owner,
      policy: policyCid,
      keyrings: keyringsOf(session),
      archive: session.archive,
      tasks,
      taskCount,
    });
  });
}

function keyringsOf({ keyring, formerKeyrings }: SessionContext): readonly Cid[] {
  return keyring === null ? [] : [...formerKeyrings, keyring.cid];
}

/** After the close: what the policy wants gone in time gets its own workflow, which knows all that
 * there is by the archive. */
export async function startRelease(session: SessionContext): Promise<void> {
  const { policy, sessionId, input } = session;
  if (policy.retentionSeconds === 0) return;
  await startChild<typeof releaseContent>(WORKFLOWS.releaseContent, {
    workflowId: workflowIds.releaseContent(input.chainId, sessionId),
    args: [
      {
        sessionId,
        pages: session.archive,
        keyrings: keyringsOf(session),
        retentionSeconds: policy.retentionSeconds,
        retries: input.retries,
      },
    ],
    parentClosePolicy: 'ABANDON',
  });
}

async function archivePage(session: SessionContext, records: readonly TaskRecord[]): Promise<Cid> {
  const { ipfs, sessionId, archive } = session;
  const previous = archive.at(-1) ?? null;
  const cid = await ipfs.archiveTasks({ sessionId, previous, records });
  session.archive = [...archive, cid];
  return cid;
}
