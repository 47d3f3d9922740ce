/**
 * A stream of server-sent events that outlives what it is read from: it is passed on event by event,
 * and where its source breaks off, another one goes on after the last event that was passed on.
 */

const EVENT_END = '\n\n';
/** Sources of one stream; each of them was a router that died, so more are no accident. */
const MAX_SOURCES = 8;

export class SseTail {
  readonly body: ReadableStream<Uint8Array>;
  readonly #resume: (lastEventId: string | null) => Promise<ReadableStream<Uint8Array>>;
  #reader: ReadableStreamDefaultReader<Uint8Array>;
  #decoder = new TextDecoder();
  /** What has come of an event that is not whole yet. */
  #rest = '';
  #lastEventId: string | null = null;
  #isEnded = false;
  #sources = 1;

  /** @param resume - gives what comes after an event; `null`: all of it. */
  constructor(
    source: ReadableStream<Uint8Array>,
    resume: (lastEventId: string | null) => Promise<ReadableStream<Uint8Array>>,
  ) {
    this.#resume = resume;
    this.#reader = source.getReader();
    const encoder = new TextEncoder();
    this.body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const text = await this.#next();
        if (text === null) controller.close();
        else controller.enqueue(encoder.encode(text));
      },
      cancel: async (reason) => {
        await this.#reader.cancel(reason);
      },
    });
  }

  /** The next whole events; `null` at the end. */
  async #next(): Promise<string | null> {
    for (;;) {
      const part = await this.#read();
      if (part === null) return null;
      this.#rest += part;
      const events = this.#rest.split(EVENT_END);
      this.#rest = events.pop() ?? '';
      let whole = '';
      for (const event of events) {
        if (isHandedOver(event)) {
          await this.#reader.cancel();
          break;
        }
        this.#note(event);
        whole += event + EVENT_END;
      }
      if (whole !== '') return whole;
    }
  }

  async #read(): Promise<string | null> {
    let cause: unknown = null;
    try {
      const { done, value } = await this.#reader.read();
      if (!done) return this.#decoder.decode(value, { stream: true });
      if (this.#isEnded) return null;
    } catch (error) {
      cause = error;
    }
    // The last event has come; only the connection's own end has not.
    if (this.#isEnded) return null;
    if (++this.#sources > MAX_SOURCES) throw new Error('a stream that always breaks', { cause });
    const source = await this.#resume(this.#lastEventId);
    this.#reader = source.getReader();
    this.#decoder = new TextDecoder();
    this.#rest = '';
    return '';
  }

  #note(event: string): void {
    const id = /^id: (.*)$/m.exec(event)?.[1];
    if (id !== undefined) this.#lastEventId = id;
    const data = /^data: (.*)$/m.exec(event)?.[1];
    if (data !== undefined && isLast(event, data)) this.#isEnded = true;
  }
}

/** Whether the router says that the session has gone to another: a break, not an end. */
function isHandedOver(event: string): boolean {
  return /^data: \{.*"code":"ROUTER_LEASE_LOST"/m.test(event);
}

/** Whether a stream of one of the API's kinds ends with this event. */
function isLast(event: string, data: string): boolean {
  if (data === '[DONE]') return true;
  if (/^event: (response\.(completed|incomplete|failed)|error)$/m.test(event)) return true;
  return /^\{"(type":"(ended|error)"|error":)/.test(data);
}
