/** Requests of contracts, and steps of tasks that are on chain one by one.
 * @see contracts/src/service/ISessionQueue.sol, ITaskSteps.sol */
import { AbiCoder, getBytes, type JsonRpcProvider } from 'ethers';
import { sessionQueueAbi } from '../../contracts/abi.js';
import type { LayerConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, Cid, Hex, SessionId, TaskId } from '../../domain/ids.js';
import {
  TASK_OUTCOMES,
  type Commitment,
  type Precommitment,
  type SettledTask,
  type TaskOutcome,
  type TaskState,
} from '../../domain/task.js';
import { digestOf } from '../ipfs/cid.js';
import { addressOf, BoundContract, type Write } from './contract.js';
import { digestOrZero } from './merkle.js';
import { member } from './registry.js';

/** Same order as `enum RequestState`. */
const REQUEST_STATES = ['None', 'Open', 'Ended'] as const;
/** Same order as `enum TaskState`. */
const STEP_STATES = [
  'None',
  'Queued',
  'Assigned',
  'Acked',
  'Precommitted',
  'Committed',
  'Ended',
] as const satisfies readonly ('None' | TaskState)[];
/** Same order as `enum MinerStep`. */
const MINER_STEPS = ['None', 'Assigned', 'Acked', 'Precommitted', 'Committed'] as const;
/** What `TaskQueued` has beside its indexed arguments; the prompt as bytes, since the chain checks no
 * encoding. */
const QUEUED_DATA = ['address', 'bytes32', 'bytes32', 'bytes'] as const;
/** Blocks that may share a second: on chains whose blocks come faster than their clock ticks. */
const BLOCKS_A_SECOND = 64;

/** A contract's request as the chain knows it. */
export interface ChainRequest {
  /** From 1, without gaps. A reorganisation may give a request another one. */
  readonly globalId: number;
  readonly sessionId: SessionId;
  readonly consumer: Address;
  readonly policyHash: Hex;
  readonly maxTokens: number;
  readonly callbackGas: number;
  /** Unix seconds. */
  readonly requestedAt: number;
  /** Unix seconds. */
  readonly deadline: number;
  /** `null`: it is open. */
  readonly outcome: TaskOutcome | null;
}

/** What only the event of a request says. */
export interface RequestText {
  readonly clientReference: Hex;
  /** As it was given: not necessarily UTF-8. */
  readonly prompt: Uint8Array;
}

/** Reads take a block number to read at; the newest block without one.
 * Reads: @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH */
export class QueueChain {
  readonly sessionQueue: Address;
  readonly #provider: JsonRpcProvider;
  readonly #queue: BoundContract<typeof sessionQueueAbi>;

  /** @throws CONFIG_INVALID — `sessionQueue` is not configured. */
  constructor(provider: JsonRpcProvider, contracts: LayerConfig['contracts']) {
    this.sessionQueue = addressOf(contracts, 'sessionQueue');
    this.#provider = provider;
    this.#queue = new BoundContract(provider, this.sessionQueue, sessionQueueAbi);
  }

  async readRequestCount(block?: number): Promise<number> {
    const [count] = await this.#queue.read('requestCount', [], block);
    return Number(count);
  }

  /** @param globalId - 1 to the count at the same block. */
  async readRequestAt(globalId: number, block?: number): Promise<ChainRequest> {
    const [request] = await this.#queue.read('requestAt', [BigInt(globalId)], block);
    return toRequest(request);
  }

  /** @returns `null` when the session is no contract's request. */
  async readRequest(sessionId: SessionId, block?: number): Promise<ChainRequest | null> {
    const [request] = await this.#queue.read('requestOf', [BigInt(sessionId)], block);
    return request.state === REQUEST_STATES.indexOf('None') ? null : toRequest(request);
  }

  /** Token wei that a unit of callback gas costs. */
  async readCallbackGasPriceWei(): Promise<bigint> {
    const [price] = await this.#queue.read('callbackGasPrice', []);
    return price;
  }

  /** Reads a request's event, in the blocks of the second in which it was made.
   * @param block - at which the request is known to be there.
   * @throws CHAIN_UNREACHABLE — also where the node has the request, and not yet its event. */
  async readText(request: ChainRequest, block: number): Promise<RequestText> {
    const fromBlock = await this.#firstBlockAt(request.requestedAt, block);
    const data = await this.#queue.findEventData(
      'TaskQueued',
      [BigInt(request.sessionId), null, BigInt(request.globalId)],
      { fromBlock, toBlock: Math.min(block, fromBlock + BLOCKS_A_SECOND) },
    );
    if (data === null) {
      const reason = 'the event of a request is not there yet';
      throw new EngineError('CHAIN_UNREACHABLE', { reason, sessionId: request.sessionId });
    }
    const [, clientReference, , prompt] = AbiCoder.defaultAbiCoder().decode(QUEUED_DATA, data);
    return { clientReference: clientReference as Hex, prompt: getBytes(prompt as string) };
  }

  /** The first block with a time at or after `seconds`. Most requests are young, so the search goes
   * back from `head` in growing steps before it halves. */
  async #firstBlockAt(seconds: number, head: number): Promise<number> {
    let high = head;
    let step = 16;
    let low = Math.max(0, head - step);
    while (low > 0 && (await this.#timeOf(low)) >= seconds) {
      high = low;
      step *= 2;
      low = Math.max(0, low - step);
    }
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((await this.#timeOf(middle)) >= seconds) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  async #timeOf(number: number): Promise<number> {
    const block = await this.readBlock(number);
    if (block === null)
      throw new EngineError('CHAIN_UNREACHABLE', { reason: 'a block is missing' });
    return block.timestamp;
  }

  async readHead(): Promise<number> {
    return await this.#provider.getBlockNumber();
  }

  /** @returns `null` when the node does not have the block, which proves nothing. */
  async readBlock(
    number: number,
  ): Promise<{ readonly hash: Hex; readonly timestamp: number } | null> {
    const block = await this.#provider.getBlock(number);
    if (block === null || block.hash === null) return null;
    return { hash: block.hash as Hex, timestamp: block.timestamp };
  }

  /** Ends a request by its settled task.
   * @param proof - from the task's leaf to the root of the batch. */
  encodeFulfil(task: SettledTask, batchId: Hex, proof: readonly Hex[]): Write {
    return this.#queue.encode('fulfil', [
      BigInt(task.sessionId),
      task.taskId,
      TASK_OUTCOMES.indexOf(task.outcome),
      digestOrZero(task.evidenceCid),
      digestOrZero(task.resultCid),
      BigInt(task.chargeWei),
      batchId,
      proof,
    ]);
  }

  encodeExpire(sessionId: SessionId): Write {
    return this.#queue.encode('expire', [BigInt(sessionId)]);
  }

  /** How far a task is whose steps are on chain; `null` where it was never queued. */
  async readTaskState(sessionId: SessionId, taskId: TaskId): Promise<TaskState | null> {
    const [progress] = await this.#queue.read('taskOf', [BigInt(sessionId), taskId]);
    const state = member(STEP_STATES, progress.state, 'state of a task');
    return state === 'None' ? null : state;
  }

  /** The furthest step that a miner has taken in such a task. */
  async readMinerStep(
    sessionId: SessionId,
    taskId: TaskId,
    miner: Address,
  ): Promise<(typeof MINER_STEPS)[number]> {
    const [progress] = await this.#queue.read('minerOf', [BigInt(sessionId), taskId, miner]);
    return member(MINER_STEPS, progress.step, 'step of a miner');
  }

  encodeEnqueueTask(sessionId: SessionId, taskId: TaskId, requestCid: Cid): Write {
    return this.#queue.encode('enqueueTask', [BigInt(sessionId), taskId, digestOf(requestCid)]);
  }

  /** @param miners - in any order. */
  encodeAssignTask(sessionId: SessionId, taskId: TaskId, miners: readonly Address[]): Write {
    const ascending = miners.toSorted((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
    return this.#queue.encode('assignTask', [BigInt(sessionId), taskId, ascending]);
  }

  encodeAckTask(sessionId: SessionId, taskId: TaskId, miner: Address): Write {
    return this.#queue.encode('ackTask', [BigInt(sessionId), taskId, miner]);
  }

  encodePrecommitTask(step: Precommitment): Write {
    const { sessionId, taskId, miner, precommitment, signature } = step;
    return this.#queue.encode('precommitTask', [
      BigInt(sessionId),
      taskId,
      miner,
      precommitment,
      signature,
    ]);
  }

  encodeCommitTask(step: Commitment): Write {
    const { sessionId, taskId, miner, resultHash, resultDigest, usage, salt, signature } = step;
    return this.#queue.encode('commitTask', [
      BigInt(sessionId),
      taskId,
      miner,
      resultHash,
      resultDigest,
      usage.promptTokens,
      usage.completionTokens,
      salt,
      signature,
    ]);
  }

  encodeEndTask(sessionId: SessionId, taskId: TaskId, outcome: TaskOutcome): Write {
    const index = TASK_OUTCOMES.indexOf(outcome);
    return this.#queue.encode('endTask', [BigInt(sessionId), taskId, index]);
  }
}

/** As ethers and abitype give the struct: what has up to 48 bits is a number. */
interface RequestStruct {
  readonly globalId: bigint;
  readonly sessionId: bigint;
  readonly consumer: Address;
  readonly policyHash: Hex;
  readonly maxTokens: number;
  readonly callbackGas: number;
  readonly requestedAt: bigint;
  readonly deadline: bigint;
  readonly state: number;
  readonly outcome: number;
}

function toRequest(struct: RequestStruct): ChainRequest {
  const { consumer, policyHash, maxTokens, callbackGas } = struct;
  const state = member(REQUEST_STATES, struct.state, 'state of a request');
  return {
    globalId: Number(struct.globalId),
    sessionId: struct.sessionId.toString(),
    consumer,
    policyHash,
    maxTokens,
    callbackGas,
    requestedAt: Number(struct.requestedAt),
    deadline: Number(struct.deadline),
    outcome: state === 'Ended' ? member(TASK_OUTCOMES, struct.outcome, 'outcome') : null,
  };
}
