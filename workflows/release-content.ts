/**
 * `releaseContent`: gives what a closed session has laid on IPFS up to garbage collection, once its
 * owner's retention is over: requests, results, evidence and keyring. Policy, batches and the archive
 * stay. Its own workflow, so that the session's may end, and be asked, meanwhile.
 */
import { sleep } from '@temporalio/workflow';
import type { RetryPolicies } from '../domain/config.js';
import type { Cid, SessionId } from '../domain/ids.js';
import { ipfsActivities } from './activities.js';
import { untilKnown } from './failure.js';

export interface ReleaseContentInput {
  readonly sessionId: SessionId;
  /** The whole archive of the session. */
  readonly pages: readonly Cid[];
  /** Every keyring that it has had: each opens all that is sealed. */
  readonly keyrings: readonly Cid[];
  /** From the start of this workflow. */
  readonly retentionSeconds: number;
  readonly retries: RetryPolicies;
}

export async function releaseContent(input: ReleaseContentInput): Promise<void> {
  const { sessionId, pages, keyrings, retentionSeconds, retries } = input;
  const ipfs = ipfsActivities(retries);
  await sleep(retentionSeconds * 1_000);
  for (const page of pages) {
    let from: number | null = 0;
    while (from !== null) {
      const at: number = from;
      await untilKnown('releasing content', async () => {
        from = await ipfs.releaseTasks({ page, from: at });
      });
      // Refused for good: nothing of this page can be read any more.
      if (from === at) from = null;
    }
  }
  for (const keyring of keyrings) {
    await untilKnown('releasing a keyring', () => ipfs.unpin({ sessionId, cid: keyring }));
  }
}
