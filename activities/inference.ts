/**
 * Requests of contracts, from the chain to their end on it. What the chain's state says counts;
 * events only hold the prompt. A request is known by its session, which its consumer's reference
 * determines: global ids may change in a reorganisation.
 */
import { Context } from '@temporalio/activity';
import type { Outbox, ReceiptSummary } from '../adapters/chain/outbox.js';
import type { ChainRequest, QueueChain } from '../adapters/chain/queue.js';
import type { ServiceChain } from '../adapters/chain/service.js';
import type { Write } from '../adapters/chain/contract.js';
import { EngineError } from '../domain/errors.js';
import type { Cid, Hex, SessionId, TaskId } from '../domain/ids.js';
import type { WeiString } from '../domain/money.js';
import type { SettlementBatch } from '../domain/settlement.js';
import type { SettledTask } from '../domain/task.js';
import type { Admission } from './admission.js';
import { translated } from './failure.js';

/** How a request ended on chain, whoever ended it. */
export interface InferenceEnd {
  /** `null`: another than the engine has ended it. */
  readonly transaction: Hex | null;
  readonly refundedWei: WeiString;
}

/** Up to where requests were read, in a block that may be replaced. */
export interface QueueMark {
  readonly block: number;
  readonly hash: Hex;
  /** The first request that was not read. */
  readonly nextGlobalId: number;
}

/** A request that is to be served, or ended when its time is over. */
export interface OpenInference {
  readonly globalId: number;
  readonly sessionId: SessionId;
  /** Unix seconds. */
  readonly deadline: number;
}

export interface FoundInferences {
  readonly found: readonly OpenInference[];
  readonly marks: readonly QueueMark[];
  /** More requests are there than a page holds. */
  readonly hasMore: boolean;
}

export interface InferenceActivities {
  /** Looks for requests below the confirmations, for a while where there are none.
   * @param input.marks - of earlier looks, oldest first: the newest that still stands is gone on from.
   * @returns open requests in their order, at most a page; and the marks for the next look. */
  findInferences(input: {
    readonly marks: readonly QueueMark[];
    /** Milliseconds between two looks at the chain, and of all of them together. */
    readonly everyMs: number;
    readonly forMs: number;
  }): Promise<FoundInferences>;
  /** Finds out whether the network serves a request, and pins what it asks. */
  admitInference(input: { readonly sessionId: SessionId }): Promise<Admission>;
  /** Ends a request by its settled task, charged or not: refunds the rest and calls the contract.
   * @param input.batchCid - of the settled batch; the task's leaf in it is the proof.
   * @throws SESSION_NOT_FOUND — the chain does not have the request. */
  fulfilInference(input: {
    readonly sessionId: SessionId;
    readonly taskId: TaskId;
    readonly batchCid: Cid;
  }): Promise<InferenceEnd>;
  /** Ends a request after its deadline, with all that is held. Waits where the chain's clock is
   * behind.
   * @throws SESSION_NOT_FOUND — the chain does not have the request. */
  expireInference(input: { readonly sessionId: SessionId }): Promise<InferenceEnd>;
}

export interface InferenceActivityDeps {
  readonly outbox: Pick<Outbox, 'execute'>;
  readonly queue: QueueChain;
  readonly service: Pick<ServiceChain, 'readClosing' | 'parseClosing'>;
  /** Of the service layer. */
  readonly confirmations: number;
  readonly admit: (request: ChainRequest, block: number) => Promise<Admission>;
  /** Siblings from a task's leaf to the root of its batch. */
  readonly proveTask: (tasks: readonly SettledTask[], index: number) => readonly Hex[];
  /** Reads a JSON document by CID; its bytes are re-hashed, its shape is `parse`'s to check. */
  readonly readJson: <T>(cid: Cid, parse: (value: unknown) => T) => Promise<T>;
}

/** Requests that are read in one look. */
const PAGE_REQUESTS = 100;
/** Marks that are kept: as many new requests' looks may be undone before all are read again. */
const MAX_MARKS = 16;
/** A request that a node does not know is asked for this long: the node may lag behind. */
const UNKNOWN_MS = 30_000;
/** Activities that wait heartbeat at least this often. */
const PAUSE_MS = 1_000;
/** Transactions for one end: gas is estimated, and what a contract does in a callback may change
 * before it is mined. Each has a key of its own. */
const ATTEMPTS = 3;
/** Refusals of a node that is behind: of its clock, or of the batch that has just been settled. */
const PASSING: ReadonlySet<string> = new Set([
  'SessionQueueDeadlineAhead',
  'SessionQueueProofInvalid',
]);

export function createInferenceActivities(deps: InferenceActivityDeps): InferenceActivities {
  const { outbox, queue, service, confirmations, readJson } = deps;

  /** The newest block that counts. */
  async function confirmedBlock(): Promise<number> {
    return Math.max(0, (await queue.readHead()) - confirmations);
  }

  /** One look, without waiting. */
  async function look(
    marks: readonly QueueMark[],
  ): Promise<{ readonly isNews: boolean; readonly look: FoundInferences }> {
    const block = await confirmedBlock();
    // Before the requests: what is replaced while they are read shows at the next look.
    const header = await queue.readBlock(block);
    if (header === null) throw new EngineError('CHAIN_UNREACHABLE', { reason: 'no head' });
    const standing = await marksThatStand(queue, marks, block);
    const from = standing.findLast((mark) => mark.block <= block)?.nextGlobalId ?? 1;
    const count = await queue.readRequestCount(block);
    const to = Math.min(count, from + PAGE_REQUESTS - 1);
    const ids = Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
    const requests = await Promise.all(ids.map((id) => queue.readRequestAt(id, block)));
    const found = requests
      .filter((request) => request.outcome === null)
      .map(({ globalId, sessionId, deadline }) => ({ globalId, sessionId, deadline }));
    const mark = { block, hash: header.hash, nextGlobalId: from + ids.length };
    return {
      isNews: ids.length > 0,
      look: { found, marks: withMark(standing, mark), hasMore: to < count },
    };
  }

  /** A request at the newest block. A node may lag behind the one that has told of it. */
  async function findRequest(sessionId: SessionId): Promise<ChainRequest> {
    const deadline = Date.now() + UNKNOWN_MS;
    for (;;) {
      const request = await queue.readRequest(sessionId);
      if (request !== null) return request;
      if (Date.now() > deadline) throw new EngineError('SESSION_NOT_FOUND', { sessionId });
      await pause(PAUSE_MS);
    }
  }

  async function pause(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= PAUSE_MS) {
      Context.current().heartbeat();
      await Context.current().sleep(Math.min(left, PAUSE_MS));
    }
  }

  /** Brings a request's end about, or finds that another transaction has. */
  async function end(
    verb: 'fulfil' | 'expire',
    sessionId: SessionId,
    write: Write,
  ): Promise<InferenceEnd> {
    const context = Context.current();
    let refusal: unknown;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const key = attempt === 1 ? `${verb}:${sessionId}` : `${verb}:${sessionId}:${attempt}`;
      let receipt: ReceiptSummary;
      try {
        receipt = await outbox.execute(
          { ...write, layer: 'service', key },
          { signal: context.cancellationSignal, onPoll: () => context.heartbeat() },
        );
      } catch (error) {
        if (!(error instanceof EngineError) || error.code !== 'TRANSACTION_REVERTED') throw error;
        const request = await findRequest(sessionId);
        if (request.outcome !== null) return await readEnd(sessionId);
        refusal = error;
        // One on chain has spent its key; in a simulation another key changes nothing.
        if (error.details['stage'] !== 'simulation') continue;
        if (!PASSING.has(String(error.details['error']))) throw error;
        throw new EngineError('TRANSACTION_PENDING', { sessionId }, { cause: error });
      }
      const closing = service.parseClosing(receipt);
      if (closing === null) return await readEnd(sessionId, receipt.hash);
      return { transaction: receipt.hash, refundedWei: closing.refundedWei.toString() };
    }
    throw refusal;
  }

  async function readEnd(
    sessionId: SessionId,
    transaction: Hex | null = null,
  ): Promise<InferenceEnd> {
    const closing = await service.readClosing(sessionId);
    if (closing === null) throw new EngineError('TRANSACTION_PENDING', { sessionId });
    return { transaction, refundedWei: closing.refundedWei.toString() };
  }

  return translated<InferenceActivities>({
    async findInferences({ marks, everyMs, forMs }) {
      const deadline = Date.now() + forMs;
      for (;;) {
        const { isNews, look: seen } = await look(marks);
        if (isNews || Date.now() + everyMs > deadline) return seen;
        await pause(everyMs);
      }
    },

    async admitInference({ sessionId }) {
      const block = await confirmedBlock();
      const request = await queue.readRequest(sessionId, block);
      if (request === null || request.outcome !== null) return { status: 'gone' };
      return await deps.admit(request, block);
    },

    async fulfilInference({ sessionId, taskId, batchCid }) {
      // Laid out by `buildBatch`, and named by its CID: nobody else's bytes can be here.
      const batch = await readJson(batchCid, (value) => value as SettlementBatch);
      const index = batch.tasks.findIndex(
        (task) => task.sessionId === sessionId && task.taskId === taskId,
      );
      const task = batch.tasks[index];
      if (task === undefined) throw new EngineError('TASK_NOT_FOUND', { sessionId, taskId });
      const proof = deps.proveTask(batch.tasks, index);
      return await end('fulfil', sessionId, queue.encodeFulfil(task, batch.batchId, proof));
    },

    async expireInference({ sessionId }) {
      const request = await findRequest(sessionId);
      if (request.outcome !== null) return await readEnd(sessionId);
      return await end('expire', sessionId, queue.encodeExpire(sessionId));
    },
  });
}

/** Marks whose blocks are still there. Those ahead of `block` cannot be judged, and stay; those before
 * one that stands are its ancestors. */
async function marksThatStand(
  queue: QueueChain,
  marks: readonly QueueMark[],
  block: number,
): Promise<readonly QueueMark[]> {
  const ahead = marks.filter((mark) => mark.block > block);
  const known = marks.filter((mark) => mark.block <= block);
  for (let last = known.at(-1); last !== undefined; last = known.at(-1)) {
    if ((await queue.readBlock(last.block))?.hash === last.hash) break;
    known.pop();
  }
  return [...known, ...ahead];
}

/** Adds a mark; one that says the same of an older block gives way. */
function withMark(marks: readonly QueueMark[], mark: QueueMark): readonly QueueMark[] {
  const others = marks.filter(
    ({ block, nextGlobalId }) => block !== mark.block && nextGlobalId !== mark.nextGlobalId,
  );
  return [...others, mark].sort((a, b) => a.block - b.block).slice(-MAX_MARKS);
}
