/**
 * The primary's stream: deltas in, sealed frames out, in order. The first delta leaves at once;
 * later ones that arrive close together share a frame, which costs the reader nothing visible and
 * saves a message a token.
 */
import type { FrameSealer } from '../../adapters/seal/channel.js';
import { toUtf8 } from '../../adapters/seal/bytes.js';
import type { Frame } from '../../domain/sealing.js';
import type { AnswerPiece } from '../../domain/answer-parts.js';
import type { StreamEvent } from '../../domain/task.js';

/** Milliseconds between frames: deltas within them share one. */
const FRAME_INTERVAL_MS = 10;

export class FrameStream {
  readonly #sealer: FrameSealer;
  readonly #send: (frame: Frame) => void;
  #held: AnswerPiece[] = [];
  #sentAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #tail: Promise<void> = Promise.resolve();

  constructor(sealer: FrameSealer, send: (frame: Frame) => void) {
    this.#sealer = sealer;
    this.#send = send;
  }

  /** Adds a piece of the answer to the stream. */
  add(piece: AnswerPiece): void {
    const last = this.#held.at(-1);
    const joined = last === undefined ? null : join(last, piece);
    if (joined === null) this.#held.push(piece);
    else this.#held[this.#held.length - 1] = joined;
    if (this.#timer !== undefined) return;
    const waitMs = this.#sentAt + FRAME_INTERVAL_MS - performance.now();
    if (waitMs <= 0) this.#flush();
    else this.#timer = setTimeout(() => this.#flush(), waitMs);
  }

  /** Sends what is held and the last frame; resolves when both have left. */
  async end(event: Extract<StreamEvent, { type: 'end' }>): Promise<void> {
    this.#flush();
    this.#push(event, true);
    await this.#tail;
  }

  /** Gives the stream up: nothing more is sent, and its reader sees it cut short. */
  drop(): void {
    clearTimeout(this.#timer);
    this.#held = [];
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#held.length === 0) return;
    for (const piece of this.#held) this.#push(piece, false);
    this.#held = [];
    this.#sentAt = performance.now();
  }

  #push(event: StreamEvent, isLast: boolean): void {
    const sealed = this.#sealer.seal(toUtf8(JSON.stringify(event)), isLast);
    this.#tail = Promise.all([this.#tail, sealed]).then(([, frame]) => this.#send(frame));
    // Whoever ends the stream hears of a failure; a stream that is dropped has no one to tell.
    this.#tail.catch(() => undefined);
  }
}

/** @returns two pieces as one; `null` where the second begins something else. */
function join(last: AnswerPiece, next: AnswerPiece): AnswerPiece | null {
  if (last.type === 'delta') {
    return next.type === 'delta' ? { type: 'delta', text: last.text + next.text } : null;
  }
  const isSameCall = next.type === 'tool-call' && next.index === last.index;
  if (!isSameCall || next.name !== undefined) return null;
  return { ...last, arguments: last.arguments + next.arguments };
}
