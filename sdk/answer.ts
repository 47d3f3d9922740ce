/** The answer to a request, as it comes: deltas to iterate over, and the checked whole at the end. */
import type { Cid, TaskId } from '../domain/ids.js';
import type { Citation } from '../domain/source.js';
import type { CalledTool, ChatResult, TaskOutcome, TokenUsage, ToolCall } from '../domain/task.js';
import { toolCallId } from '../domain/tools.js';

/** What a task came to. */
export interface Answer {
  /** The agreed answer; without agreement, what was streamed. */
  readonly text: string;
  /** Calls of tools, in their order; empty where none was called. They go into an assistant's message as
   * they are, and their ids into the messages of the tools. What is called, and with what, may be
   * anything. */
  readonly toolCalls: readonly ToolCall[];
  /** Why it ended: by `length` it was cut short, and a form is none then. `null` without agreement. */
  readonly finishReason: ChatResult['finishReason'] | null;
  readonly taskId: TaskId;
  /** `completed` or `no-quorum`: any other end is thrown. */
  readonly outcome: TaskOutcome;
  /** Whether a majority of the asked miners gave this answer. Without it nothing is charged. */
  readonly verdictAgreed: boolean;
  readonly requestCid: Cid;
  /** Of every miner that committed. */
  readonly resultCids: readonly Cid[];
  readonly usage: TokenUsage;
  /** Where the passages are from, by the numbers that the answer cites; absent without a `context`. */
  readonly citations?: readonly Citation[];
  /** In a session with a host: code of what keeps the answer from it, such as `HOST_UNREACHABLE`. Until
   * then it waits on the engine's nodes. Absent while nothing does. */
  readonly hostCode?: string;
}

/** Iterate over it for text as it arrives, any number of times; or only await `done`. Streamed text
 * is not judged yet: where the network agreed on another answer, `done` has that one. Calls of tools
 * come with `done` alone: nobody is to act on what is not judged. */
export interface AnswerStream extends AsyncIterable<string> {
  /** @throws EngineError — the task did not end well, or what came back is not authentic. */
  readonly done: Promise<Answer>;
}

/** Gives the calls of a task's answer their ids: the same ones whenever it is read. */
export function identified(taskId: TaskId, calls: readonly CalledTool[] = []): ToolCall[] {
  return calls.map((call, i) => ({ id: toolCallId(taskId, i), ...call }));
}

/** Starts work at once and keeps its deltas, so that nobody has to listen for it to go on. */
export function streamAnswer(
  work: (emit: (delta: string) => void) => Promise<Answer>,
): AnswerStream {
  const deltas: string[] = [];
  const wakes = new Set<() => void>();
  let isOver = false;
  const wake = (): void => {
    for (const listener of wakes) listener();
    wakes.clear();
  };
  const done = work((delta) => {
    deltas.push(delta);
    wake();
  }).finally(() => {
    isOver = true;
    wake();
  });
  // Whoever iterates gets the error there; nobody is made to await `done` as well.
  done.catch(() => undefined);
  return {
    done,
    async *[Symbol.asyncIterator]() {
      for (let next = 0; ;) {
        const delta = deltas[next];
        if (delta !== undefined) {
          next++;
          yield delta;
        } else if (isOver) {
          await done;
          return;
        } else {
          await new Promise<void>((resolve) => wakes.add(resolve));
        }
      }
    },
  };
}

/** The text that a reader has been given, which only ever grows. A stream that starts over, by
 * another miner or after a lost connection, is compared with it. */
export class GivenText {
  #text = '';
  readonly #emit: (delta: string) => void;

  constructor(emit: (delta: string) => void) {
    this.#emit = emit;
  }

  get text(): string {
    return this.#text;
  }

  /** Gives out what `text` adds; nothing where it is not a continuation. */
  extend(text: string): void {
    if (text.length <= this.#text.length || !text.startsWith(this.#text)) return;
    const delta = text.slice(this.#text.length);
    this.#text = text;
    this.#emit(delta);
  }
}
