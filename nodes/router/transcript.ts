/**
 * A task's stream as text, for clients that cannot open frames: the router is a reader of the
 * session then. What was given out cannot be taken back, so a new primary's text is compared with
 * it, and the agreed answer has the last word.
 */
import { openAtRest } from '../../adapters/seal/at-rest.js';
import type { Channel, FrameOpener } from '../../adapters/seal/channel.js';
import type { BlockStore } from '../../adapters/ipfs/block-store.js';
import { EngineError, findEngineError, isErrorCode, type ErrorCode } from '../../domain/errors.js';
import type { Address } from '../../domain/ids.js';
import type { ChatResult, Commitment, TaskOutcome, TokenUsage } from '../../domain/task.js';
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

type Answer = Pick<ChatResult, 'text' | 'finishReason'>;

/** Yields text as it comes; `null` as a sign of life.
 * @throws MINER_FAILED — the agreed answer is not the one that was given out; asked again with its
 *   idempotency key, the task answers with the agreed one.
 * @throws EngineError — the task did not complete, by its outcome. */
export async function* readTranscript(
  input: TranscriptInput,
): AsyncGenerator<TranscriptEvent | null> {
  const { task, channel, isLive, signal } = input;
  const given = new GivenText();
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
      const delta = await stream?.read(event.frame);
      const fresh = isLive && delta ? given.extend(stream?.text ?? '', delta) : '';
      if (fresh !== '') yield { index, type: 'delta', text: fresh };
    } else if (event.type === 'error') {
      throw new EngineError(isErrorCode(event.code) ? event.code : 'INTERNAL');
    } else {
      const { outcome, agreed, usage } = await task.conclusion;
      if (outcome !== 'completed' || agreed === null) throw errorOf(outcome);
      const answer = await agreedAnswer(stream, agreed, input);
      const rest = given.complete(answer.text);
      if (rest === null) {
        throw new EngineError('MINER_FAILED', {
          taskId: task.taskId,
          reason: 'another answer was agreed on; ask again with the same Idempotency-Key',
        });
      }
      if (rest !== '') yield { index, type: 'delta', text: rest };
      yield { index, type: 'end', finishReason: answer.finishReason, usage };
    }
  }
}

/** One author's stream, opened frame by frame. */
class AuthorStream {
  readonly author: Address;
  readonly #opener: FrameOpener;
  text = '';
  finishReason: ChatResult['finishReason'] | null = null;
  #isBroken = false;

  constructor(author: Address, opener: FrameOpener) {
    this.author = author;
    this.#opener = opener;
  }

  /** @returns the text that came with the frame. A broken stream is silent from there on: the
   *   agreed answer takes its place. */
  async read(frame: Parameters<FrameOpener['open']>[0]): Promise<string> {
    if (this.#isBroken) return '';
    try {
      const event = parseStreamEvent(await this.#opener.open(frame));
      if (event.type === 'delta') {
        this.text += event.text;
        return event.text;
      }
      this.finishReason = event.finishReason;
    } catch (error) {
      if (findEngineError(error) === undefined) throw error;
      this.#isBroken = true;
    }
    return '';
  }
}

/** The text that a client has, which only ever grows. */
class GivenText {
  #text = '';
  /** True while the author's text before its last delta was all that was given. */
  #isInStep = true;

  /** Takes an author's text so far.
   * @param delta - its end, new since the last call.
   * @returns what the client does not have yet; nothing where the texts differ. */
  extend(text: string, delta: string): string {
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

  /** @returns what is missing of the answer; `null` when another text was given. */
  complete(answer: string): string | null {
    return answer.startsWith(this.#text) ? answer.slice(this.#text.length) : null;
  }
}

/** The agreed answer: what was streamed, where it is what its author committed to; else the result
 * at rest. */
async function agreedAnswer(
  stream: AuthorStream | null,
  agreed: Commitment,
  input: TranscriptInput,
): Promise<Answer> {
  const { channel, identity, blockStore } = input;
  if (stream?.finishReason != null && stream.author === agreed.miner) {
    const { text, finishReason } = stream;
    if ((await channel.resultHash({ text, finishReason })) === agreed.resultHash) {
      return { text, finishReason };
    }
  }
  const signal = AbortSignal.timeout(RESULT_MS);
  const block = await blockStore.get(agreed.resultCid, { signal });
  const result = parseChatResult(identity === null ? block : await openAtRest(block, identity));
  const isCommitted = result !== null && (await channel.resultHash(result)) === agreed.resultHash;
  if (!isCommitted) throw new EngineError('MINER_PROTOCOL', { expected: 'the committed result' });
  return result;
}

const OUTCOME_ERRORS: Readonly<Record<TaskOutcome, ErrorCode>> = {
  completed: 'CONTENT_MISSING',
  'no-quorum': 'NO_QUORUM',
  expired: 'MINER_TIMEOUT',
  refused: 'MINER_FAILED',
  cancelled: 'TASK_CANCELLED',
  failed: 'MINER_FAILED',
  disputed: 'ATTESTATION_REFUSED',
};

function errorOf(outcome: TaskOutcome): EngineError {
  return new EngineError(OUTCOME_ERRORS[outcome], { outcome });
}
