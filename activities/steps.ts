/**
 * Steps of a task, each on chain: what `policy.settlement: stepwise` asks for. They are written when
 * the task has ended, from its evidence, in their order, one transaction a step. Each has its key, so
 * whoever goes on after a crash sends none twice.
 */
import { Context } from '@temporalio/activity';
import type { Write } from '../adapters/chain/contract.js';
import type { Outbox } from '../adapters/chain/outbox.js';
import type { QueueChain } from '../adapters/chain/queue.js';
import { EngineError } from '../domain/errors.js';
import type { Address, Cid } from '../domain/ids.js';
import type { SettledTask, TaskEvidence, TaskState } from '../domain/task.js';
import { translated } from './failure.js';

export type EndedTask = Pick<
  SettledTask,
  'sessionId' | 'taskId' | 'outcome' | 'requestCid' | 'evidenceCid'
>;

export interface StepActivities {
  /** Puts every step of an ended task on chain; a step that somebody else has put there counts.
   * @throws TRANSACTION_REVERTED — the chain does not take them: the session is closed there. */
  recordSteps(task: EndedTask): Promise<void>;
}

export interface StepDeps {
  readonly outbox: Pick<Outbox, 'execute'>;
  readonly queue: Pick<
    QueueChain,
    | 'readTaskState'
    | 'readMinerStep'
    | 'encodeEnqueueTask'
    | 'encodeAssignTask'
    | 'encodeAckTask'
    | 'encodePrecommitTask'
    | 'encodeCommitTask'
    | 'encodeEndTask'
  >;
  /** Reads a JSON document by CID; its bytes are re-hashed, its shape is `parse`'s to check. */
  readonly readJson: <T>(cid: Cid, parse: (value: unknown) => T) => Promise<T>;
}

interface Step {
  readonly name: 'enqueue' | 'assign' | 'ack' | 'precommit' | 'commit' | 'end';
  readonly write: Write;
  readonly miner?: Address;
}

/** The state in which a step has been taken, by a miner or by the task as a whole. */
const TAKEN = {
  enqueue: 'Queued',
  assign: 'Assigned',
  ack: 'Acked',
  precommit: 'Precommitted',
  commit: 'Committed',
  end: 'Ended',
} as const satisfies Record<Step['name'], TaskState>;
const ORDER = Object.values(TAKEN);

export function createStepActivities(deps: StepDeps): StepActivities {
  const { outbox, queue, readJson } = deps;

  async function isTaken({ name, miner }: Step, task: EndedTask): Promise<boolean> {
    const { sessionId, taskId } = task;
    const state =
      miner === undefined
        ? await queue.readTaskState(sessionId, taskId)
        : await queue.readMinerStep(sessionId, taskId, miner);
    return state !== null && state !== 'None' && ORDER.indexOf(state) >= ORDER.indexOf(TAKEN[name]);
  }

  async function take(step: Step, task: EndedTask): Promise<void> {
    const context = Context.current();
    const { name, write, miner } = step;
    const key = [`step:${task.sessionId}:${task.taskId}:${name}`, miner?.toLowerCase()];
    try {
      await outbox.execute(
        { ...write, layer: 'service', key: key.filter((part) => part !== undefined).join(':') },
        { signal: context.cancellationSignal, onPoll: () => context.heartbeat() },
      );
    } catch (error) {
      // The owner, or the miner itself, may have been first.
      const isRefused = error instanceof EngineError && error.code === 'TRANSACTION_REVERTED';
      if (!isRefused || !(await isTaken(step, task))) throw error;
    }
  }

  function stepsOf(task: EndedTask, evidence: TaskEvidence | null): Step[] {
    const { sessionId, taskId, requestCid, outcome } = task;
    const precommitments = evidence?.precommitments ?? [];
    const miners = precommitments.map(({ miner }) => miner);
    const assign: Step[] =
      miners.length === 0
        ? []
        : [{ name: 'assign', write: queue.encodeAssignTask(sessionId, taskId, miners) }];
    return [
      { name: 'enqueue', write: queue.encodeEnqueueTask(sessionId, taskId, requestCid) },
      ...assign,
      ...miners.map((miner): Step => {
        return { name: 'ack', miner, write: queue.encodeAckTask(sessionId, taskId, miner) };
      }),
      ...precommitments.map((p): Step => {
        return { name: 'precommit', miner: p.miner, write: queue.encodePrecommitTask(p) };
      }),
      ...(evidence?.commitments ?? []).map((c): Step => {
        return { name: 'commit', miner: c.miner, write: queue.encodeCommitTask(c) };
      }),
      { name: 'end', write: queue.encodeEndTask(sessionId, taskId, outcome) },
    ];
  }

  return translated<StepActivities>({
    async recordSteps(task) {
      // Written by the session's router; the contract checks every signature in it.
      const evidence =
        task.evidenceCid === undefined
          ? null
          : await readJson(task.evidenceCid, (value) => value as TaskEvidence);
      for (const step of stepsOf(task, evidence)) await take(step, task);
    },
  });
}
