/**
 * A task's stream as text, for clients that cannot open frames: the router is a reader of the
 * session then. What was given out cannot be taken back, so a new primary's text is compared with
 * it, and the agreed answer has the last word.
 */
import { openAtRest } from '../../adapters/seal/at-rest.js';
import type { Channel, FrameOpener } from '../../adapters/seal/channel.js';
import type { BlockStore } from '../../adapters/ipfs/block-store.js';
import { AnswerParts, type AnswerPiece } from '../../domain/answer-parts.js';
import { deadlineIn } from '../../domain/deadline.js';
import { EngineError, findEngineError, isErrorCode } from '../../domain/errors.js';
import type { Address } from '../../domain/ids.js';
import { errorOfOutcome } from '../../domain/outcome.js';
import type {
  AnswerBody,
  CalledTool,
  ChatResult,
  Commitment,
  TaskOutcome,
  TokenUsage,
} from '../../domain/task.js';
import { parseChatResult, parseStreamEvent } from './chat-result.js';
import type { ServedTask } from './session-host.js';
import { KEEP_ALIVE_MS } from './sse.js';

const RESULT_MS = 30_000;

/** `index` is the number of the stream event that it came with. */
export type TranscriptEvent =
  | { readonly index: number; readonly type: 'start' }
  | { readonly index: number; readonly type: 'delta'; readonly text: string }
  | {
      readonly index: number;
      readonly type: 'tool-call';
      /** Which call, from 0; its first piece has the name. */
      readonly call: number;
      readonly name?: string;
      readonly arguments: string;
    }
  | {
      readonly index: number;
      readonly type: 'end';
      readonly finishReason: ChatResult['finishReason'];
      /** Billed. */
      readonly usage: TokenUsage;
    };

export interface TranscriptInput {
  readonly task: ServedTask;
  readonly channel: Channel;
  /** Opens results at rest; `null` at level `open`. */
  readonly identity: string | null;
  readonly blockStore: BlockStore;
  /** False: nothing is given out before the end, so the answer cannot have changed under way. */
  readonly isLive: boolean;
  readonly signal: AbortSignal;
}

/** Yields text as it comes; `null` as a sign of life.
 * @throws MINER_FAILED — the agreed answer is not the one that was given out; asked again with its
 *   idempotency key, the task answers with the agreed one.
 * @throws EngineError — the task did not complete, by its outcome. */
export async function* readTranscript(
  input: TranscriptInput,
): AsyncGenerator<TranscriptEvent | null> {
  const { task, channel, isLive, signal } = input;
  const given = new GivenAnswer();
  let stream: AuthorStream | null = null;
  for await (const next of task.stream.read({ from: 0, idleMs: KEEP_ALIVE_MS, signal })) {
    if (next === null) {
      yield null;
      continue;
    }
    const { index, event } = next;
    if (event.type === 'accepted') {
      if (stream === null) yield { index, type: 'start' };
      const opener = await channel.opener(task.taskId, event.primary);
      stream = new AuthorStream(event.primary, opener);
    } else if (event.type === 'frame') {
      const piece = (await stream?.read(event.frame)) ?? null;
      if (!isLive || stream === null || piece === null) continue;
      for (const fresh of given.extend(stream.answer, piece)) yield eventOf(index, fresh);
    } else if (event.type === 'error') {
      throw new EngineError(isErrorCode(event.code) ? event.code : 'INTERNAL');
    } else {
      const { outcome, agreed, usage, failure } = await task.conclusion;
      if (outcome !== 'completed' || agreed === null) throw errorOf(outcome, failure);
      const answer = await agreedAnswer(stream, agreed, input);
      const rest = given.complete(answer);
      if (rest === null) {
        throw new EngineError('MINER_FAILED', {
          taskId: task.taskId,
          reason: 'another answer was agreed on; ask again with the same Idempotency-Key',
        });
      }
      for (const piece of rest) yield eventOf(index, piece);
      yield { index, type: 'end', finishReason: answer.finishReason, usage };
    }
  }
}

function eventOf(index: number, piece: AnswerPiece): TranscriptEvent {
  if (piece.type === 'delta') return { ...piece, index };
  return { ...piece, index, call: piece.index };
}

/** One author's stream, opened frame by frame. */
class AuthorStream {
  readonly author: Address;
  readonly answer = new AnswerParts();
  readonly #opener: FrameOpener;
  finishReason: ChatResult['finishReason'] | null = null;
  #isBroken = false;

  constructor(author: Address, opener: FrameOpener) {
    this.author = author;
    this.#opener = opener;
  }

  /** @returns the piece that came with the frame. A broken stream is silent from there on: the
   *   agreed answer takes its place. */
  async read(frame: Parameters<FrameOpener['open']>[0]): Promise<AnswerPiece | null> {
    if (this.#isBroken) return null;
    try {
      const event = parseStreamEvent(await this.#opener.open(frame));
      if (event.type !== 'end') {
        this.answer.take(event);
        return event;
      }
      this.finishReason = event.finishReason;
    } catch (error) {
      if (findEngineError(error) === undefined) throw error;
      this.#isBroken = true;
    }
    return null;
  }
}

/** What a client has of an answer, which only ever grows. */
class GivenAnswer {
  #text = '';
  /** True while the author's text before its last delta was all that was given. */
  #isInStep = true;
  readonly #calls: CalledTool[] = [];

  /** Takes an author's answer so far.
   * @param piece - its end, new since the last call.
   * @returns what the client does not have yet; nothing where the answers differ. */
  extend({ text, calls }: AnswerParts, piece: AnswerPiece): AnswerPiece[] {
    if (piece.type === 'tool-call') return this.#extendCalls(calls) ?? [];
    const fresh = this.#extendText(text, piece.text);
    return fresh === '' ? [] : [{ type: 'delta', text: fresh }];
  }

  /** @returns what is missing of the answer; `null` when another one was given. */
  complete({ text, toolCalls = [] }: AnswerBody): AnswerPiece[] | null {
    const missing = text.startsWith(this.#text) ? text.slice(this.#text.length) : null;
    const calls = this.#extendCalls(toolCalls);
    if (missing === null || calls === null || this.#calls.length > toolCalls.length) return null;
    return missing === '' ? calls : [{ type: 'delta', text: missing }, ...calls];
  }

  #extendText(text: string, delta: string): string {
    if (this.#isInStep && this.#text.length + delta.length === text.length) {
      this.#text = text;
      return delta;
    }
    // Another author started over: in step again once it has caught up with the same words.
    this.#isInStep = text.length >= this.#text.length && text.startsWith(this.#text);
    if (!this.#isInStep) return '';
    const fresh = text.slice(this.#text.length);
    this.#text = text;
    return fresh;
  }

  /** @returns `null` where a call is another one than was given. */
  #extendCalls(calls: readonly CalledTool[]): AnswerPiece[] | null {
    const pieces: AnswerPiece[] = [];
    for (const [index, { name, arguments: written }] of calls.entries()) {
      const given = this.#calls[index];
      const isSame =
        given === undefined || (given.name === name && written.startsWith(given.arguments));
      if (!isSame) return null;
      const missing = written.slice(given?.arguments.length ?? 0);
      if (given !== undefined && missing === '') continue;
      const opening = given === undefined ? { name } : {};
      pieces.push({ type: 'tool-call', index, ...opening, arguments: missing });
    }
    // Another author that is not as far yet takes nothing back.
    if (calls.length < this.#calls.length) return [];
    this.#calls.splice(0, this.#calls.length, ...calls.map((call) => ({ ...call })));
    return pieces;
  }
}

/** The agreed answer: what was streamed, where it is what its author committed to; else the result
 * at rest. */
async function agreedAnswer(
  stream: AuthorStream | null,
  agreed: Commitment,
  input: TranscriptInput,
): Promise<AnswerBody> {
  const { channel, identity, blockStore } = input;
  if (stream?.finishReason != null && stream.author === agreed.miner) {
    const { answer, finishReason } = stream;
    const body = { text: answer.text, finishReason, ...answer.callsField };
    if ((await channel.resultHash(body)) === agreed.resultHash) return body;
  }
  const signal = deadlineIn(RESULT_MS);
  const block = await blockStore.get(agreed.resultCid, { signal });
  const result = parseChatResult(identity === null ? block : await openAtRest(block, identity));
  const isCommitted = result !== null && (await channel.resultHash(result)) === agreed.resultHash;
  if (!isCommitted) throw new EngineError('MINER_PROTOCOL', { expected: 'the committed result' });
  return result;
}

function errorOf(outcome: TaskOutcome, failure: string | null): EngineError {
  const reason = failure === null ? {} : { reason: failure };
  return new EngineError(errorOfOutcome(outcome, failure), { outcome, ...reason });
}
