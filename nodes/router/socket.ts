/**
 * One miner's connection: handshake, heartbeats, and the messages of its tasks. It knows nothing of
 * what a task means; it only makes sure that who speaks is who it says, in words that parse.
 */
import { randomBytes } from 'node:crypto';
import type { WebSocket } from 'ws';
import { EngineError, findEngineError, type ErrorCode } from '../../domain/errors.js';
import type { ModelFeature } from '../../domain/features.js';
import type { Address, Hex, SessionId, TaskId } from '../../domain/ids.js';
import type { MinerMessage, RouterMessage, SessionGrant } from '../../domain/wire.js';
import { HEARTBEAT_MS } from '../../domain/wire.js';
import { parseMinerMessage, type TaskMessage } from './miner-message.js';

/** Before a miner has proved its key, nothing it says is longer. */
const MAX_HANDSHAKE_BYTES = 16 * 1024;
/** A miner that leaves this much unread is not reading. */
const MAX_UNSENT_BYTES = 16 * 1024 * 1024;
/** Tasks whose late messages are ignored; a message about any other task breaks protocol. */
const REMEMBERED_TASKS = 4_096;
const PROOF_SECONDS = 10;
const CLOSE_MS = 1_000;
const POLICY_VIOLATION = 1008;

/** Hears what a miner says about one task. */
export interface TaskListener {
  /** @throws EngineError MINER_PROTOCOL — the miner is cut. */
  onMessage(message: TaskMessage): void;
  /** The connection is gone; nothing more comes. */
  onGone(code: ErrorCode): void;
}

/** A connected miner, as dispatch sees it. */
export interface MinerLink {
  readonly address: Address;
  readonly models: readonly string[];
  /** Of each model, what it can do beyond text. */
  readonly features: Readonly<Record<string, readonly ModelFeature[]>>;
  /** Tasks at once. */
  readonly capacity: number;
  /** Tasks it works on: the greater of what it reports and what was asked of it here. */
  readonly load: number;
  send(message: RouterMessage): void;
  /** Makes sure that the miner knows the session before its first task. */
  grant(grant: SessionGrant): void;
  listen(taskId: TaskId, listener: TaskListener): void;
  release(taskId: TaskId): void;
  /** Ends the connection; every task that listens hears of it. */
  cut(code: ErrorCode): void;
}

export interface Hello {
  readonly address: Address;
  readonly models: readonly string[];
  readonly features?: MinerLink['features'] | undefined;
  readonly capacity: number;
}
export interface Challenge {
  readonly router: string;
  readonly nonce: Hex;
  /** Unix seconds. */
  readonly expiresAt: number;
}
export interface SocketHooks {
  /** @throws EngineError — the miner is refused with its code. */
  verify(hello: Hello, challenge: Challenge, signature: Hex): Promise<void>;
  onReady(socket: MinerSocket): void;
  onClosed(socket: MinerSocket, code: ErrorCode): void;
}

export class MinerSocket implements MinerLink {
  readonly #ws: WebSocket;
  readonly #hooks: SocketHooks;
  readonly #challenge: Challenge;
  readonly #listeners = new Map<TaskId, TaskListener>();
  readonly #released = new Set<TaskId>();
  /** Keyring per session that the miner was granted. */
  readonly #granted = new Map<SessionId, string | null>();
  #stage: 'hello' | 'proof' | 'checking' | 'ready' | 'closed' = 'hello';
  #hello: Hello = { address: '0x', models: [], capacity: 0 };
  #reportedLoad = 0;
  #heardAt = Date.now();

  constructor(ws: WebSocket, routerId: string, hooks: SocketHooks) {
    this.#ws = ws;
    this.#hooks = hooks;
    this.#challenge = {
      router: routerId,
      nonce: `0x${randomBytes(32).toString('hex')}`,
      expiresAt: Math.floor(Date.now() / 1000) + PROOF_SECONDS,
    };
    ws.on('message', (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary));
    ws.on('close', () => this.#close('MINER_FAILED'));
    // An error is always followed by `close`; a frame beyond the size limit ends here too.
    ws.on('error', () => undefined);
  }

  get address(): Address {
    return this.#hello.address;
  }
  get models(): readonly string[] {
    return this.#hello.models;
  }
  get features(): MinerLink['features'] {
    return this.#hello.features ?? {};
  }
  get capacity(): number {
    return this.#hello.capacity;
  }
  get load(): number {
    return Math.max(this.#reportedLoad, this.#listeners.size);
  }
  get isReady(): boolean {
    return this.#stage === 'ready';
  }
  /** Milliseconds since the last message of any kind. */
  get silentMs(): number {
    return Date.now() - this.#heardAt;
  }

  send(message: RouterMessage): void {
    if (this.#stage === 'closed') return;
    if (this.#ws.bufferedAmount > MAX_UNSENT_BYTES) {
      this.cut('MINER_TIMEOUT');
      return;
    }
    this.#ws.send(JSON.stringify(message));
  }

  grant(grant: SessionGrant): void {
    if (this.#granted.get(grant.sessionId) === grant.keyring) return;
    this.#granted.set(grant.sessionId, grant.keyring);
    this.send({ type: 'session', grant });
  }

  listen(taskId: TaskId, listener: TaskListener): void {
    this.#released.delete(taskId);
    this.#listeners.set(taskId, listener);
  }

  release(taskId: TaskId): void {
    if (!this.#listeners.delete(taskId)) return;
    this.#released.add(taskId);
    if (this.#released.size > REMEMBERED_TASKS) {
      for (const oldest of this.#released) {
        this.#released.delete(oldest);
        break;
      }
    }
  }

  cut(code: ErrorCode): void {
    if (this.#stage === 'closed') return;
    this.send({ type: 'refused', code });
    // Whatever it still sends is not read: a miner that floods costs nothing from here on.
    this.#ws.removeAllListeners('message');
    this.#ws.close(POLICY_VIOLATION, code);
    setTimeout(() => this.#ws.terminate(), CLOSE_MS).unref();
    this.#close(code);
  }

  #receive(data: Buffer, isBinary: boolean): void {
    this.#heardAt = Date.now();
    try {
      if (isBinary) throw new EngineError('MINER_PROTOCOL', { expected: 'text' });
      if (this.#stage !== 'ready' && data.length > MAX_HANDSHAKE_BYTES) {
        throw new EngineError('MINER_PROTOCOL', { expected: 'a short handshake' });
      }
      this.#handle(parseMinerMessage(data.toString('utf8')));
    } catch (error) {
      this.cut(findEngineError(error)?.code ?? 'INTERNAL');
    }
  }

  #handle(message: MinerMessage): void {
    if (this.#stage === 'ready') {
      if (message.type === 'heartbeat') this.#reportedLoad = message.load;
      else if ('taskId' in message) this.#deliver(message);
      else throw new EngineError('MINER_PROTOCOL', { unexpected: message.type });
    } else if (this.#stage === 'hello' && message.type === 'hello') {
      this.#hello = message;
      this.#stage = 'proof';
      this.send({ type: 'challenge', ...this.#challenge });
    } else if (this.#stage === 'proof' && message.type === 'proof') {
      this.#stage = 'checking';
      void this.#prove(message.signature);
    } else {
      throw new EngineError('MINER_PROTOCOL', { unexpected: message.type });
    }
  }

  #deliver(message: TaskMessage): void {
    const listener = this.#listeners.get(message.taskId);
    if (listener !== undefined) listener.onMessage(message);
    else if (!this.#released.has(message.taskId)) {
      throw new EngineError('MINER_PROTOCOL', { unexpected: 'a task it was never given' });
    }
  }

  async #prove(signature: Hex): Promise<void> {
    try {
      await this.#hooks.verify(this.#hello, this.#challenge, signature);
    } catch (error) {
      this.cut(findEngineError(error)?.code ?? 'INTERNAL');
      return;
    }
    if (this.#stage !== 'checking') return;
    this.#stage = 'ready';
    this.send({ type: 'welcome', heartbeatMs: HEARTBEAT_MS });
    this.#hooks.onReady(this);
  }

  #close(code: ErrorCode): void {
    if (this.#stage === 'closed') return;
    this.#stage = 'closed';
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    this.#hooks.onClosed(this, code);
    for (const listener of listeners) listener.onGone(code);
  }
}
