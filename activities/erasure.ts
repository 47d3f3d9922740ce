/** Erasing a session: what there is of it, its keys, its records, and the receipt. */
import { sessionHolder } from '../domain/content.js';
import { findEngineError, EngineError } from '../domain/errors.js';
import type { ErasurePlan, ErasureReceipt, SignedErasure } from '../domain/erasure.js';
import type { Address, Cid, Hex, SessionId } from '../domain/ids.js';
import type { SessionManifest, TaskList } from '../domain/manifest.js';
import type { SessionReader } from './database.js';
import { translated } from './failure.js';

export interface ErasureActivities {
  /** Looks at what a closed session has left.
   * @throws ERASURE_REFUSED — it is not closed, or at level `open`, whose content other sessions may
   *   share and anyone may have. @throws SESSION_NOT_FOUND */
  planErasure(input: {
    readonly sessionId: SessionId;
    /** Of the session's workflow. */
    readonly workflowId: string;
  }): Promise<ErasurePlan>;
  /** Takes a session's keyrings off every node at once, without waiting for garbage collection.
   * Repeated, it finds nothing to do. */
  destroyKeys(session: {
    readonly sessionId: SessionId;
    readonly keyrings: readonly Cid[];
  }): Promise<void>;
  /** Gives up a session's manifests. One that is gone is no error. */
  releaseManifest(session: {
    readonly sessionId: SessionId;
    readonly manifestCid: Cid;
  }): Promise<void>;
  /** Signs a receipt and lays it on IPFS. The same receipt is the same document. */
  signErasure(receipt: ErasureReceipt): Promise<SignedErasure>;
}

export interface ErasureActivityDeps {
  readonly session: Pick<SessionReader, 'view' | 'archive'>;
  readonly readManifest: (cid: Cid) => Promise<SessionManifest>;
  readonly readTaskList: (cid: Cid) => Promise<TaskList>;
  readonly unpin: (cid: Cid, holder: string) => Promise<void>;
  /** Unpins a block and takes it off every node. */
  readonly removeBlock: (cid: Cid, holder: string) => Promise<void>;
  /** Names of the sinks that a session was ever exported to. */
  readonly sinksOf: (sessionId: SessionId) => Promise<readonly string[]>;
  readonly putJson: (value: unknown) => Promise<Cid>;
  readonly canonicalJson: (value: unknown) => string;
  /** Signs a text by EIP-191. */
  readonly signText: (text: string) => Promise<{ signer: Address; signature: Hex }>;
}

export function createErasureActivities(deps: ErasureActivityDeps): ErasureActivities {
  const { session } = deps;
  return translated<ErasureActivities>({
    async planErasure({ sessionId, workflowId }) {
      const view = await session.view(workflowId);
      const { owner, state, policy, keyring, manifestCid, tasks } = view;
      if (state !== 'Closed' && state !== 'Failed') {
        throw new EngineError('ERASURE_REFUSED', { sessionId, state });
      }
      if (policy.level === 'open') {
        throw new EngineError('ERASURE_REFUSED', { sessionId, level: policy.level });
      }
      if (state === 'Closed' && manifestCid === null) {
        // The close is on chain, and its records are still on their way out of the workflow.
        throw new EngineError('SESSION_BUSY', { sessionId });
      }
      const manifest = manifestCid === null ? null : await orGone(deps.readManifest(manifestCid));
      const earlier = manifest?.keyrings.map(({ cid }) => cid) ?? [];
      const keyrings = new Set([...earlier, ...(keyring === null ? [] : [keyring.cid])]);
      return {
        owner,
        level: policy.level,
        keyrings: [...keyrings],
        tasks: tasks.ended,
        pages: await session.archive(workflowId),
        manifestCid,
        sinks: await deps.sinksOf(sessionId),
        ...(policy.host === undefined ? {} : { host: policy.host }),
      };
    },

    async destroyKeys({ sessionId, keyrings }) {
      for (const cid of keyrings) await deps.removeBlock(cid, sessionHolder(sessionId));
    },

    async releaseManifest({ sessionId, manifestCid }) {
      const holder = sessionHolder(sessionId);
      const manifest = await orGone(deps.readManifest(manifestCid));
      for (const { cid } of manifest?.tasks ?? []) {
        const list = await orGone(deps.readTaskList(cid));
        for (const task of list?.tasks ?? []) await deps.unpin(task.cid, holder);
        await deps.unpin(cid, holder);
      }
      // Last: a release that was cut short starts with it.
      await deps.unpin(manifestCid, holder);
    },

    async signErasure(receipt) {
      const signed = await deps.signText(deps.canonicalJson(receipt));
      return { receipt, ...signed, cid: await deps.putJson({ receipt, ...signed }) };
    },
  });
}

async function orGone<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if (findEngineError(error)?.code === 'CONTENT_MISSING') return null;
    throw error;
  }
}
