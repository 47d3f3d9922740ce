/**
 * `settlement`: one a chain, for ever. Ended tasks come in as signals; a batch is closed by count,
 * amount or age, laid on IPFS, checked and signed by the committee, and settled in one transaction.
 * Tasks that the committee disputes are not paid: their sessions get the charge back. Evidence that
 * is not found disputes nothing: its task waits for it, and holds up no other.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  setHandler,
  sleep,
} from '@temporalio/workflow';
import type { RetryPolicies } from '../domain/config.js';
import { workflowIds, type Cid, type Hex, type SessionId, type TaskId } from '../domain/ids.js';
import type { WeiString } from '../domain/money.js';
import { packTasks, unpackTasks, type PackedTasks } from '../domain/packed-tasks.js';
import type { SettlementReport } from '../domain/settlement.js';
import { SettlementQueue, type QueueState } from '../domain/settlement-queue.js';
import type { SettledTask } from '../domain/task.js';
import { chainActivities, ipfsActivities, oracleActivities } from './activities.js';
import { isFinal } from './failure.js';
import { tasksEndedSignal, tasksSettledSignal, tasksWantedSignal } from './messages.js';
import { isRunLong } from './run-length.js';

export interface SettlementInput {
  readonly chainId: number;
  /** A batch is closed at this many tasks, at this sum of charges, or this long after its first. */
  readonly maxTasks: number;
  /** `null`: no batch is closed for its sum. */
  readonly maxAmountWei: WeiString | null;
  readonly maxAgeMs: number;
  readonly retries: RetryPolicies;
  /** What an earlier run had not settled. */
  readonly carried?: {
    readonly queue: QueueState;
    readonly jobs: readonly { readonly tasks: PackedTasks; readonly signed: SignedBatch | null }[];
  };
}

/** A batch that the committee has signed: from here on its transaction may be on its way. */
interface SignedBatch {
  readonly batchCid: Cid;
  readonly signatures: readonly Hex[];
}

interface Job {
  readonly tasks: readonly SettledTask[];
  readonly signed: SignedBatch | null;
}

type Outcome = Omit<SettlementReport, 'taskIds'>;
const DISPUTED: Outcome = { isSettled: false, transaction: null, batchCid: null };
/** By a run of this workflow that is no more known. */
const SETTLED_BEFORE: Outcome = { isSettled: true, transaction: null, batchCid: null };

/** Pause after retries have ended in an outage, before they start again. */
const OUTAGE_PAUSE = '1 minute';
/** Pauses before a task whose evidence was not found is tried again. */
const MISSING_RETRY_MS = { min: 10 * 60_000, max: 12 * 3_600_000 };
/** A task whose evidence is not found for this long is given up: nobody is paid for it. */
const MISSING_DEADLINE_MS = 7 * 24 * 3_600_000;
/** Tasks that wait here at a time: more than a run can hand to the next in one message stay with
 * their sessions. */
const MAX_WAITING = 2_000;

export async function settlement(input: SettlementInput): Promise<never> {
  const { chainId, retries, maxTasks, maxAgeMs, carried } = input;
  const chain = chainActivities(retries);
  const ipfs = ipfsActivities(retries);
  const oracles = oracleActivities(retries);
  const queue = new SettlementQueue(
    {
      maxTasks,
      maxAmountWei: input.maxAmountWei === null ? null : BigInt(input.maxAmountWei),
      maxWaiting: MAX_WAITING,
      retryMs: MISSING_RETRY_MS,
    },
    carried?.queue,
  );
  /** Under way; the first is next. */
  const jobs: Job[] = (carried?.jobs ?? []).map(({ tasks, signed }) => ({
    tasks: unpackTasks(tasks),
    signed,
  }));
  setHandler(tasksEndedSignal, (ended) => queue.add(ended));

  for (;;) {
    if (isRunLong()) {
      const left = jobs.map(({ tasks, signed }) => ({ tasks: packTasks(tasks), signed }));
      await continueAsNew<typeof settlement>({
        ...input,
        carried: { queue: queue.state(), jobs: left },
      });
    }
    const job = jobs.shift() ?? (await nextBatch());
    if (job !== null) await work(job);
    for (const sessionId of queue.welcome()) {
      await tell(sessionId, (session) => session.signal(tasksWantedSignal));
    }
  }

  /** Waits for tasks that make a batch. `null`: there are none, and something else is to be done. */
  async function nextBatch(): Promise<Job | null> {
    const { retryAtMs } = queue;
    const hasWork = () => queue.hasTasks || isRunLong();
    if (retryAtMs === null) await condition(hasWork);
    else if (retryAtMs > Date.now()) await condition(hasWork, retryAtMs - Date.now());
    if (isRunLong()) return null;
    if ((queue.retryAtMs ?? Number.POSITIVE_INFINITY) > Date.now()) {
      await condition(() => queue.isDue, maxAgeMs);
    }
    const tasks = queue.take(Date.now());
    return tasks.length === 0 ? null : { tasks, signed: null };
  }

  /** Settles what the committee agrees to. An outage is waited out with the same batch and the same
   * signatures: its transaction may be on its way. */
  async function work({ tasks, signed }: Job): Promise<void> {
    let ready = signed;
    try {
      ready ??= await sign(tasks);
      const { settlementTx, batchCid } = await chain.settleBatch(ready);
      await report(tasks, { isSettled: true, transaction: settlementTx, batchCid });
    } catch (error) {
      if (isCancellation(error)) throw error;
      if (isFinal(error)) return await sortOut(tasks, tasksNamed(error, 'disputed'));
      const missing = tasksNamed(error, 'missing');
      if (ready === null && missing.size > 0) return await putAside(tasks, missing);
      log.warn('batch not settled yet', { tasks: tasks.length });
      jobs.unshift({ tasks, signed: ready });
      await sleep(OUTAGE_PAUSE);
    }
  }

  async function sign(tasks: readonly SettledTask[]): Promise<SignedBatch> {
    const { batchCid } = await ipfs.buildBatch(tasks);
    const signatures = await oracles.collectAttestations({ kind: 'settle', batchCid });
    return { batchCid, signatures };
  }

  /** A batch was refused for good. What of it is settled already stays so, whoever did it; what the
   * committee names is disputed; the rest goes on. */
  async function sortOut(tasks: readonly SettledTask[], named: ReadonlySet<string>): Promise<void> {
    const settled = await findSettled(tasks);
    if (settled === null) {
      jobs.unshift({ tasks, signed: null });
      await sleep(OUTAGE_PAUSE);
      return;
    }
    const done = tasks.filter((task) => settled.has(task.taskId));
    const open = tasks.filter((task) => !settled.has(task.taskId));
    const disputed = open.filter((task) => named.has(task.taskId));
    log.warn('batch refused', {
      tasks: tasks.length,
      settled: done.length,
      disputed: disputed.length,
    });
    await report(done, SETTLED_BEFORE);
    await report(disputed, DISPUTED);
    const rest = open.filter((task) => !named.has(task.taskId));
    if (rest.length === 0) return;
    if (rest.length < tasks.length) return void jobs.unshift({ tasks: rest, signed: null });
    if (rest.length === 1) return await report(rest, DISPUTED);
    // Nobody was named: halves find the task that the rest must not suffer for.
    const half = Math.ceil(rest.length / 2);
    jobs.unshift(
      { tasks: rest.slice(0, half), signed: null },
      { tasks: rest.slice(half), signed: null },
    );
  }

  /** @returns `null` when the chain could not be asked. */
  async function findSettled(tasks: readonly SettledTask[]): Promise<ReadonlySet<TaskId> | null> {
    try {
      const places = tasks.map(({ sessionId, taskId, ordinal }) => ({
        sessionId,
        taskId,
        ordinal,
      }));
      return new Set(await chain.findSettled(places));
    } catch (error) {
      if (isCancellation(error)) throw error;
      return null;
    }
  }

  /** No transaction of this batch can be out: the others need not wait for what is missing. */
  async function putAside(
    tasks: readonly SettledTask[],
    missing: ReadonlySet<string>,
  ): Promise<void> {
    const absent = tasks.filter((task) => missing.has(task.taskId));
    const late = queue.defer(absent, Date.now(), MISSING_DEADLINE_MS);
    log.warn('evidence not found', { tasks: absent.length, givenUp: late.length });
    if (late.length > 0) await sortOut(late, new Set(late.map((task) => task.taskId)));
    const rest = tasks.filter((task) => !missing.has(task.taskId));
    if (rest.length > 0) jobs.unshift({ tasks: rest, signed: null });
  }

  async function report(tasks: readonly SettledTask[], outcome: Outcome): Promise<void> {
    queue.done(tasks);
    const bySession = new Map<SessionId, TaskId[]>();
    for (const { sessionId, taskId } of tasks) {
      bySession.set(sessionId, [...(bySession.get(sessionId) ?? []), taskId]);
    }
    await Promise.all(
      [...bySession].map(([sessionId, taskIds]) =>
        tell(sessionId, (session) => session.signal(tasksSettledSignal, { taskIds, ...outcome })),
      ),
    );
  }

  async function tell(
    sessionId: SessionId,
    say: (session: ReturnType<typeof getExternalWorkflowHandle>) => Promise<void>,
  ): Promise<void> {
    try {
      await say(getExternalWorkflowHandle(workflowIds.session(chainId, sessionId)));
    } catch (error) {
      if (isCancellation(error)) throw error;
      // The session's workflow has ended; the chain holds the truth.
      log.warn('session is gone', { sessionId });
    }
  }
}

/** The tasks that a failure of the committee names under one of its words, possibly none. */
function tasksNamed(error: unknown, word: 'disputed' | 'missing'): ReadonlySet<string> {
  const failure = error instanceof ActivityFailure ? error.cause : error;
  if (!(failure instanceof ApplicationFailure)) return new Set();
  const [details] = (failure.details ?? []) as [Readonly<Record<string, string>>?];
  return new Set(details?.[word]?.split(',').filter((taskId) => taskId !== ''));
}
