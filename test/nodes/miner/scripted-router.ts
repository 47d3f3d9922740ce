/** A router that does what a test tells it, one miner at a time, over a real WebSocket. */
import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Hex } from '../../../domain/ids.js';
import { MINER_PATH, type MinerMessage, type RouterMessage } from '../../../domain/wire.js';

type Of<T extends MinerMessage['type']> = Extract<MinerMessage, { type: T }>;

const PATIENCE_MS = 30_000;

export class ScriptedRouter {
  readonly #server: WebSocketServer;
  /** Everything that was received, over all connections. */
  readonly received: MinerMessage[] = [];
  /** Sent in place of a welcome while it is not null. */
  refusal: string | null = null;
  /** What it calls itself. */
  routerId: string;
  /** Seconds from now at which challenges expire. */
  expiresInSeconds = 10;
  connections = 0;
  #socket: WebSocket | undefined;
  #read = 0;
  readonly #waiting = new Set<() => void>();

  private constructor(server: WebSocketServer) {
    this.#server = server;
    this.routerId = `router-${(server.address() as AddressInfo).port}`;
    server.on('connection', (socket) => this.#serve(socket));
  }

  static async listen(port = 0): Promise<ScriptedRouter> {
    const server = new WebSocketServer({ port, host: '127.0.0.1', path: MINER_PATH });
    await new Promise((resolve) => server.once('listening', resolve));
    return new ScriptedRouter(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  send(message: RouterMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }

  sendText(text: string): void {
    this.#socket?.send(text);
  }

  cut(): void {
    this.#socket?.terminate();
  }

  /** The next message of this type, among those not yet taken; heartbeats in between are skipped. */
  async next<T extends MinerMessage['type']>(type: T): Promise<Of<T>> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      while (this.#read < this.received.length) {
        const message = this.received[this.#read++];
        if (message?.type === type) return message as Of<T>;
        if (message?.type !== 'heartbeat') {
          throw new Error(`expected ${type}, got ${JSON.stringify(message).slice(0, 200)}`);
        }
      }
      await this.#arrival(deadline, type);
    }
  }

  /** Waits for a heartbeat that was sent after this call: everything before it has arrived. */
  async settle(): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    const seen = this.received.length;
    for (let beats = 0; beats < 2;) {
      await this.#arrival(deadline, 'heartbeat');
      beats = this.received.slice(seen).filter((m) => m.type === 'heartbeat').length;
    }
  }

  async close(): Promise<void> {
    for (const client of this.#server.clients) client.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #arrival(deadline: number, what: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no ${what} in time`)),
        deadline - Date.now(),
      );
      this.#waiting.add(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #serve(socket: WebSocket): void {
    this.connections++;
    this.#socket = socket;
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString('utf8')) as MinerMessage;
      this.received.push(message);
      if (message.type === 'hello') this.#challenge();
      if (message.type === 'proof') this.#answerProof();
      for (const wake of this.#waiting) wake();
      this.#waiting.clear();
    });
  }

  #challenge(): void {
    this.send({
      type: 'challenge',
      router: this.routerId,
      nonce: `0x${randomBytes(32).toString('hex')}` as Hex,
      expiresAt: Math.floor(Date.now() / 1_000) + this.expiresInSeconds,
    });
  }

  #answerProof(): void {
    if (this.refusal === null) this.send({ type: 'welcome', heartbeatMs: 50 });
    else {
      this.send({ type: 'refused', code: this.refusal });
      this.#socket?.close();
    }
  }
}
