/**
 * `dappRequests`: one a chain, for ever. Finds what contracts ask, in the order of their numbers, and
 * gives each request a session of its own, which ends it on chain. What is past its deadline and has
 * not ended is ended here, with all its money back. Nothing is remembered but how far was read: a
 * new run reads again from the oldest request under way.
 */
import {
  ActivityFailure,
  condition,
  continueAsNew,
  isCancellation,
  log,
  ParentClosePolicy,
  sleep,
  startChild,
  type ChildWorkflowHandle,
  type Workflow,
} from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { Admission } from '../activities/admission.js';
import type { OpenInference, QueueMark } from '../activities/inference.js';
import type { RetryPolicies } from '../domain/config.js';
import { workflowIds, type SessionId } from '../domain/ids.js';
import type { ReservedMiner, SessionView } from '../domain/session.js';
import { inferenceActivities } from './activities.js';
import { codeOf, OUTAGE_PAUSE } from './failure.js';
import { WORKFLOWS } from './messages.js';
import type { refuseInference } from './refuse-inference.js';
import { isRunLong } from './run-length.js';
import type { session } from './session.js';

export interface DappRequestsInput {
  readonly chainId: number;
  /** From one look at the chain to the next. */
  readonly everyMs: number;
  /** What sessions of contracts are started with. */
  readonly feeBps: number;
  readonly validators: readonly ReservedMiner[];
  readonly routerRecipient: string;
  readonly retries: RetryPolicies;
  /** How far an earlier run had read. */
  readonly carried?: { readonly marks: readonly QueueMark[] };
}

/** Requests that are served at a time; more wait, on chain. */
const MAX_UNDER_WAY = 500;
/** One look lasts this long where there is nothing new, and no longer than an attempt may. */
const LOOK_MS = 30_000;
/** A session ends its request itself; this long after the deadline it is taken to have died. */
const GRACE_MS = 15 * 60_000;

/** A request under way. */
interface Entry extends OpenInference {
  /** When nobody but this workflow ends it any more. */
  dueMs: number;
  isEnding: boolean;
}

export async function dappRequests(input: DappRequestsInput): Promise<never> {
  const { retries, everyMs } = input;
  const chain = inferenceActivities(retries);
  const forMs = Math.min(LOOK_MS, retries.chain.startToCloseMs / 2);
  const underWay = new Map<SessionId, Entry>();
  let marks: readonly QueueMark[] = input.carried?.marks ?? [];

  for (;;) {
    await condition(() => underWay.size < MAX_UNDER_WAY, OUTAGE_PAUSE);
    const isRoom = underWay.size < MAX_UNDER_WAY;
    const hasMore = isRoom && (await look());
    endOverdue();
    if (isRunLong()) {
      await continueAsNew<typeof dappRequests>({ ...input, carried: { marks: marksOfUnended() } });
    }
    if (!hasMore) await sleep(everyMs);
  }

  /** @returns whether more is there to be read at once. */
  async function look(): Promise<boolean> {
    try {
      const { found, hasMore, ...next } = await chain.findInferences({ marks, everyMs, forMs });
      marks = next.marks;
      for (const request of found) take(request);
      return hasMore;
    } catch (error) {
      if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
      log.warn('chain not read yet', { code: codeOf(error) });
      await sleep(OUTAGE_PAUSE);
      return false;
    }
  }

  /** Serves a request that is new; one that is known may have another number now. */
  function take(request: OpenInference): void {
    const known = underWay.get(request.sessionId);
    if (known !== undefined) {
      Object.assign(known, request);
      known.dueMs = Math.max(known.dueMs, request.deadline * 1_000);
      return;
    }
    const entry = { ...request, dueMs: request.deadline * 1_000, isEnding: false };
    underWay.set(request.sessionId, entry);
    serve(entry).catch((error: unknown) => {
      if (isCancellation(error)) return;
      // The deadline ends what cannot be served.
      log.error('request not served', { sessionId: entry.sessionId, code: codeOf(error) });
    });
  }

  async function serve(entry: Entry): Promise<void> {
    const { sessionId } = entry;
    while (Date.now() < entry.deadline * 1_000) {
      try {
        const admission = await chain.admitInference({ sessionId });
        if (admission.status === 'gone') {
          underWay.delete(sessionId);
          return;
        }
        const child = await start(sessionId, entry, admission);
        // Its session ends it; an end that nobody saw is looked for after the deadline.
        entry.dueMs = entry.deadline * 1_000 + GRACE_MS;
        const end = (await child?.result()) as Pick<SessionView, 'state'> | undefined;
        if (end?.state === 'Closed') underWay.delete(sessionId);
        return;
      } catch (error) {
        if (!(error instanceof ActivityFailure) || isCancellation(error)) throw error;
        log.warn('request not admitted yet', { sessionId, code: codeOf(error) });
        await sleep(OUTAGE_PAUSE);
      }
    }
  }

  /** @returns `null` when the request has, or had, its session: it is one, whatever number it has. */
  async function start(
    sessionId: SessionId,
    { deadline }: Entry,
    admission: Exclude<Admission, { status: 'gone' }>,
  ): Promise<ChildWorkflowHandle<Workflow> | null> {
    const { chainId, feeBps, validators, routerRecipient } = input;
    const options = {
      workflowId: workflowIds.session(chainId, sessionId),
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
      parentClosePolicy: ParentClosePolicy.ABANDON,
    } as const;
    try {
      if (admission.status === 'refused') {
        const { task, reason } = admission;
        return await startChild<typeof refuseInference>(WORKFLOWS.refuseInference, {
          ...options,
          args: [{ chainId, task, deadline, reason, retries }],
        });
      }
      const { inference, pricePerTokenWei } = admission;
      const terms = { chainId, feeBps, validators, routerRecipient, ownerRecipient: null, retries };
      return await startChild<typeof session>(WORKFLOWS.session, {
        ...options,
        args: [{ ...terms, inference, pricePerTokenWei }],
      });
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      return null;
    }
  }

  function endOverdue(): void {
    for (const entry of underWay.values()) {
      if (entry.isEnding || Date.now() < entry.dueMs) continue;
      entry.isEnding = true;
      void endOne(entry);
    }
  }

  async function endOne(entry: Entry): Promise<void> {
    const { sessionId } = entry;
    try {
      await chain.expireInference({ sessionId });
      underWay.delete(sessionId);
    } catch (error) {
      if (isCancellation(error)) return;
      const code = codeOf(error);
      log.warn('request not ended yet', { sessionId, code });
      // A reorganisation took it; if it comes back, it is found again.
      if (code === 'SESSION_NOT_FOUND') underWay.delete(sessionId);
      entry.isEnding = false;
      entry.dueMs = Date.now() + GRACE_MS;
    }
  }

  /** The next run finds what has not ended by itself: it reads from the oldest of them on. */
  function marksOfUnended(): readonly QueueMark[] {
    const oldest = Math.min(...[...underWay.values()].map(({ globalId }) => globalId));
    return marks.map((mark) => ({ ...mark, nextGlobalId: Math.min(mark.nextGlobalId, oldest) }));
  }
}
