/**
 * What goes out to one client. Streams wait here while it does not read, each with one message at
 * most, and it is not listened to either: a client that stops reading stops itself, and holds a
 * bounded number of bytes.
 */
import type { WebSocket } from 'ws';
import type { ServerMessage } from '../../../domain/stream.js';

/** Bytes that may lie unsent; beyond them, everything waits. */
const HIGH_WATER_BYTES = 256 * 1024;

interface Waiting {
  readonly text: string;
  readonly resolve: () => void;
}

export class Outbox {
  readonly #ws: WebSocket;
  readonly #onProgress: () => void;
  readonly #waiting: Waiting[] = [];

  /** @param onProgress - called when a client that was behind has taken something. */
  constructor(ws: WebSocket, onProgress: () => void) {
    this.#ws = ws;
    this.#onProgress = onProgress;
    ws.on('close', () => this.#release());
  }

  /** Sends at once, for what answers a message of the client's own. */
  post(message: ServerMessage): void {
    this.#write(JSON.stringify(message));
    // It asks faster than it reads the answers: not listened to until it has caught up.
    if (this.#isFull && this.#isOpen) this.#ws.pause();
  }

  /** Sends in turn.
   * @returns a promise that resolves when the message is on its way, or nobody is there to get it. */
  send(message: ServerMessage): Promise<void> {
    const text = JSON.stringify(message);
    if (this.#waiting.length === 0 && !this.#isFull) {
      this.#write(text);
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push({ text, resolve }));
  }

  get #isFull(): boolean {
    return this.#ws.bufferedAmount >= HIGH_WATER_BYTES;
  }

  get #isOpen(): boolean {
    return this.#ws.readyState === this.#ws.OPEN;
  }

  #write(text: string): void {
    if (!this.#isOpen) return;
    const isBehind = this.#isFull;
    this.#ws.send(text, () => {
      if (isBehind || this.#waiting.length > 0) this.#onProgress();
      this.#flush();
    });
  }

  #flush(): void {
    while (!this.#isFull) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      this.#write(next.text);
      next.resolve();
    }
    if (!this.#isFull && this.#ws.isPaused) this.#ws.resume();
  }

  #release(): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }
}
