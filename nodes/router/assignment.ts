/**
 * One miner's part of one task: its state, and every check on what the miner says of it. What fails
 * a check breaks protocol, and the miner is cut.
 */
import { precommitmentOf } from '../../adapters/chain/precommitment.js';
import { MAX_BLOCK_BYTES } from '../../adapters/ipfs/block-store.js';
import { cidOf, digestOf } from '../../adapters/ipfs/cid.js';
import type { SigningDomain } from '../../domain/attestation.js';
import { EngineError, findEngineError, type ErrorCode } from '../../domain/errors.js';
import { sameAddress, type Address, type SessionId, type TaskId } from '../../domain/ids.js';
import type { Frame } from '../../domain/sealing.js';
import type { Commitment, Precommitment } from '../../domain/task.js';
import type { CryptoPool, SignatureCheck } from './crypto-pool.js';
import type { TaskMessage } from './miner-message.js';
import type { MinerLink, TaskListener } from './socket.js';

/** One frame carries at least one token; these are for the end and for empty deltas. */
const SPARE_FRAMES = 64;
/** Sealed base64 of one token is far below this; it bounds what a task may hold in memory. */
const MAX_FRAME_CHARS_PER_TOKEN = 1_024;

/** What a miner may say of its failure; anything else is a failure. */
const FAIL_CODES = ['BACKEND_FAILED', 'FEATURE_UNSUPPORTED', 'RATE_LIMITED'] as const;

/** Facts of the task that the checks need. */
export interface AssignmentFacts {
  readonly sessionId: SessionId;
  readonly taskId: TaskId;
  readonly maxTokens: number;
  readonly signingDomain: SigningDomain;
  readonly crypto: CryptoPool;
}

/** Told to the task, synchronously. */
export interface AssignmentHooks {
  onAcked(assignment: Assignment): void;
  onFrame(assignment: Assignment, frame: Frame): void;
  onPrecommitted(assignment: Assignment): void;
  onCommitted(assignment: Assignment): void;
  onFailed(assignment: Assignment): void;
}

export class Assignment implements TaskListener {
  readonly link: MinerLink;
  readonly isPrimary: boolean;
  readonly askedAt = Date.now();
  state: 'Assigned' | 'Acked' | 'Precommitted' | 'Revealed' | 'Checking' | 'Committed' | 'Failed' =
    'Assigned';
  failure: ErrorCode | null = null;
  precommitment: Precommitment | null = null;
  commitment: Commitment | null = null;
  /** The block at `commitment.resultCid`. */
  result: Uint8Array = new Uint8Array();
  firstFrameAt: number | null = null;
  precommittedAt = 0;
  committedAt = 0;
  /** Of the last sign of progress: the assignment itself, the ack, each frame. */
  progressAt = Date.now();
  isStreamEnded = false;
  /** It said that it would not, before there was anything of an answer. */
  isDeclined = false;
  /** Another one that was asked to stream beside it has begun before it. */
  isOutrun = false;
  /** The connection was lost, which is no fault of the answer. */
  isDisconnected = false;

  readonly #facts: AssignmentFacts;
  readonly #hooks: AssignmentHooks;
  #frames = 0;
  #frameChars = 0;

  constructor(link: MinerLink, isPrimary: boolean, facts: AssignmentFacts, hooks: AssignmentHooks) {
    this.link = link;
    this.isPrimary = isPrimary;
    this.#facts = facts;
    this.#hooks = hooks;
  }

  get miner(): Address {
    return this.link.address;
  }
  get isAlive(): boolean {
    return this.state !== 'Failed';
  }
  /** Whether the frame that is told of now is its first. */
  get isFirstFrame(): boolean {
    return this.#frames === 1;
  }
  get hasPrecommitted(): boolean {
    return this.precommitment !== null && this.isAlive;
  }

  /** Asks for the reveal; from here on a commitment is due. */
  reveal(): void {
    this.state = 'Revealed';
    this.link.send({ type: 'reveal', taskId: this.#facts.taskId });
  }

  /** Gives the miner up, once. */
  fail(code: ErrorCode): void {
    if (this.state === 'Failed' || this.state === 'Committed') return;
    this.state = 'Failed';
    this.failure = code;
    this.link.release(this.#facts.taskId);
    this.#hooks.onFailed(this);
  }

  onGone(code: ErrorCode): void {
    this.isDisconnected = code === 'MINER_FAILED' || code === 'ROUTER_LEASE_LOST';
    this.fail(code);
  }

  onMessage(message: TaskMessage): void {
    try {
      this.#accept(message);
    } catch (cause) {
      this.fail('MINER_PROTOCOL');
      throw new EngineError('MINER_PROTOCOL', { miner: this.miner }, { cause });
    }
  }

  #accept(message: TaskMessage): void {
    switch (message.type) {
      case 'ack':
        this.#expect(this.state === 'Assigned', 'one ack');
        this.state = 'Acked';
        this.progressAt = Date.now();
        return this.#hooks.onAcked(this);
      case 'frame':
        return this.#acceptFrame(message.frame);
      case 'precommit':
        return this.#acceptPrecommit(message.precommitment);
      case 'commit':
        return this.#acceptCommit(message.commitment, message.result);
      case 'fail':
        this.isDeclined = this.#frames === 0 && this.precommitment === null;
        return this.fail(FAIL_CODES.find((code) => code === message.code) ?? 'MINER_FAILED');
    }
  }

  #acceptFrame(frame: Frame): void {
    this.#expect(this.isPrimary, 'frames of the primary only');
    this.#expect(this.state === 'Acked' && !this.isStreamEnded, 'frames after the ack');
    this.#expect(frame.seq === this.#frames, 'frames without gaps');
    this.#frames++;
    this.#frameChars += frame.data.length;
    const { maxTokens } = this.#facts;
    const isWithinBounds =
      this.#frames <= maxTokens + SPARE_FRAMES &&
      this.#frameChars <= (maxTokens + SPARE_FRAMES) * MAX_FRAME_CHARS_PER_TOKEN;
    this.#expect(isWithinBounds, 'no more frames than tokens');
    this.isStreamEnded = frame.isLast;
    this.progressAt = Date.now();
    this.firstFrameAt ??= this.progressAt;
    this.#hooks.onFrame(this, frame);
  }

  #acceptPrecommit(precommitment: Precommitment): void {
    this.#expect(this.state === 'Acked', 'one precommitment, after the ack');
    this.#expect(!this.isPrimary || this.isStreamEnded, 'the whole stream before');
    this.#expectMine(precommitment);
    this.precommitment = precommitment;
    this.precommittedAt = Date.now();
    this.state = 'Precommitted';
    this.#hooks.onPrecommitted(this);
  }

  #acceptCommit(commitment: Commitment, result: string): void {
    this.#expect(this.state === 'Revealed', 'one commitment, after the reveal');
    this.#expectMine(commitment);
    const promised = this.precommitment?.precommitment.toLowerCase();
    this.#expect(precommitmentOf(commitment) === promised, 'what was precommitted');
    const block = Buffer.from(result, 'base64');
    this.#expect(block.length <= MAX_BLOCK_BYTES, 'a result of one block');
    const cid = cidOf(block);
    this.#expect(cid === commitment.resultCid, 'the block of the CID');
    this.#expect(digestOf(cid) === commitment.resultDigest.toLowerCase(), 'the digest of the CID');
    this.state = 'Checking';
    this.commitment = commitment;
    this.result = block;
    this.committedAt = Date.now();
    void this.#checkSignatures(commitment);
  }

  /** The socket has proved who speaks; these are for those who were not there. Hence only now, off
   * the way to the reveal, and off the event loop. */
  async #checkSignatures(commitment: Commitment): Promise<void> {
    const { crypto, signingDomain } = this.#facts;
    const checks = signaturesOf(commitment, this.precommitment, signingDomain);
    let isSigned = false;
    try {
      const signers = await crypto.recover(checks);
      isSigned = signers.every((signer) => sameAddress(signer, this.miner));
    } catch (error) {
      // Only a signature that is nobody's is the miner's fault.
      const isInvalid = findEngineError(error)?.code === 'SIGNATURE_INVALID';
      if (!isInvalid) return this.fail('INTERNAL');
    }
    if (this.state !== 'Checking') return;
    if (isSigned) {
      this.state = 'Committed';
      this.link.release(commitment.taskId);
      this.#hooks.onCommitted(this);
    } else {
      this.fail('MINER_PROTOCOL');
      this.link.cut('MINER_PROTOCOL');
    }
  }

  #expectMine(signed: { sessionId: SessionId; taskId: TaskId; miner: Address }): void {
    const { sessionId, taskId } = this.#facts;
    const isMine = signed.sessionId === sessionId && signed.taskId === taskId;
    this.#expect(isMine && sameAddress(signed.miner, this.miner), 'its own task');
  }

  #expect(condition: boolean, expected: string): asserts condition {
    if (!condition) throw new EngineError('MINER_PROTOCOL', { miner: this.miner, expected });
  }
}

function signaturesOf(
  commitment: Commitment,
  precommitment: Precommitment | null,
  domain: SigningDomain,
): readonly SignatureCheck[] {
  const { sessionId, taskId, resultHash, resultDigest, usage, salt } = commitment;
  if (precommitment === null) return [];
  const signer = commitment.miner;
  return [
    {
      type: 'Precommit',
      domain,
      value: { sessionId, taskId, precommitment: precommitment.precommitment },
      signature: precommitment.signature,
      signer,
    },
    {
      type: 'Commit',
      domain,
      value: { sessionId, taskId, resultHash, resultDigest, ...usage, salt },
      signature: commitment.signature,
      signer,
    },
  ];
}
