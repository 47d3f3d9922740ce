/**
 * One connection of a miner to a router: handshake, heartbeats, and messages handed to the desk. It
 * ends once and says why; when to try again is the miner's business.
 */
import { WebSocket } from 'ws';
import { signMessage } from '../../adapters/chain/sign.js';
import { EngineError, findEngineError } from '../../domain/errors.js';
import type { Address } from '../../domain/ids.js';
import {
  MAX_MESSAGE_BYTES,
  MINER_PATH,
  SILENCE_MS,
  type MinerMessage,
  type RouterMessage,
} from '../../domain/wire.js';
import { parseRouterMessage } from './router-message.js';
import type { DeskDeps, TaskDesk } from './task-desk.js';

/** From the first packet to the welcome. */
const HANDSHAKE_MS = 10_000;

export interface ConnectionDeps extends Pick<
  DeskDeps,
  'wallet' | 'domain' | 'backend' | 'embedding'
> {
  /** `ws:`, `wss:`, `http:` or `https:`. */
  readonly routerUrl: string;
  readonly concurrency: number;
  readonly desk: TaskDesk;
  /** Ids of the routers that this miner is connected to, by all its connections. */
  readonly connected: Set<string>;
}

export interface ConnectionEnd {
  readonly wasWelcome: boolean;
  /** Code of the router's refusal, or of what went wrong here; `null` when the line just closed. */
  readonly code: string | null;
}

/** Opens a connection and serves it until it ends.
 * @param signal - closes the connection when it aborts.
 * @param onWelcome - called when the router has let the miner in. */
export function serveConnection(
  deps: ConnectionDeps,
  signal: AbortSignal,
  onWelcome: () => void,
): Promise<ConnectionEnd> {
  return new Promise((resolve) => new Connection(deps, signal, onWelcome, resolve));
}

class Connection {
  readonly #deps: ConnectionDeps;
  readonly #socket: WebSocket;
  readonly #onWelcome: () => void;
  readonly #handshake: NodeJS.Timeout;
  #heartbeat: NodeJS.Timeout | undefined;
  #stage: 'challenge' | 'welcome' | 'ready' = 'challenge';
  #heardAt = performance.now();
  #code: string | null = null;
  /** Id of the router, once it has said it. */
  #router: string | null = null;

  constructor(
    deps: ConnectionDeps,
    signal: AbortSignal,
    onWelcome: () => void,
    onEnd: (end: ConnectionEnd) => void,
  ) {
    this.#deps = deps;
    this.#onWelcome = onWelcome;
    const socket = new WebSocket(minerUrl(deps.routerUrl), {
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
    });
    this.#socket = socket;
    const close = (): void => socket.terminate();
    this.#handshake = setTimeout(() => this.#fail('ROUTER_LEASE_LOST'), HANDSHAKE_MS);
    signal.addEventListener('abort', close, { once: true });
    socket.on('open', () => {
      const { wallet, backend, embedding, concurrency: capacity } = deps;
      const address = wallet.address as Address;
      const served = embedding === undefined ? [backend] : [backend, embedding];
      const models = served.map(({ model }) => model);
      const features = Object.fromEntries(served.map((one) => [one.model, one.features]));
      this.#send({ type: 'hello', address, models, features, capacity });
    });
    socket.on('message', (data: Buffer, isBinary) => this.#receive(data, isBinary));
    socket.on('pong', () => (this.#heardAt = performance.now()));
    // An error is always followed by `close`.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      signal.removeEventListener('abort', close);
      clearTimeout(this.#handshake);
      clearInterval(this.#heartbeat);
      if (this.#router !== null) deps.connected.delete(this.#router);
      onEnd({ wasWelcome: this.#stage === 'ready', code: this.#code });
    });
    if (signal.aborted) close();
  }

  readonly #send = (message: MinerMessage): void => {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  };

  #receive(data: Buffer, isBinary: boolean): void {
    this.#heardAt = performance.now();
    try {
      if (isBinary) throw new EngineError('MINER_PROTOCOL', { expected: 'text' });
      this.#handle(parseRouterMessage(data.toString('utf8')));
    } catch (error) {
      this.#fail(findEngineError(error)?.code ?? 'INTERNAL');
    }
  }

  #handle(message: RouterMessage): void {
    if (message.type === 'refused') {
      this.#fail(message.code);
    } else if (this.#stage === 'challenge' && message.type === 'challenge') {
      this.#enter(message.router);
      this.#stage = 'welcome';
      void this.#prove(message);
    } else if (this.#stage === 'welcome' && message.type === 'welcome') {
      this.#stage = 'ready';
      clearTimeout(this.#handshake);
      this.#heartbeat = setInterval(() => this.#beat(), message.heartbeatMs);
      this.#beat();
      this.#onWelcome();
    } else if (
      this.#stage === 'ready' &&
      message.type !== 'challenge' &&
      message.type !== 'welcome'
    ) {
      this.#deps.desk.handle(message, this.#send);
    } else {
      throw new EngineError('MINER_PROTOCOL', { unexpected: message.type });
    }
  }

  /** A router keeps one connection of a miner, the newest: two URLs of one router would take it from
   * each other for ever.
   * @throws USAGE — another connection leads to the same router. */
  #enter(router: string): void {
    const { connected } = this.#deps;
    if (connected.has(router)) throw new EngineError('USAGE', { expected: 'one URL a router' });
    connected.add(router);
    this.#router = router;
  }

  async #prove(challenge: Extract<RouterMessage, { type: 'challenge' }>): Promise<void> {
    const { router, nonce, expiresAt } = challenge;
    // A challenge that was kept is not answered: its proof could be played back.
    if (expiresAt * 1_000 <= Date.now()) {
      this.#fail('SIGNATURE_INVALID');
      return;
    }
    const { wallet, domain } = this.#deps;
    const hello = { node: wallet.address, router, nonce, expiresAt };
    try {
      const signature = await signMessage(wallet, 'NodeHello', domain, hello);
      this.#send({ type: 'proof', signature });
    } catch (error) {
      this.#fail(findEngineError(error)?.code ?? 'INTERNAL');
    }
  }

  /** Says that the miner is alive, and makes sure that the router is. */
  #beat(): void {
    if (performance.now() - this.#heardAt > SILENCE_MS) {
      this.#fail('ROUTER_LEASE_LOST');
      return;
    }
    this.#send({ type: 'heartbeat', load: this.#deps.desk.load });
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping();
  }

  #fail(code: string): void {
    this.#code ??= code;
    this.#socket.terminate();
  }
}

function minerUrl(routerUrl: string): string {
  const url = new URL(MINER_PATH, routerUrl);
  url.protocol = url.protocol === 'https:' || url.protocol === 'wss:' ? 'wss:' : 'ws:';
  return url.href;
}
