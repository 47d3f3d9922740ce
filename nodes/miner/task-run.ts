/**
 * One task of a miner: request in, stream out where it is the primary, then the precommitment, and
 * the result only when the router asks for it. A run outlives the connection it came by: assigned
 * again, it answers from memory, with the same precommitment.
 */
import { randomBytes } from 'node:crypto';
import { precommitmentOf } from '../../adapters/chain/precommitment.js';
import { signMessage } from '../../adapters/chain/sign.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { MAX_BLOCK_BYTES } from '../../adapters/ipfs/block-store.js';
import { cidOf, digestOf } from '../../adapters/ipfs/cid.js';
import type { EmbeddingBackend } from '../../adapters/embedding/backend.js';
import type { InferenceBackend } from '../../adapters/model/backend.js';
import { openAtRest, sealAtRest } from '../../adapters/seal/at-rest.js';
import { fromBase64, toBase64 } from '../../adapters/seal/bytes.js';
import type { SigningDomain } from '../../domain/attestation.js';
import { AnswerParts } from '../../domain/answer-parts.js';
import { parseInferenceRequest } from '../../domain/chat.js';
import { fitsBlock, textOfVectors } from '../../domain/embedding.js';
import { EngineError } from '../../domain/errors.js';
import { featuresOf, type ModelFeature } from '../../domain/features.js';
import type { Address, Hex } from '../../domain/ids.js';
import type {
  ChatRequest,
  ChatResult,
  Commitment,
  EmbeddingRequest,
  InferenceRequest,
  Precommitment,
  StreamEvent,
} from '../../domain/task.js';
import type { AssignedTask, MinerMessage } from '../../domain/wire.js';
import { orAborted, untilAborted } from './abort.js';
import { FrameStream } from './frame-stream.js';
import type { GrantedSession, SessionKeys } from './session-keys.js';

/** Speaks to the router over one connection; says nothing once that is closed. */
export type Send = (message: MinerMessage) => void;

/** What a miner signs with. */
export type MinerWallet = { readonly address: string } & Parameters<typeof signMessage>[0];

export interface RunDeps {
  readonly wallet: MinerWallet;
  /** EIP-712 domain of `NodeHello`, `Precommit` and `Commit`. */
  readonly domain: SigningDomain;
  readonly backend: InferenceBackend;
  /** Gives vectors of texts; without one, the miner serves no model of that kind. */
  readonly embedding?: EmbeddingBackend;
  readonly keys: SessionKeys;
  /** Runs a generation when its turn has come. */
  readonly schedule: <T>(generate: () => Promise<T>) => Promise<T>;
}

type End = Extract<StreamEvent, { type: 'end' }>;

interface Held {
  readonly precommitment: Precommitment;
  readonly commitment: Commitment;
  /** The block at the commitment's CID, base64. */
  readonly result: string;
}

export class TaskRun {
  readonly sessionId: string;
  /** What a router was given; a task that is assigned again reveals the same. */
  revealed: Commitment | null = null;
  readonly #deps: RunDeps;
  readonly #task: AssignedTask;
  readonly #abort = new AbortController();
  readonly #generated: Promise<End>;
  readonly #held: Promise<Held>;
  #deadline: NodeJS.Timeout | undefined;
  readonly #answer = new AnswerParts();
  /** Of the request, once it is open. */
  #model = '';
  #vectors: string | null = null;
  #stream: FrameStream | undefined;
  #send: Send | undefined;
  #precommitted: { readonly to: Send; readonly held: Held } | undefined;

  /** Starts the task. `deliver` says where its messages go. */
  constructor(deps: RunDeps, task: AssignedTask) {
    this.sessionId = task.sessionId;
    this.#deps = deps;
    this.#task = task;
    this.#generated = deps.schedule(() => this.#generate());
    this.#held = this.#generated.then((end) => this.#hold(end));
    this.#held.catch(() => undefined);
  }

  /** True once the router has said that nobody needs the task. */
  get isCancelled(): boolean {
    return this.#abort.signal.reason instanceof Cancelled;
  }

  /** Whether it works for the router at this connection, the last one that assigned it. */
  isFor(send: Send): boolean {
    return this.#send === send;
  }

  /** True while a precommitment is out and the result waits to be asked for. */
  get isDelivered(): boolean {
    return this.#precommitted !== undefined;
  }

  /** Sends frames (to a primary's router) and the precommitment. The newest call counts: an earlier
   * one, for a connection that is gone, falls silent.
   * @throws MINER_TIMEOUT — no precommitment within the assignment's deadline.
   * @throws EngineError — of the seal, the request or the backend. */
  async deliver(assignment: AssignedTask, send: Send): Promise<void> {
    this.#send = send;
    this.#precommitted = undefined;
    this.#stream?.drop();
    this.#stream = undefined;
    this.#setDeadline(assignment.deadlineMs);
    const stream = assignment.isPrimary ? await this.#openStream(send) : undefined;
    const end = await orAborted(this.#generated, this.#abort.signal);
    if (this.#send !== send) return;
    await stream?.end(end);
    const held = await orAborted(this.#held, this.#abort.signal);
    clearTimeout(this.#deadline);
    if (this.#send !== send) return;
    this.#precommitted = { to: send, held };
    const { taskId } = this.#task;
    send({ type: 'precommit', taskId, precommitment: held.precommitment });
  }

  /** Hands the result over, to a router that holds the precommitment.
   * @returns false when nothing was precommitted to it: then nothing is said. */
  reveal(send: Send): boolean {
    if (this.#precommitted?.to !== send) return false;
    const { commitment, result } = this.#precommitted.held;
    this.revealed = commitment;
    send({ type: 'commit', taskId: this.#task.taskId, commitment, result });
    return true;
  }

  /** Ends the task; nothing of it is sent any more. */
  cancel(): void {
    this.#abort.abort(new Cancelled());
    clearTimeout(this.#deadline);
    this.#stream?.drop();
    this.#send = undefined;
    this.#precommitted = undefined;
  }

  #setDeadline(ms: number): void {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => {
      this.#abort.abort(new EngineError('MINER_TIMEOUT', { deadlineMs: ms }));
      this.#stream?.drop();
    }, ms);
  }

  async #openStream(send: Send): Promise<FrameStream> {
    const { taskId, sessionId } = this.#task;
    const { channel } = await this.#deps.keys.find(sessionId);
    const sealer = await channel.sealer(taskId, this.#deps.wallet.address);
    const stream = new FrameStream(sealer, (frame) => send({ type: 'frame', taskId, frame }));
    if (this.#send === send) {
      for (const piece of this.#answer.pieces()) stream.add(piece);
      this.#stream = stream;
    }
    return stream;
  }

  async #generate(): Promise<End> {
    const { keys, backend, embedding } = this.#deps;
    this.#abort.signal.throwIfAborted();
    const request = await this.#openRequest(await keys.find(this.#task.sessionId));
    const { model } = request;
    this.#model = model;
    if (model === embedding?.model) {
      if (!('kind' in request)) throw new EngineError('FEATURE_UNSUPPORTED', { field: 'messages' });
      requireFeatures(request, embedding.features);
      return this.#embed(request, embedding);
    }
    if (model !== backend.model) throw new EngineError('MODEL_UNKNOWN', { model: backend.model });
    if ('kind' in request) throw new EngineError('FEATURE_UNSUPPORTED', { field: 'input' });
    requireFeatures(request, backend.features);
    return this.#chat(request);
  }

  async #chat(request: ChatRequest): Promise<End> {
    const { backend } = this.#deps;
    const { signal } = this.#abort;
    const events = backend.generate(request, { seed: this.#task.seed, signal });
    for await (const event of untilAborted(events, signal)) {
      if (event.type === 'end') return event;
      this.#answer.take(event);
      this.#stream?.add(event);
    }
    throw new EngineError('BACKEND_FAILED', { reason: 'the stream has no end' });
  }

  /** Vectors are not streamed: half of them are of use to nobody. */
  async #embed(request: EmbeddingRequest, embedding: EmbeddingBackend): Promise<End> {
    const { signal } = this.#abort;
    const work = embedding.embed(request, { signal });
    const { vectors, promptTokens } = await orAborted(work, signal);
    if (!fitsBlock(vectors.length, vectors[0]?.length ?? 0)) {
      throw new EngineError('FEATURE_UNSUPPORTED', { field: 'input', expected: 'fewer texts' });
    }
    this.#vectors = textOfVectors(vectors);
    const usage = { promptTokens, completionTokens: 0 };
    return { type: 'end', finishReason: 'embedding', usage };
  }

  async #openRequest({ channel, rest }: GrantedSession): Promise<InferenceRequest> {
    const { request, atRest, taskId } = this.#task;
    let bytes: Uint8Array;
    if (request !== null) {
      const opener = await channel.opener(taskId, 'client');
      bytes = await opener.open(request);
      if (!opener.isEnded) throw new EngineError('SEAL_BROKEN', { reason: 'request cut short' });
    } else {
      const block = fromBase64(atRest ?? '');
      bytes = rest === null ? block : await openAtRest(block, rest.identity);
    }
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    } catch {
      // The parser's own message quotes the prompt.
      throw new EngineError('PROMPT_INVALID', { expected: 'JSON' });
    }
    return parseInferenceRequest(value);
  }

  async #hold({ finishReason, usage }: End): Promise<Held> {
    const { wallet, domain, keys } = this.#deps;
    const { sessionId, taskId } = this.#task;
    const { channel, rest } = await keys.find(sessionId);
    const { text, callsField } = this.#answer;
    const answer = this.#vectors === null ? { text, ...callsField } : { text: this.#vectors };
    const result: ChatResult = { model: this.#model, ...answer, finishReason, usage };
    const plain = encodeJson(result);
    const block = rest === null ? plain : await sealAtRest(plain, [rest.recipient]);
    if (block.length > MAX_BLOCK_BYTES) {
      throw new EngineError('BACKEND_FAILED', { reason: 'the answer is too large' });
    }
    const resultCid = cidOf(block);
    const reveal = {
      sessionId,
      taskId,
      resultHash: await channel.resultHash(result),
      resultDigest: digestOf(resultCid),
      salt: `0x${randomBytes(32).toString('hex')}` as Hex,
    };
    const miner = wallet.address as Address;
    const precommit = { sessionId, taskId, precommitment: precommitmentOf({ ...reveal, miner }) };
    return {
      precommitment: {
        ...precommit,
        miner,
        signature: await signMessage(wallet, 'Precommit', domain, precommit),
      },
      commitment: {
        ...reveal,
        miner,
        resultCid,
        usage,
        signature: await signMessage(wallet, 'Commit', domain, { ...reveal, ...usage }),
      },
      result: toBase64(block),
    };
  }
}

/** @throws FEATURE_UNSUPPORTED — the request asks for more than the model gives. */
function requireFeatures(request: InferenceRequest, features: readonly ModelFeature[]): void {
  const missing = featuresOf(request).find((feature) => !features.includes(feature));
  if (missing !== undefined) throw new EngineError('FEATURE_UNSUPPORTED', { field: missing });
}

/** Reason of a task that nobody needs any more: the router is not told. */
class Cancelled extends Error {}
