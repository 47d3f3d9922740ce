/**
 * One task over several miners: Queued · Assigned · Acked · Precommitted · Committed · Ended. All
 * precommit before any reveals, so copying an answer is of no use; a miner that fails before the
 * reveal is replaced, after it nobody is. Sessions and health probes run through here alike.
 *
 * A primary that is slow to begin may be hedged: a second miner is asked to stream too. Whoever's first
 * frame is here first is the primary; the other is told to stop, and is not at fault.
 *
 * Every state has its deadline. Queued: `firstTokenMs` for enough miners to be there. Assigned, and
 * Acked as the primary: `firstTokenMs` from one sign of progress to the next. Acked as another: as
 * long again as the quickest took to precommit. Precommitted: COMMIT_MS. Committed by a majority:
 * COMMIT_GRACE_MS for the rest. Over all of them: the task's own time.
 */
import type { SigningDomain } from '../../domain/attestation.js';
import type { ErrorCode } from '../../domain/errors.js';
import type { Address, SessionId, TaskId } from '../../domain/ids.js';
import type { Frame } from '../../domain/sealing.js';
import type { Commitment, Precommitment, TaskState } from '../../domain/task.js';
import type { AssignedTask } from '../../domain/wire.js';
import { Assignment } from './assignment.js';
import type { CryptoPool } from './crypto-pool.js';
import type { MinerLink } from './socket.js';

/** Share of a task's time in which precommitments must arrive; the rest is for the commitments. */
const PRECOMMIT_SHARE = 0.8;
/** Once a majority has precommitted, the others get as long again, and never less than this. */
const STRAGGLER_MS = 2_000;
/** Once a majority has committed to one result, the others get this long. */
const COMMIT_GRACE_MS = 500;
const COMMIT_MS = 10_000;
/** Failures that are nobody's fault: busy, let go, or asked for what its model cannot do. */
const FAULTLESS: ReadonlySet<ErrorCode> = new Set([
  'RATE_LIMITED',
  'ROUTER_LEASE_LOST',
  'FEATURE_UNSUPPORTED',
]);
/** States in which a miner that fails is replaced. */
const BEFORE_REVEAL: ReadonlySet<TaskState> = new Set(['Queued', 'Assigned', 'Acked']);

export interface RunPlan {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  readonly seed: number;
  readonly maxTokens: number;
  /** Miners that work on it at a time. */
  readonly redundancy: number;
  /** Precommitments without which nothing is revealed. */
  readonly quorum: number;
  /** One miner streams to the client. */
  readonly hasPrimary: boolean;
  /** Slow miners are waited for until the deadline, whatever the others did. */
  readonly waitsForAll: boolean;
  readonly deadlineMs: number;
  /** Without an ack, a first frame or a further frame for so long, a miner is replaced. */
  readonly firstTokenMs: number;
  /** After so long without a first frame of the primary another miner is asked to stream too, and the
   * first that does is the primary; `null`: never. */
  readonly hedgeMs: number | null;
}

/** The request as a frame, or at rest. */
export type RunBody = Pick<AssignedTask, 'request' | 'atRest'>;

export interface RunPort {
  readonly signingDomain: SigningDomain;
  readonly crypto: CryptoPool;
  /** The miner to ask next, of those not asked yet; it knows the session already. */
  next(asked: ReadonlySet<string>): MinerLink | undefined;
  /** True while a miner that was not asked may still connect. */
  mayCome(asked: ReadonlySet<string>): boolean;
  /** Calls back when a miner has connected, until the returned function is called. */
  onConnected(listener: () => void): () => void;
  /** A primary was chosen, or another one took over and streams from the start. */
  onPrimary(miner: Address): void;
  onFrame(author: Address, frame: Frame): void;
  /** A commitment that passed all checks, as soon as it did. */
  onAnswer(answer: Answer): void;
  /** A miner failed its part, or was given up for being late. */
  onFault(miner: Address, code: ErrorCode): void;
}

/** What one miner committed to. */
export interface Answer {
  readonly miner: Address;
  readonly precommitment: Precommitment;
  readonly commitment: Commitment;
  readonly result: Uint8Array;
  /** From the assignment to the commitment. */
  readonly elapsedMs: number;
  /** From the assignment to the precommitment, when the answer was whole. */
  readonly answeredMs: number;
  /** From the assignment to the first frame; `null` where nothing was streamed. */
  readonly firstFrameMs: number | null;
}

export interface RunResult {
  /** `refused`: every miner that was asked declined. `abandoned`: another router goes on with it. */
  readonly status: 'committed' | 'expired' | 'refused' | 'failed' | 'cancelled' | 'abandoned';
  /** In the order in which they were asked. */
  readonly answers: readonly Answer[];
  readonly primary: Address | null;
  /** Why, where nobody committed; `null` also where the task was cancelled. */
  readonly failure: ErrorCode | null;
}

export class TaskRun {
  /** Settles once, never rejects. */
  readonly done: Promise<RunResult>;
  /** Settles once with something of an answer, or with the end, never rejects. */
  readonly begun: Promise<void>;
  state: TaskState = 'Queued';

  readonly #plan: RunPlan;
  readonly #port: RunPort;
  #body: RunBody = { request: null };
  readonly #assignments: Assignment[] = [];
  readonly #asked = new Set<string>();
  readonly #askedAgain = new Set<string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #startedAt = Date.now();
  readonly #resolve: (result: RunResult) => void;
  readonly #resolveBegun: () => void;
  #stopListening: () => void = () => undefined;
  #primary: Address | null = null;
  #isWaitingForMiners = false;
  #isStarted = false;
  /** Something of an answer is out: what comes now is finished and billed. */
  #hasBegun = false;
  #hasMajority = false;
  /** What the quickest miner took, from the assignment to its precommitment. */
  #quickestMs = Number.POSITIVE_INFINITY;

  constructor(plan: RunPlan, port: RunPort) {
    this.#plan = plan;
    this.#port = port;
    let resolve: (result: RunResult) => void = () => undefined;
    this.done = new Promise((settle) => {
      resolve = settle;
    });
    this.#resolve = resolve;
    let resolveBegun: () => void = () => undefined;
    this.begun = new Promise((settle) => {
      resolveBegun = settle;
    });
    this.#resolveBegun = resolveBegun;
  }

  /** Asks the first miners. Called once; a run that was ended before stays ended. */
  start(body: RunBody): void {
    if (this.state === 'Ended') return;
    this.#body = body;
    this.#isStarted = true;
    this.#startedAt = Date.now();
    this.#stopListening = this.#port.onConnected(() => this.#fill());
    this.#after(this.#plan.deadlineMs * PRECOMMIT_SHARE, () => this.#closePrecommits());
    this.#after(this.#plan.deadlineMs, () => this.#conclude());
    this.#fill();
  }

  /** Ends the task, unless something of its answer is out; the miners are told.
   * @returns whether it did. */
  cancel(): boolean {
    if (this.#hasBegun || this.state === 'Ended') return false;
    this.#end('cancelled', null);
    return true;
  }

  /** Ends the task before anybody is asked: there is nothing to ask. */
  fail(): void {
    this.#end('failed', 'CONTENT_MISSING');
  }

  /** Stops without an end of the task; the miners are told. */
  abandon(): void {
    this.#end('abandoned', null);
  }

  get #alive(): Assignment[] {
    return this.#assignments.filter((a) => a.isAlive);
  }
  get #takesMiners(): boolean {
    return this.#isStarted && BEFORE_REVEAL.has(this.state);
  }

  #fill(): void {
    if (!this.#takesMiners) return;
    while (this.#alive.length < this.#plan.redundancy) {
      const link = this.#port.next(this.#asked);
      if (link === undefined) break;
      this.#ask(link);
    }
    if (this.#alive.length < this.#plan.quorum) this.#awaitMiners();
  }

  #begin(): void {
    this.#hasBegun = true;
    this.#resolveBegun();
  }

  /** @param isHedge - it streams beside the primary, which has not begun. */
  #ask(link: MinerLink, isHedge = false): void {
    const { sessionId, taskId, seed, maxTokens, deadlineMs, hasPrimary } = this.#plan;
    const isPrimary = isHedge || (hasPrimary && !this.#alive.some((a) => a.isPrimary));
    const { signingDomain, crypto } = this.#port;
    const facts = { sessionId, taskId, maxTokens, signingDomain, crypto };
    const assignment = new Assignment(link, isPrimary, facts, {
      onAcked: () => {
        if (this.state === 'Assigned') this.state = 'Acked';
      },
      onFrame: (a, frame) => {
        if (a.isFirstFrame) this.#choosePrimary(a);
        this.#begin();
        this.#port.onFrame(a.miner, frame);
      },
      onPrecommitted: (a) => {
        this.#begin();
        this.#quickestMs = Math.min(this.#quickestMs, a.precommittedAt - a.askedAt);
        this.#checkPrecommits();
      },
      onCommitted: (a) => this.#checkCommits(a),
      onFailed: (a) => this.#onFailed(a),
    });
    if (this.state === 'Queued') this.state = 'Assigned';
    this.#asked.add(link.address.toLowerCase());
    this.#assignments.push(assignment);
    if (isPrimary && !isHedge) {
      this.#primary = link.address;
      this.#port.onPrimary(link.address);
      this.#hedge(assignment);
    }
    const leftMs = deadlineMs * PRECOMMIT_SHARE - (Date.now() - this.#startedAt);
    link.listen(taskId, assignment);
    link.send({
      type: 'assign',
      task: { sessionId, taskId, ...this.#body, seed, isPrimary, deadlineMs: Math.round(leftMs) },
    });
    this.#watchProgress(assignment, this.#plan.firstTokenMs);
  }

  /** Asks another miner to stream, when this one is slow to begin. */
  #hedge(slow: Assignment): void {
    const { hedgeMs } = this.#plan;
    if (hedgeMs === null) return;
    this.#after(hedgeMs, () => {
      const isWaiting = slow.isAlive && slow.firstFrameAt === null;
      if (!isWaiting || !this.#takesMiners || this.#streaming.length > 1) return;
      const link = this.#port.next(this.#asked);
      if (link !== undefined) this.#ask(link, true);
    });
  }

  get #streaming(): Assignment[] {
    return this.#alive.filter((a) => a.isPrimary);
  }

  /** Whoever begins is the primary from there on. */
  #choosePrimary(first: Assignment): void {
    if (this.#primary !== first.miner) {
      this.#primary = first.miner;
      this.#port.onPrimary(first.miner);
    }
    for (const other of this.#streaming) {
      if (other === first) continue;
      other.isOutrun = true;
      this.#drop(other, 'MINER_TIMEOUT');
    }
  }

  /** One timer an assignment: it looks whether there was progress, and comes back when that is due. */
  #watchProgress(assignment: Assignment, inMs: number): void {
    this.#after(inMs, () => {
      const { state } = assignment;
      // Once there is a majority, all that are late have a deadline together.
      if ((state !== 'Assigned' && state !== 'Acked') || this.#hasMajority) return;
      const { firstTokenMs } = this.#plan;
      const leftMs = this.#dueAt(assignment) - Date.now();
      if (leftMs > 0) this.#watchProgress(assignment, Math.min(leftMs, firstTokenMs));
      else this.#drop(assignment, 'MINER_TIMEOUT');
    });
  }

  /** When a miner is given up that does not go on. */
  #dueAt({ state, isPrimary, progressAt, askedAt }: Assignment): number {
    const { firstTokenMs } = this.#plan;
    if (state === 'Assigned' || isPrimary) return progressAt + firstTokenMs;
    // Nobody sees the others at work, so they are measured by whoever was done first.
    return askedAt + this.#quickestMs + Math.max(firstTokenMs, this.#quickestMs);
  }

  #drop(assignment: Assignment, code: ErrorCode): void {
    assignment.link.send({ type: 'cancel', taskId: this.#plan.taskId });
    assignment.fail(code);
  }

  #awaitMiners(): void {
    if (!this.#port.mayCome(this.#asked)) return this.#endUnserved();
    if (this.#isWaitingForMiners) return;
    this.#isWaitingForMiners = true;
    this.#after(this.#plan.firstTokenMs, () => {
      this.#isWaitingForMiners = false;
      if (this.#takesMiners && this.#alive.length < this.#plan.quorum) this.#endUnserved();
    });
  }

  /** Too few miners are left for a majority, and no more will come. */
  #endUnserved(): void {
    const hasAsked = this.#assignments.length > 0;
    const isRefused = hasAsked && this.#assignments.every((a) => a.isDeclined);
    // Another miner could have done it: what kept that one counts more.
    const other = this.#assignments.find((a) => a.failure !== 'FEATURE_UNSUPPORTED');
    this.#end(isRefused ? 'refused' : 'failed', other?.failure ?? null);
  }

  #onFailed(failed: Assignment): void {
    if (this.state !== 'Ended') this.#blame(failed);
    if (this.#takesMiners) {
      // The one that was asked beside it has its place, and is the one that the client waits for.
      const [heir] = this.#streaming;
      if (failed.isPrimary && !failed.isOutrun && heir !== undefined) this.#choosePrimary(heir);
      // A miner that lost its connection may come back, and is asked once more then.
      const key = failed.miner.toLowerCase();
      if (failed.isDisconnected && !this.#askedAgain.has(key)) {
        this.#askedAgain.add(key);
        this.#asked.delete(key);
      }
      this.#fill();
      this.#checkPrecommits();
    } else if (this.state === 'Precommitted') this.#checkCommits();
  }

  #blame({ miner, failure, isOutrun }: Assignment): void {
    if (isOutrun) return;
    const isFault = failure !== null && !FAULTLESS.has(failure);
    if (isFault) this.#port.onFault(miner, failure);
  }

  #checkPrecommits(): void {
    if (!this.#takesMiners) return;
    const alive = this.#alive;
    const precommitted = alive.filter((a) => a.hasPrecommitted).length;
    if (precommitted >= this.#plan.quorum && precommitted === alive.length) this.#reveal();
    else if (precommitted >= this.#plan.quorum && !this.#plan.waitsForAll && !this.#hasMajority) {
      this.#hasMajority = true;
      const elapsedMs = Date.now() - this.#startedAt;
      this.#after(Math.max(STRAGGLER_MS, elapsedMs), () => this.#closePrecommits());
    }
  }

  /** Whoever has not precommitted by now is out, and nobody is asked in its place. */
  #closePrecommits(): void {
    if (!this.#takesMiners) return;
    const isQuorum = this.#alive.filter((a) => a.hasPrecommitted).length >= this.#plan.quorum;
    if (!isQuorum) return this.#end('expired', 'MINER_TIMEOUT');
    this.state = 'Precommitted';
    for (const late of this.#alive.filter((a) => !a.hasPrecommitted)) {
      this.#drop(late, 'MINER_TIMEOUT');
    }
    this.#reveal();
  }

  #reveal(): void {
    this.state = 'Precommitted';
    this.#after(COMMIT_MS, () => this.#conclude());
    for (const assignment of this.#alive) assignment.reveal();
  }

  #checkCommits(committed?: Assignment): void {
    if (committed !== undefined) this.#port.onAnswer(answerOf(committed));
    const alive = this.#alive;
    const answers = alive.filter((a) => a.state === 'Committed');
    if (answers.length === alive.length) this.#conclude();
    else if (!this.#plan.waitsForAll && committed !== undefined) {
      const same = answers.filter(
        (a) => a.commitment?.resultHash === committed.commitment?.resultHash,
      );
      if (same.length === this.#plan.quorum) this.#after(COMMIT_GRACE_MS, () => this.#conclude());
    }
  }

  #conclude(): void {
    if (this.#assignments.some((a) => a.state === 'Committed')) {
      this.state = 'Committed';
      this.#end('committed', null);
    } else {
      const isTimeUp = this.#alive.length > 0;
      this.#end(isTimeUp ? 'expired' : 'failed', isTimeUp ? 'MINER_TIMEOUT' : null);
    }
  }

  #end(status: RunResult['status'], failure: ErrorCode | null): void {
    if (this.state === 'Ended') return;
    this.state = 'Ended';
    this.#resolveBegun();
    this.#stopListening();
    for (const timer of this.#timers) clearTimeout(timer);
    const answers = this.#assignments.filter((a) => a.state === 'Committed').map(answerOf);
    for (const open of this.#alive.filter((a) => a.state !== 'Committed')) {
      this.#drop(open, 'MINER_TIMEOUT');
      if (status === 'expired') this.#blame(open);
    }
    const firstFailure = this.#assignments.find((a) => a.failure !== null)?.failure;
    const isFault = status !== 'committed' && status !== 'cancelled';
    this.#resolve({
      status,
      answers,
      primary: this.#primary,
      failure: isFault ? (failure ?? firstFailure ?? 'NO_MINERS') : null,
    });
  }

  #after(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.state !== 'Ended') act();
    }, ms);
    this.#timers.add(timer);
  }
}

function answerOf(assignment: Assignment): Answer {
  const { miner, precommitment, commitment, result, askedAt } = assignment;
  if (precommitment === null || commitment === null) throw new TypeError('not committed');
  return {
    miner,
    precommitment,
    commitment,
    result,
    elapsedMs: assignment.committedAt - askedAt,
    answeredMs: assignment.precommittedAt - askedAt,
    firstFrameMs: assignment.firstFrameAt === null ? null : assignment.firstFrameAt - askedAt,
  };
}
