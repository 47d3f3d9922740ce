/** A settlement batch, checked task by task and then as a sum, before it is signed. */
import PQueue from 'p-queue';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { merkleRoot, taskLeaf } from '../../adapters/chain/merkle.js';
import { settleMessage } from '../../adapters/chain/settle-message.js';
import { findEngineError } from '../../domain/errors.js';
import type { Cid, TaskId } from '../../domain/ids.js';
import { sumBatch, type SettlementBatch } from '../../domain/settlement.js';
import type { SettledTask } from '../../domain/task.js';
import type { Finding } from './ports.js';
import { asRefusal, Refusal } from './refusal.js';
import { readDocument } from './results.js';
import { parseBatch } from './schema.js';
import { checkTask, type TaskCheckDeps } from './task-check.js';

/** Tasks that are checked at once. */
const TASKS_AT_ONCE = 8;
/** Tasks that this process remembers to have signed for. */
const MAX_SIGNED = 200_000;

export class BatchChecker {
  readonly #deps: TaskCheckDeps;
  /** Ordinal by task: the chain pays an ordinal once, so a task must never get a second one. */
  readonly #signed = new Map<string, number>();

  constructor(deps: TaskCheckDeps) {
    this.#deps = deps;
  }

  /** Checks the batch behind a CID.
   * @throws Refusal — with every task that the oracle judges otherwise, or has no content to judge. */
  async check(batchCid: Cid, signal: AbortSignal): Promise<Finding> {
    const { store, domains } = this.#deps;
    const batch = await readDocument(store, batchCid, parseBatch, signal);
    this.#checkOnce(batch.tasks);
    await this.#checkTasks(batch.tasks, signal);
    checkSums(batch);
    this.#remember(batch.tasks);
    return { type: 'Settle', domain: domains.sessionPayment, value: settleMessage(batch) };
  }

  async #checkTasks(tasks: readonly SettledTask[], signal: AbortSignal): Promise<void> {
    const queue = new PQueue({ concurrency: TASKS_AT_ONCE });
    const objections = await Promise.all(
      tasks.map((task) =>
        queue.add(async (): Promise<Objection | null> => {
          try {
            signal.throwIfAborted();
            await checkTask(task, this.#deps, signal);
            return null;
          } catch (error) {
            return objectionTo(task.taskId, error);
          }
        }),
      ),
    );
    const found = objections.filter((objection) => objection !== null);
    // What a judgement says weighs more than what could not be judged.
    const first = found.find(({ isMissing }) => !isMissing) ?? found[0];
    if (first === undefined) return;
    const idsOf = (isMissing: boolean) =>
      found.filter((o) => o.isMissing === isMissing).map(({ taskId }) => taskId);
    throw new Refusal(`task ${first.taskId}: ${first.reason}`, idsOf(false), idsOf(true));
  }

  #checkOnce(tasks: readonly SettledTask[]): void {
    const seen = new Set<string>();
    const twice = tasks.filter((task) => {
      const key = keyOf(task);
      const ordinal = this.#signed.get(key) ?? task.ordinal;
      const isRepeated = seen.has(key) || ordinal !== task.ordinal;
      seen.add(key);
      return isRepeated;
    });
    if (twice.length === 0) return;
    throw new Refusal(
      'a task is charged under two numbers',
      twice.map((task) => task.taskId),
    );
  }

  #remember(tasks: readonly SettledTask[]): void {
    for (const task of tasks) this.#signed.set(keyOf(task), task.ordinal);
    for (const oldest of this.#signed.keys()) {
      if (this.#signed.size <= MAX_SIGNED) return;
      this.#signed.delete(oldest);
    }
  }
}

interface Objection {
  readonly taskId: TaskId;
  readonly reason: string;
  readonly isMissing: boolean;
}

/** What an error says of one task; its content not being found holds up no other task.
 * @throws the error, where it says nothing of this task. */
function objectionTo(taskId: TaskId, error: unknown): Objection {
  const known = findEngineError(error);
  if (known?.code === 'CONTENT_MISSING') {
    return { taskId, reason: known.message, isMissing: true };
  }
  const refusal = asRefusal(error);
  if (refusal === undefined) throw error;
  return { taskId, reason: refusal.message, isMissing: false };
}

function keyOf(task: SettledTask): string {
  return `${task.sessionId}|${task.taskId.toLowerCase()}`;
}

/** The batch must be the sum of its tasks, and its root their root, to the last byte. */
function checkSums(batch: SettlementBatch): void {
  const sums = sumBatch(batch.tasks);
  const { charges, payments, feeWei } = batch;
  if (!isSame(sums, { charges, payments, feeWei })) {
    throw new Refusal('the sums of the batch are not those of its tasks');
  }
  if (merkleRoot(batch.tasks.map(taskLeaf)) !== batch.root.toLowerCase()) {
    throw new Refusal('the root of the batch is not that of its tasks');
  }
}

function isSame(a: unknown, b: unknown): boolean {
  return Buffer.compare(encodeJson(a), encodeJson(b)) === 0;
}
