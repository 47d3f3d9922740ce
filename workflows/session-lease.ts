/**
 * The lease of a session, from the workflow's side: keeps a router on the session while there is
 * work, and gives the session to whoever asks for it while there is none.
 */
import {
  CancellationScope,
  condition,
  isCancellation,
  log,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import { TASK_QUEUES, type TaskId } from '../domain/ids.js';
import type { ClaimTerms, LeaseClaim, LeaseEnd, LeaseInput, LeavingTask } from '../domain/lease.js';
import { leaseActivity } from './activities.js';
import { codeOf } from './failure.js';
import type { SessionContext } from './session-context.js';

/** Pauses between leases while tasks are open: doubled with each one that is lost. */
const LEASE_PAUSE_MS = 200;
const LEASE_PAUSE_MAX_MS = 10_000;

export class SessionLease {
  readonly #session: SessionContext;
  /** Queue of the router that has the lease, and of one that wants it. */
  #holder: string | null = null;
  #claimant: string | null = null;
  /** Of the lease that is held, or was held last. */
  #number = 0;
  /** Until when a router that gave its lease back is believed to finish a task. */
  readonly #leaving = new Map<TaskId, number>();
  #scope: CancellationScope | null = null;
  #isLetGo = false;

  constructor(session: SessionContext) {
    this.#session = session;
  }

  /** Whether a router has it, or has been asked to. */
  get isHeld(): boolean {
    return this.#holder !== null;
  }

  /** Keeps a router on the session while there is work: the one that claims it, or, for open tasks
   * that lost theirs, any. A router gives an idle session back, so that idling costs nothing. */
  async hold(): Promise<never> {
    const session = this.#session;
    const { ledger, sessionId } = session;
    const isOrphaned = () => ledger.openTasks.length > 0 && !session.isCancelled;
    let pauseMs = LEASE_PAUSE_MS;
    for (;;) {
      await condition(() => this.#claimant !== null || isOrphaned());
      await calm();
      const holder = this.#claimant ?? TASK_QUEUES.routers;
      this.#holder = holder;
      this.#number++;
      this.#claimant = null;
      this.#isLetGo = false;
      try {
        await CancellationScope.cancellable(async () => {
          this.#scope = CancellationScope.current();
          this.#noteLeaving(await leaseActivity(holder).holdLease(this.#input()));
        });
        pauseMs = LEASE_PAUSE_MS;
      } catch (error) {
        if (!this.#isLetGo) {
          if (isCancellation(error)) throw error;
          log.info('lease lost', { sessionId, holder, code: codeOf(error) });
          pauseMs = Math.min(pauseMs * 2, LEASE_PAUSE_MAX_MS);
        }
      }
      this.#holder = null;
      this.#scope = null;
      if (isOrphaned() && !this.#isLetGo) await sleep(pauseMs);
    }
  }

  /** A session moves to the router that asks for it, unless another is at work on its tasks; from one
   * that has died it moves at once, and its tasks with it. */
  claim(queue: string, { gone, isPatient = false }: ClaimTerms = {}): LeaseClaim {
    if (this.#holder === null || this.#claimant !== null) {
      this.#claimant ??= queue;
    } else if (gone === this.#number || (!isPatient && this.#isIdleElsewhere(queue))) {
      this.#claimant = queue;
      this.letGo();
    }
    return { holder: this.#claimant ?? this.#holder ?? queue, number: this.#number };
  }

  #isIdleElsewhere(queue: string): boolean {
    return this.#holder !== queue && this.#session.ledger.openTasks.length === 0;
  }

  /** Takes the lease back; the next router that claims it gets the session as it is then. */
  letGo(): void {
    this.#isLetGo = true;
    this.#scope?.cancel();
  }

  /** Gives the same router, where there is one, the session as it is now. Tasks under way go on with
   * it: what it is about to finish, and the rest anew. */
  renew(): void {
    if (this.#holder === null) return;
    this.#claimant ??= this.#holder;
    this.letGo();
  }

  #input(): LeaseInput {
    const { sessionId, owner, policy, miners, keyring, input, ledger } = this.#session;
    return {
      sessionId,
      workflowId: workflowInfo().workflowId,
      owner,
      policy,
      miners,
      validators: input.validators,
      keyring,
      pricePerTokenWei: input.pricePerTokenWei,
      openTasks: ledger.openTasks,
      leaving: this.#stillLeaving(),
    };
  }

  #noteLeaving(end: LeaseEnd | null): void {
    for (const { taskId, forMs } of end?.leaving ?? []) {
      this.#leaving.set(taskId, Date.now() + forMs);
    }
  }

  #stillLeaving(): LeavingTask[] {
    const open = new Set(this.#session.ledger.openTasks.map(({ taskId }) => taskId));
    for (const [taskId, untilMs] of this.#leaving) {
      if (!open.has(taskId) || untilMs <= Date.now()) this.#leaving.delete(taskId);
    }
    return [...this.#leaving].map(([taskId, untilMs]) => ({ taskId, forMs: untilMs - Date.now() }));
  }
}

/**
 * Lets all that was set off so far come to rest. Claims that wait while a lease is lost may reach a
 * worker together with that loss or just after it, and a replay sees them together: the next lease must
 * begin after their answers in both, or the history cannot be replayed.
 */
async function calm(): Promise<void> {
  let isSecondLook = false;
  await condition(() => {
    const isCalm = isSecondLook;
    isSecondLook = true;
    return isCalm;
  });
}
