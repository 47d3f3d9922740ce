/** A miner that speaks the real protocol with a real key, and misbehaves where a test scripts it. */
import { randomBytes } from 'node:crypto';
import { Wallet } from 'ethers';
import { WebSocket } from 'ws';
import { precommitmentOf } from '../../../adapters/chain/precommitment.js';
import { signMessage } from '../../../adapters/chain/sign.js';
import { namedVector } from '../../../adapters/embedding/scripted.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { cidOf, digestOf } from '../../../adapters/ipfs/cid.js';
import { openAtRest, sealAtRest } from '../../../adapters/seal/at-rest.js';
import { openChannel, type Channel } from '../../../adapters/seal/channel.js';
import { createIdentity, recipientOf } from '../../../adapters/seal/identity.js';
import { openKeyring } from '../../../adapters/seal/keyring.js';
import type { SigningDomain } from '../../../domain/attestation.js';
import { textOfVectors } from '../../../domain/embedding.js';
import type { Address, Hex, SessionId, TaskId } from '../../../domain/ids.js';
import { MODEL_FEATURES, type ModelFeature } from '../../../domain/features.js';
import type {
  CalledTool,
  ChatRequest,
  Commitment,
  EmbeddingRequest,
  InferenceRequest,
} from '../../../domain/task.js';
import { MINER_PATH, type AssignedTask, type RouterMessage } from '../../../domain/wire.js';

export interface Script {
  /** The whole answer. @defaultValue `You said: <last message>` */
  readonly answer?: (request: ChatRequest) => string;
  /** Calls of tools behind the answer's text. */
  readonly toolCalls?: (request: ChatRequest) => readonly CalledTool[];
  /** Its vectors of texts. @defaultValue one of each text's own */
  readonly vectors?: (request: EmbeddingRequest) => readonly Float32Array[];
  /** What it says that its model can do. @defaultValue all there is */
  readonly features?: readonly ModelFeature[];
  /** Never acks a task. */
  readonly isDeaf?: boolean;
  /** Answers each assignment with this code of a failure. */
  readonly declines?: string;
  /** Awaited before the commitment goes out. */
  readonly beforeCommit?: () => Promise<void>;
  /** Called before each frame with its number; may wait, or break off by throwing. */
  readonly beforeFrame?: (seq: number, miner: ScriptedMiner) => Promise<void> | void;
  /** Awaited before the precommitment goes out. */
  readonly beforePrecommit?: (miner: ScriptedMiner) => Promise<void> | void;
  /** Makes the commitment another one than was precommitted. */
  readonly tamper?: (commitment: Commitment) => Commitment;
  /** Streams other words than it commits to. */
  readonly streams?: (answer: string) => string;
  readonly isSilent?: boolean;
  /** Signs commitments in place of the miner's own key. */
  readonly signer?: Wallet;
  readonly models?: readonly string[];
  readonly usage?: { readonly promptTokens: number; readonly completionTokens: number };
}

interface Session {
  readonly channel: Channel;
  readonly identity: string | null;
}

export const DEFAULT_USAGE = { promptTokens: 5, completionTokens: 7 };

export class ScriptedMiner {
  readonly wallet = new Wallet(`0x${randomBytes(32).toString('hex')}`);
  readonly address = this.wallet.address as Address;
  readonly identity: string;
  readonly recipient: string;
  /** Everything the router said, in order. */
  readonly heard: RouterMessage[] = [];
  /** What it said about tasks, in order. */
  readonly said: string[] = [];
  script: Script;
  ws: WebSocket | null = null;
  isWelcome = false;
  refusal: string | null = null;
  isClosed = false;

  readonly #domain: SigningDomain;
  readonly #sessions = new Map<SessionId, Promise<Session>>();
  readonly #reveals = new Map<TaskId, () => void>();
  #heartbeat: NodeJS.Timeout | undefined;

  private constructor(
    keys: { identity: string; recipient: string },
    domain: SigningDomain,
    script: Script,
  ) {
    this.identity = keys.identity;
    this.recipient = keys.recipient;
    this.#domain = domain;
    this.script = script;
  }

  static async create(domain: SigningDomain, script: Script = {}): Promise<ScriptedMiner> {
    return new ScriptedMiner(await createIdentity(), domain, script);
  }

  /** Resolves when the router has let it in or turned it away. */
  connect(routerUrl: string): Promise<void> {
    const ws = new WebSocket(new URL(MINER_PATH, routerUrl.replace('http', 'ws')));
    this.ws = ws;
    // Beats of the connection before have no place in this one's handshake.
    clearInterval(this.#heartbeat);
    this.isWelcome = false;
    this.isClosed = false;
    const { address } = this;
    ws.on('open', () => {
      const { models = ['tiny'], features: able = MODEL_FEATURES } = this.script;
      const features = Object.fromEntries(models.map((model) => [model, able]));
      this.send({ type: 'hello', address, models, features, capacity: 4 });
    });
    return new Promise((resolve) => {
      ws.on('message', (data: Buffer) => {
        const message = JSON.parse(data.toString()) as RouterMessage;
        this.heard.push(message);
        void this.#handle(message).then(() => {
          if (message.type === 'welcome' || message.type === 'refused') resolve();
        });
      });
      ws.on('error', () => undefined);
      ws.on('close', () => {
        if (this.ws === ws) {
          this.isClosed = true;
          clearInterval(this.#heartbeat);
        }
        resolve();
      });
    });
  }

  send(message: object): void {
    if (this.ws?.readyState === WebSocket.OPEN) this.ws.send(JSON.stringify(message));
  }

  close(): void {
    clearInterval(this.#heartbeat);
    this.ws?.terminate();
  }

  async #handle(message: RouterMessage): Promise<void> {
    switch (message.type) {
      case 'challenge': {
        const { router, nonce, expiresAt } = message;
        const hello = { node: this.address, router, nonce, expiresAt };
        const signature = await signMessage(this.wallet, 'NodeHello', this.#domain, hello);
        return this.send({ type: 'proof', signature });
      }
      case 'welcome':
        this.isWelcome = true;
        clearInterval(this.#heartbeat);
        if (this.script.isSilent !== true) {
          const beat = () => this.send({ type: 'heartbeat', load: 0 });
          this.#heartbeat = setInterval(beat, 100);
        }
        return;
      case 'refused':
        this.refusal = message.code;
        return;
      case 'session':
        this.#sessions.set(message.grant.sessionId, this.#open(message.grant));
        return;
      case 'assign':
        // A script that throws breaks the task off here, as a dying process would.
        return this.#work(message.task).catch((error: unknown) => {
          this.said.push(`broke off: ${String(error)}`);
        });
      case 'reveal':
        return this.#reveals.get(message.taskId)?.();
      case 'cancel':
      case 'ended':
        return;
    }
  }

  async #open(grant: { sessionId: SessionId; keyring: string | null }): Promise<Session> {
    const { sessionId } = grant;
    if (grant.keyring === null) {
      return { channel: await openChannel({ sessionId, channelKey: null }), identity: null };
    }
    const file = Buffer.from(grant.keyring, 'base64');
    const { channelKey, identity } = await openKeyring(file, this.identity);
    return { channel: await openChannel({ sessionId, channelKey }), identity };
  }

  async #request(task: AssignedTask, session: Session): Promise<InferenceRequest> {
    let bytes: Uint8Array;
    if (task.request !== null) {
      bytes = await (await session.channel.opener(task.taskId, 'client')).open(task.request);
    } else {
      const block = Buffer.from(task.atRest ?? '', 'base64');
      bytes = session.identity === null ? block : await openAtRest(block, session.identity);
    }
    return JSON.parse(Buffer.from(bytes).toString()) as InferenceRequest;
  }

  async #work(task: AssignedTask): Promise<void> {
    const { script } = this;
    if (script.isDeaf === true) return;
    const { sessionId, taskId } = task;
    this.say('ack', { taskId });
    if (script.declines !== undefined) return this.say('fail', { taskId, code: script.declines });
    const session = await this.#sessions.get(sessionId);
    if (session === undefined) throw new Error('no grant');
    const { channel, identity } = session;
    const request = await this.#request(task, session);
    const { answer, toolCalls, end } = this.#answer(request);
    const { usage } = end;
    const called = toolCalls.length > 0 ? { toolCalls } : {};
    if (task.isPrimary) {
      const text = 'kind' in request ? '' : (script.streams?.(answer) ?? answer);
      const said = { text, toolCalls };
      await this.#stream(task, channel, said, end);
    }

    const result = { model: request.model, text: answer, ...called, ...end };
    const plain = encodeJson(result);
    const block =
      identity === null ? plain : await sealAtRest(plain, [await recipientOf(identity)]);
    const resultCid = cidOf(block);
    const reveal = {
      sessionId,
      taskId,
      resultHash: await channel.resultHash(result),
      resultDigest: digestOf(resultCid),
      salt: `0x${randomBytes(32).toString('hex')}` as Hex,
    };
    const miner = this.address;
    const precommitment = precommitmentOf({ ...reveal, miner });
    const promise = { sessionId, taskId, precommitment };
    const signature = await signMessage(this.wallet, 'Precommit', this.#domain, promise);
    const asked = new Promise<void>((resolve) => this.#reveals.set(taskId, resolve));
    await script.beforePrecommit?.(this);
    this.say('precommit', { taskId, precommitment: { ...promise, miner, signature } });
    await asked;
    await script.beforeCommit?.();
    const honest: Commitment = { ...reveal, miner, resultCid, usage, signature: '0x' };
    const commitment = script.tamper?.(honest) ?? honest;
    const { resultHash, resultDigest, salt } = commitment;
    const signed = { sessionId, taskId, resultHash, resultDigest, ...usage, salt };
    this.say('commit', {
      taskId,
      commitment: {
        ...commitment,
        signature: await signMessage(script.signer ?? this.wallet, 'Commit', this.#domain, signed),
      },
      result: Buffer.from(block).toString('base64'),
    });
  }

  #answer(request: InferenceRequest) {
    const { script } = this;
    if ('kind' in request) {
      const named = () => request.input.map((text) => namedVector(text, request.dimensions));
      const answer = textOfVectors(script.vectors?.(request) ?? named());
      const { promptTokens } = script.usage ?? DEFAULT_USAGE;
      const usage = { promptTokens, completionTokens: 0 };
      return { answer, toolCalls: [], end: { finishReason: 'embedding', usage } as const };
    }
    const answer = script.answer?.(request) ?? `You said: ${request.messages.at(-1)?.content}`;
    const toolCalls = script.toolCalls?.(request) ?? [];
    const finishReason = toolCalls.length > 0 ? 'tool-calls' : 'stop';
    return {
      answer,
      toolCalls,
      end: { finishReason, usage: script.usage ?? DEFAULT_USAGE } as const,
    };
  }

  async #stream(
    { taskId }: AssignedTask,
    channel: Channel,
    { text: answer, toolCalls }: { text: string; toolCalls: readonly CalledTool[] },
    end: object,
  ): Promise<void> {
    const sealer = await channel.sealer(taskId, this.address);
    let seq = 0;
    for (const word of answer.split(/(?<= )/)) {
      await this.script.beforeFrame?.(seq++, this);
      const frame = await sealer.seal(encodeJson({ type: 'delta', text: word }), false);
      this.say('frame', { taskId, frame });
    }
    for (const [index, { name, arguments: written }] of toolCalls.entries()) {
      const middle = Math.ceil(written.length / 2);
      const type = 'tool-call';
      for (const piece of [
        { type, index, name, arguments: written.slice(0, middle) },
        { type, index, arguments: written.slice(middle) },
      ]) {
        await this.script.beforeFrame?.(seq++, this);
        this.say('frame', { taskId, frame: await sealer.seal(encodeJson(piece), false) });
      }
    }
    const frame = await sealer.seal(encodeJson({ type: 'end', ...end }), true);
    this.say('frame', { taskId, frame });
  }

  /** Sends a message of a task, and notes that it did. */
  say(type: string, message: object): void {
    this.said.push(type);
    this.send({ type, ...message });
  }
}
