/**
 * One task of a session from dispatch to record. Order matters here: miners are asked first, the
 * record follows in parallel, and the last event waits for both.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Channel } from '../../adapters/seal/channel.js';
import { seedOf } from '../../adapters/seal/task-id.js';
import { putJson, type BlockStore } from '../../adapters/ipfs/block-store.js';
import { cidOf } from '../../adapters/ipfs/cid.js';
import type { SigningDomain } from '../../domain/attestation.js';
import { holderOf } from '../../domain/content.js';
import { deadlineIn } from '../../domain/deadline.js';
import { EngineError, findEngineError, isErrorCode, type ErrorCode } from '../../domain/errors.js';
import { sameAddress, type Cid, type TaskId } from '../../domain/ids.js';
import type {
  CompleteAnswer,
  LeaseInput,
  OpenTask,
  SubmitAnswer,
  SubmittedTask,
} from '../../domain/lease.js';
import type { Log } from '../../domain/log.js';
import type { ModelFeature } from '../../domain/features.js';
import type { Frame } from '../../domain/sealing.js';
import type { TaskCompletion, TaskEvidence, TaskState, TaskSubmission } from '../../domain/task.js';
import type { SessionGrant } from '../../domain/wire.js';
import { Batcher, UpdateLane } from './batcher.js';
import type { CryptoPool } from './crypto-pool.js';
import { Dispatch } from './dispatch.js';
import { gatherEvidence } from './evidence.js';
import type { SessionGateway } from './gateway.js';
import type { MinerHub } from './hub.js';
import type { Judge } from './judge.js';
import { completionOf, completionOfNothing, conclude, endOf, type Conclusion } from './outcome.js';
import { recall, type Recorded } from './recall.js';
import type { TaskRecords } from './records.js';
import { persist } from './retry.js';
import { TaskRun, type RunResult } from './task-run.js';
import type { TaskStream } from './task-stream.js';
import type { TrackRecord } from './track-record.js';

/** On top of a task's own time, for its evidence to reach IPFS. */
const EVIDENCE_MS = 60_000;
/** The record follows the first token, or begins after so long: what it takes of the machine is not
 * taken from tokens that clients wait for. */
const RECORD_LAG_MS = 50;
/** Before it is looked whether another router has finished a task; doubled from look to look. */
const FIRST_LOOK_MS = 200;

export interface ServiceDeps {
  readonly hub: MinerHub;
  readonly blockStore: BlockStore;
  readonly gateway: SessionGateway;
  readonly records: TaskRecords;
  readonly judge: Judge;
  readonly signingDomain: SigningDomain;
  readonly crypto: CryptoPool;
  readonly firstTokenMs: number;
  readonly hedgeMs: number | null;
  /** What was seen of miners, over all sessions. */
  readonly track: TrackRecord;
  readonly log: Log;
}

/** What the router holds of a session's keys. */
export interface SessionKeys {
  readonly grant: SessionGrant;
  /** `null` at client-sealed levels: the router only relays. */
  readonly channel: Channel | null;
  /** age identity of what is at rest; only at level `link`. */
  readonly identity: string | null;
}

/** A request as it is dispatched. */
export interface TaskRequest {
  readonly taskId: TaskId;
  readonly maxPromptTokens: number;
  readonly maxTokens: number;
  /** What its miners must support; nothing beyond text where absent. */
  readonly features?: readonly ModelFeature[];
  readonly frame: Frame;
  /** Equal for requests of one conversation; absent where only the client can tell. */
  readonly conversation?: string;
  /** Equal for equal requests; `null` where only the client can compare them. */
  readonly fingerprint: string | null;
  /** Makes the block that is pinned as the request at rest. */
  readonly atRest: () => Promise<Uint8Array>;
  /** The client has had something of the answer, from here or from elsewhere. */
  readonly isResumed?: boolean;
  /** Whether a block at rest is the same request, sealed another time; `null` where only the client
   * can tell. */
  readonly isSame: ((block: Uint8Array) => Promise<boolean>) | null;
}

type Bounds = Pick<TaskSubmission, 'maxPromptTokens' | 'maxTokens' | 'seed'> &
  Pick<TaskRequest, 'conversation' | 'features'>;

/** A task whose miners are done with it. */
interface RanTask {
  readonly taskId: TaskId;
  readonly bounds: Bounds;
  readonly result: RunResult;
  readonly recorded: Recorded;
  /** Of the results, which must be at rest before the end is recorded. */
  readonly pins: readonly Promise<unknown>[];
}

/** The tasks of one session, each served on its own. */
export class TaskService {
  readonly #lease: LeaseInput;
  readonly #keys: SessionKeys;
  readonly #deps: ServiceDeps;
  readonly #dispatch: Dispatch;
  readonly #lost = new AbortController();
  readonly #submissions: Batcher<SubmittedTask, SubmitAnswer>;
  readonly #completions: Batcher<TaskCompletion, CompleteAnswer>;
  readonly #runs = new Map<TaskId, TaskRun>();
  /** After a refusal the record comes first again, until a task is accepted: an exhausted session
   * must not get first tokens for nothing. */
  #isStrained = false;

  constructor(lease: LeaseInput, keys: SessionKeys, deps: ServiceDeps) {
    this.#lease = lease;
    this.#keys = keys;
    this.#deps = deps;
    const { gateway, hub, track } = deps;
    const { sessionId, miners, policy } = lease;
    this.#dispatch = new Dispatch(miners, policy.model, (address) => hub.find(address), track);
    const lane = new UpdateLane();
    const { signal } = this.#lost;
    this.#submissions = new Batcher((tasks) => gateway.submit(sessionId, tasks), lane, signal);
    this.#completions = new Batcher((tasks) => gateway.complete(sessionId, tasks), lane, signal);
  }

  /** Call before a request is taken on.
   * @throws NO_MINERS — too few reserved miners are connected for a majority.
   * @throws FEATURE_UNSUPPORTED — enough are connected, but too few support what is asked for. */
  requireMiners(features: readonly ModelFeature[] = []): void {
    const available = this.#dispatch.available(features);
    if (available >= this.#quorum) return;
    const canNever = available + this.#dispatch.absent < this.#quorum;
    if (features.length === 0 || !canNever) throw new EngineError('NO_MINERS', { available });
    throw new EngineError('FEATURE_UNSUPPORTED', { field: features.join(', '), available });
  }

  /** Serves a new request; its events go to `stream`.
   * @throws EngineError — it was not recorded, so it may be sent again. */
  async run(stream: TaskStream, request: TaskRequest): Promise<Conclusion> {
    const { taskId } = request;
    const bounds = { ...request, seed: seedOf(taskId) };
    return this.#serve(stream, taskId, bounds, async (run) => {
      const body = { request: request.frame };
      if (!this.#isStrained) {
        run.start(body);
        await Promise.race([run.begun, delay(RECORD_LAG_MS, undefined, { ref: false })]);
        return this.#record(request, bounds.seed);
      }
      const recorded = await this.#record(request, bounds.seed);
      if (recorded.ended === null) run.start(body);
      return recorded;
    });
  }

  /** Serves a task again that another router had accepted, from its request at rest. */
  async resume(stream: TaskStream, task: OpenTask): Promise<Conclusion> {
    const { taskId, requestCid, ordinal } = task;
    return this.#serve(stream, taskId, task, async (run) => {
      const block = await this.#readRequest(task, run);
      // Accepted, but its content never came to rest: the session gets its money back.
      if (block === null) run.fail();
      else run.start({ request: null, atRest: Buffer.from(block).toString('base64') });
      return { ordinal, requestCid, ended: null };
    });
  }

  /** Waits for a task that another router finishes.
   * @param forMs - milliseconds, at most.
   * @returns whether it has ended. */
  async hasEnded(taskId: TaskId, forMs: number): Promise<boolean> {
    const { gateway } = this.#deps;
    const { signal } = this.#lost;
    for (let waitMs = FIRST_LOOK_MS, leftMs = forMs; leftMs > 0; waitMs *= 2) {
      const pauseMs = Math.min(waitMs, leftMs);
      await delay(pauseMs, undefined, { signal });
      leftMs -= pauseMs;
      const record = await persist(() => gateway.task(this.#lease.sessionId, taskId), signal);
      if (record?.outcome != null) return true;
    }
    return false;
  }

  /** Serves a task that has ended, from its record.
   * @throws as `recall` */
  async recall(stream: TaskStream, taskId: TaskId): Promise<Conclusion> {
    const conclusion = await recall(this.#lease.sessionId, taskId, this.#deps, this.#pinning());
    stream.push(endOf(conclusion, null));
    return conclusion;
  }

  /** Ends a task as `cancelled` unless something of its answer is out.
   * @returns whether it does; `null` where no such task is under way. */
  cancel(taskId: TaskId): boolean | null {
    return this.#runs.get(taskId)?.cancel() ?? null;
  }

  /** How far a task under way is. */
  stateOf(taskId: TaskId): TaskState | null {
    const state = this.#runs.get(taskId)?.state ?? null;
    // The miners have done their part, and the record is on its way.
    return state === 'Ended' ? 'Committed' : state;
  }

  /** Stops everything: what is not recorded stays open in the workflow, for the next router. */
  abort(): void {
    this.#lost.abort();
    for (const run of this.#runs.values()) run.abandon();
  }

  get #quorum(): number {
    return Math.floor(this.#lease.policy.redundancy / 2) + 1;
  }

  get #taskMs(): number {
    return this.#lease.policy.taskSeconds * 1_000;
  }

  /** @param begin - starts the run, or ends it, and says what the workflow knows of the task. */
  async #serve(
    stream: TaskStream,
    taskId: TaskId,
    bounds: Bounds,
    begin: (run: TaskRun) => Promise<Recorded>,
  ): Promise<Conclusion> {
    const pins: Promise<unknown>[] = [];
    const run = this.#plan(stream, taskId, bounds, pins);
    this.#runs.set(taskId, run);
    try {
      const recording = begin(run);
      recording.then(
        ({ ended }) => ended !== null && run.abandon(),
        () => run.abandon(),
      );
      const result = await run.done;
      const recorded = await recording;
      return await this.#end(stream, { taskId, bounds, result, recorded, pins });
    } finally {
      this.#runs.delete(taskId);
    }
  }

  async #end(stream: TaskStream, task: RanTask): Promise<Conclusion> {
    const { taskId, bounds, result, recorded, pins } = task;
    const { status } = result;
    if (recorded.ended !== null) return this.recall(stream, taskId);
    if (status === 'abandoned') throw new EngineError('ROUTER_LEASE_LOST', { taskId });
    const { evidence, failure } =
      status === 'committed'
        ? await this.#weigh(task)
        : { evidence: null, failure: result.failure };
    if (evidence === null) {
      const outcome = status === 'committed' ? 'failed' : status;
      const completion = completionOfNothing(taskId, outcome, failure);
      return this.#finish(stream, completion, null, recorded, result);
    }
    const holder = this.#holder;
    const [evidenceCid] = await Promise.all([
      persist(
        (signal) => putJson(this.#deps.blockStore, evidence, { holder, signal }),
        this.#pinning(),
      ),
      ...pins,
    ]);
    const completion = completionOf(evidence, evidenceCid, bounds);
    this.#measure(result, evidence, completion);
    return this.#finish(stream, completion, evidence, recorded, result);
  }

  #plan(stream: TaskStream, taskId: TaskId, bounds: Bounds, pins: Promise<unknown>[]): TaskRun {
    const { hub, signingDomain, crypto, firstTokenMs, hedgeMs, track } = this.#deps;
    const { sessionId, policy } = this.#lease;
    const { conversation = '', features = [] } = bounds;
    const plan = {
      sessionId,
      taskId,
      seed: bounds.seed,
      maxTokens: bounds.maxTokens,
      redundancy: policy.redundancy,
      quorum: this.#quorum,
      hasPrimary: true,
      waitsForAll: false,
      deadlineMs: this.#taskMs,
      firstTokenMs,
      hedgeMs,
    };
    return new TaskRun(plan, {
      signingDomain,
      crypto,
      next: (asked) => {
        const link = this.#dispatch.next(asked, conversation, features);
        link?.grant(this.#keys.grant);
        return link;
      },
      mayCome: (asked) => this.#dispatch.mayCome(asked),
      onConnected: (listener) => hub.onConnected(listener),
      onPrimary: (primary) => {
        this.#dispatch.lead(primary, conversation);
        stream.push({ type: 'accepted', taskId, primary });
      },
      onFrame: (author, frame) => stream.push({ type: 'frame', author, frame }),
      onAnswer: (answer) => {
        const pin = this.#pinResult(answer.result);
        pin.catch(() => undefined);
        pins.push(pin);
      },
      onFault: (miner) => track.fault(miner),
    });
  }

  /** @returns `null` when it is not at rest, or not in time; or when the task was ended meanwhile. */
  async #readRequest({ taskId, requestCid }: OpenTask, run: TaskRun): Promise<Uint8Array | null> {
    const deadline = deadlineIn(this.#taskMs, this.#lost.signal);
    const { blockStore } = this.#deps;
    const reading = persist((signal) => blockStore.get(requestCid, { signal }), deadline);
    try {
      return await Promise.race([reading, run.done.then(() => null)]);
    } catch (error) {
      if (this.#lost.signal.aborted) throw error;
      this.#deps.log('error', 'request of an open task missing', { taskId });
      return null;
    }
  }

  /** Makes the request durable: pinned, and known to the workflow. */
  async #record(request: TaskRequest, seed: number): Promise<Recorded> {
    const { taskId, maxPromptTokens, maxTokens } = request;
    const block = await request.atRest();
    const requestCid = cidOf(block);
    const { model } = this.#lease.policy;
    const submission = { taskId, requestCid, model, maxPromptTokens, maxTokens, seed };
    // At rest first: whatever the workflow has accepted, any router can go on with, though this one dies.
    await this.#pin(block);
    const answer = await this.#submit(submission);
    if ('refused' in answer) {
      // age seals the same request to other bytes each time: another CID need not be another one.
      const { isSame } = request;
      if (answer.refused === 'IDEMPOTENCY_CONFLICT' && isSame !== null) {
        return this.#recognise(taskId, isSame);
      }
      this.#isStrained = true;
      throw new EngineError(isErrorCode(answer.refused) ? answer.refused : 'BUDGET_EXHAUSTED');
    }
    this.#isStrained = false;
    return { ordinal: answer.ordinal, requestCid, ended: answer.ended };
  }

  /** Hands a task to the workflow, which has the router look into the archive first where the task may
   * be one of long ago. */
  async #submit(
    submission: TaskSubmission,
  ): Promise<Exclude<SubmitAnswer, { readonly mayBeIn: unknown }>> {
    const { taskId, requestCid } = submission;
    for (let notIn: readonly Cid[] = []; ;) {
      const seen = notIn.length === 0 ? {} : { notIn };
      const answer = await this.#submissions.add({ ...submission, ...seen });
      if (!('mayBeIn' in answer)) return answer;
      const { records } = this.#deps;
      const record = await persist(
        (signal) => records.findIn(answer.mayBeIn, taskId, signal),
        this.#pinning(),
      );
      if (record !== null) {
        if (record.requestCid !== requestCid) return { taskId, refused: 'IDEMPOTENCY_CONFLICT' };
        return { taskId, ordinal: record.ordinal, ended: record.outcome };
      }
      notIn = [...notIn, ...answer.mayBeIn];
    }
  }

  /** @throws IDEMPOTENCY_CONFLICT — the task that was known before is another request. */
  async #recognise(
    taskId: TaskId,
    isSame: (block: Uint8Array) => Promise<boolean>,
  ): Promise<Recorded> {
    const { records, blockStore } = this.#deps;
    const signal = this.#pinning();
    const record = await records.find(this.#lease.sessionId, taskId, signal);
    const { ordinal, requestCid, outcome } = record;
    const block = await blockStore.get(requestCid, { signal });
    if (!(await isSame(block))) throw new EngineError('IDEMPOTENCY_CONFLICT', { taskId });
    return { ordinal, requestCid, ended: outcome };
  }

  /** @returns no evidence, but why, when the answers differ and no oracle judged them in time. */
  async #weigh({ taskId, bounds, result, recorded }: RanTask): Promise<{
    readonly evidence: TaskEvidence | null;
    readonly failure: ErrorCode | null;
  }> {
    const task = { taskId, seed: bounds.seed, requestCid: recorded.requestCid, result };
    const { judge, log } = this.#deps;
    try {
      const evidence = await gatherEvidence(task, this.#lease, (request) =>
        persist((signal) => judge(request, signal), this.#pinning()),
      );
      return { evidence, failure: null };
    } catch (error) {
      if (this.#lost.signal.aborted) throw error;
      const code = findEngineError(error)?.code ?? 'INTERNAL';
      log('error', 'task not judged', { taskId, code });
      return { evidence: null, failure: code };
    }
  }

  /** Notes how quick those were that agreed, and who did not agree. */
  #measure({ answers }: RunResult, { verdict }: TaskEvidence, { usage }: TaskCompletion): void {
    if (verdict.status !== 'agreed') return;
    const { track } = this.#deps;
    const { completionTokens } = usage;
    for (const { miner, isAgreed } of verdict.scores) {
      const answer = answers.find((a) => sameAddress(a.miner, miner));
      if (!isAgreed) track.fault(miner);
      // Vectors say nothing of how quickly a miner writes.
      else if (answer !== undefined && completionTokens > 0) {
        track.answered(miner, { ...answer, completionTokens });
      }
    }
  }

  /** Records the end, and only then tells the client. */
  async #finish(
    stream: TaskStream,
    completion: TaskCompletion,
    evidence: TaskEvidence | null,
    { ordinal, requestCid }: Recorded,
    { primary }: Pick<RunResult, 'primary'>,
  ): Promise<Conclusion> {
    const answer = await this.#completions.add(completion);
    // The first recorded end counts: the workflow may have closed the task meanwhile.
    if (answer.outcome !== completion.outcome) {
      return this.recall(stream, completion.taskId);
    }
    const { taskId, outcome, evidenceCid = null } = completion;
    for (const { miner } of evidence?.commitments ?? []) {
      const ended = { type: 'ended', taskId, outcome, ordinal, evidenceCid } as const;
      this.#deps.hub.find(miner)?.send(ended);
    }
    const { hostCode } = answer;
    const hosting = hostCode === undefined ? {} : { hostCode };
    const conclusion = conclude({ ...completion, ...hosting }, requestCid, evidence);
    stream.push(endOf(conclusion, primary));
    return conclusion;
  }

  /** For whom this session's content is pinned. */
  get #holder(): string {
    return holderOf(this.#lease.sessionId, this.#lease.policy.level);
  }

  #pin(block: Uint8Array): Promise<Cid> {
    const { blockStore } = this.#deps;
    const holder = this.#holder;
    return persist((signal) => blockStore.put(block, { holder, signal }), this.#pinning());
  }

  /** What a miner commits to may be another session's keys, to keep them: then it is not pinned for
   * this one, and judged as what it is. */
  async #pinResult(block: Uint8Array): Promise<void> {
    try {
      await this.#pin(block);
    } catch (error) {
      if (findEngineError(error)?.code !== 'REQUEST_INVALID') throw error;
    }
  }

  #pinning(): AbortSignal {
    return deadlineIn(this.#taskMs + EVIDENCE_MS, this.#lost.signal);
  }
}
