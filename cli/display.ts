/**
 * Progress for people, on stderr: one line a step, with its time when it is done. On a terminal the
 * running step is redrawn in place; elsewhere every step is a line of its own.
 */
import type { WriteStream } from 'node:tty';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] as const;
const FRAME_MS = 100;
/** Without a terminal, a step's notes are printed at most this often. */
const NOTE_INTERVAL_MS = 5_000;

export class Display {
  readonly #out: WriteStream;
  readonly #isLive: boolean;
  #step: { readonly title: string; readonly startedAt: number; note: string } | null = null;
  #timer: NodeJS.Timeout | null = null;
  #frame = 0;
  #notedAt = 0;

  constructor(out: WriteStream = process.stderr) {
    this.#out = out;
    this.#isLive = out.isTTY === true;
  }

  /** Runs a step and shows how it goes; its title becomes a line with a tick and its time. */
  async step<T>(title: string, run: (note: (text: string) => void) => Promise<T>): Promise<T> {
    const startedAt = Date.now();
    this.#step = { title, startedAt, note: '' };
    if (this.#isLive) this.#timer = setInterval(() => this.#draw(), FRAME_MS);
    try {
      const result = await run((text) => this.#note(text));
      this.#finish('✔', `${title} ${seconds(startedAt)}`);
      return result;
    } catch (error) {
      this.#finish('✖', `${title} ${seconds(startedAt)}`);
      throw error;
    }
  }

  /** Writes a line that stays. */
  line(text: string): void {
    this.#clear();
    this.#out.write(`${text}\n`);
  }

  /** Writes text as it comes, without a line end: an answer that streams. */
  stream(text: string): void {
    this.#clear();
    this.#out.write(text);
  }

  #note(text: string): void {
    if (this.#step === null) return;
    this.#step.note = text;
    if (this.#isLive || Date.now() - this.#notedAt < NOTE_INTERVAL_MS) return;
    this.#notedAt = Date.now();
    this.#out.write(`  … ${this.#step.title}: ${text}\n`);
  }

  #finish(mark: string, text: string): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#step = null;
    this.line(`${mark} ${text}`);
  }

  #draw(): void {
    if (this.#step === null) return;
    const { title, startedAt, note } = this.#step;
    const frame = FRAMES[this.#frame++ % FRAMES.length] ?? '';
    const text = `${frame} ${title} ${seconds(startedAt)}${note === '' ? '' : ` · ${note}`}`;
    this.#clear();
    this.#out.write(text.slice(0, Math.max(20, (this.#out.columns ?? 80) - 1)));
  }

  #clear(): void {
    if (this.#isLive) this.#out.write('\r\u001b[2K');
  }
}

function seconds(since: number): string {
  return `(${((Date.now() - since) / 1_000).toFixed(1)} s)`;
}
