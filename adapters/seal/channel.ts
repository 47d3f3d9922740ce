/**
 * Sealing on the wire: the frames of a task's streams, under keys that a session's readers share.
 * The same code runs in routers, miners and browsers.
 *
 * Each stream has its own AES-256-GCM key, derived by HKDF-SHA-256 (RFC 5869) from the channel key,
 * a random salt that travels in front of frame 0, and the stream's session, task and author. The
 * salt is what makes counting nonces safe: a task that is dispatched twice to one miner, or a
 * client that repeats a task with other text, never uses one key and nonce twice. The nonce is the
 * frame's number; session, task, author, number and the last-frame mark are authenticated with it.
 */
import { EngineError } from '../../domain/errors.js';
import type { Hex, SessionId, TaskId } from '../../domain/ids.js';
import type { Frame } from '../../domain/sealing.js';
import type { AnswerBody } from '../../domain/task.js';
import { encodeJson } from '../ipfs/canonical.js';
import { fromBase64, toBase64, toHex, toUtf8, type Bytes } from './bytes.js';
import {
  openChannelKeys,
  type ChannelKeys,
  type FrameTerms,
  type StreamCipher,
} from './stream-cipher.js';

const KEY_BYTES = 32;
const SALT_BYTES = 16;
const NONCE_BYTES = 12;

/** Seals the frames of one stream, in order. */
export interface FrameSealer {
  /** Seals the next frame; frames are numbered in the order of the calls.
   * @throws INVARIANT_BROKEN — the stream's last frame was sealed before. */
  seal(bytes: Uint8Array, isLast: boolean): Promise<Frame>;
}

/** Opens the frames of one stream, in order. */
export interface FrameOpener {
  /** Opens the next frame. After an error the stream is lost: every later frame is refused.
   * @throws SEAL_BROKEN — altered, of another stream, not the next number, or after the last. */
  open(frame: Frame): Promise<Uint8Array>;
  /** True once the last frame was opened; a stream that ends before it was cut short. */
  readonly isEnded: boolean;
}

/** The sealed side of one session. Holds its keys; nothing is kept of a stream. */
export interface Channel {
  /** Starts a stream. A task that runs again starts a new one, for which readers open anew.
   * @param author - `client`, or the miner's address. */
  sealer(taskId: TaskId, author: string): Promise<FrameSealer>;
  /** Reads one stream from its frame 0.
   * @param author - who must have sealed it: `client`, or the miner's address. */
  opener(taskId: TaskId, author: string): Promise<FrameOpener>;
  /** Hashes a result so that equality shows and content does not: HMAC-SHA-256 under a key of the
   * session, plain SHA-256 at level `open`; over the canonical JSON of text and finish reason, and of
   * the calls of tools where there are some. */
  resultHash(result: AnswerBody): Promise<Hex>;
}

/** Opens a session's channel. One call a session is enough; all streams may share it.
 * @param grant - `channelKey`: 32 bytes in base64, of the keyring; `null` at level `open`, where
 *   frames are plain bytes, and only their order and end are checked.
 * @throws SEAL_BROKEN — the channel key is not 32 bytes. */
export async function openChannel(grant: {
  readonly sessionId: SessionId;
  readonly channelKey: string | null;
}): Promise<Channel> {
  const { sessionId, channelKey } = grant;
  const keys = channelKey === null ? null : await openChannelKeys(parseChannelKey(channelKey));
  let authenticate: ReturnType<ChannelKeys['hmac']> | undefined;
  return {
    async sealer(taskId, author) {
      if (keys === null) return new Sealer(null);
      const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES));
      const context = contextOf(sessionId, taskId, author);
      return new Sealer({ salt, context, cipher: await streamCipher(keys, salt, context) });
    },
    async opener(taskId, author) {
      return new Opener(keys, contextOf(sessionId, taskId, author));
    },
    async resultHash({ finishReason, text, toolCalls = [] }) {
      const calls = toolCalls.length > 0 ? { toolCalls } : {};
      const message = encodeJson({ finishReason, text, ...calls }) as Bytes;
      if (keys === null) {
        return toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', message)));
      }
      authenticate ??= keys.hmac(sessionId, 'result');
      return toHex(await (await authenticate)(message));
    },
  };
}

interface SealedStream {
  readonly salt: Bytes;
  readonly context: string;
  readonly cipher: StreamCipher;
}

class Sealer implements FrameSealer {
  readonly #stream: SealedStream | null;
  #next = 0;
  #isEnded = false;

  constructor(stream: SealedStream | null) {
    this.#stream = stream;
  }

  async seal(bytes: Uint8Array, isLast: boolean): Promise<Frame> {
    if (this.#isEnded) {
      throw new EngineError('INVARIANT_BROKEN', { invariant: 'nothing follows the last frame' });
    }
    const seq = this.#next++;
    this.#isEnded = isLast;
    if (this.#stream === null) return { seq, isLast, data: toBase64(bytes) };
    const { salt, context, cipher } = this.#stream;
    const sealed = await cipher.seal(bytes, termsOf(context, seq, isLast));
    return { seq, isLast, data: toBase64(seq === 0 ? concat(salt, sealed) : sealed) };
  }
}

class Opener implements FrameOpener {
  readonly #keys: ChannelKeys | null;
  readonly #context: string;
  #cipher: StreamCipher | Promise<StreamCipher> | undefined;
  #next = 0;
  #isBroken = false;
  #isLastSeen = false;
  isEnded = false;

  constructor(keys: ChannelKeys | null, context: string) {
    this.#keys = keys;
    this.#context = context;
  }

  async open(frame: Frame): Promise<Uint8Array> {
    const { seq, isLast } = frame;
    // Checked and counted before the first await, so calls that overlap keep their order.
    if (this.#isBroken) throw broken('an earlier frame was broken');
    if (this.#isLastSeen) throw this.#break('a frame after the last');
    if (seq !== this.#next) throw this.#break('frames out of order');
    this.#next++;
    this.#isLastSeen = isLast;
    try {
      const sealed = fromBase64(frame.data);
      const bytes = this.#keys === null ? sealed : await this.#open(this.#keys, frame, sealed);
      if (this.#isBroken) throw broken('an earlier frame was broken');
      this.isEnded = isLast;
      return bytes;
    } catch {
      throw this.#break('frame not authentic');
    }
  }

  async #open(keys: ChannelKeys, frame: Frame, sealed: Bytes): Promise<Bytes> {
    const start = frame.seq === 0 ? SALT_BYTES : 0;
    if (frame.seq === 0) {
      this.#cipher = streamCipher(keys, sealed.slice(0, start), this.#context);
    }
    if (this.#cipher === undefined) throw broken('no frame 0');
    const cipher = await this.#cipher;
    return cipher.open(sealed.subarray(start), termsOf(this.#context, frame.seq, frame.isLast));
  }

  #break(reason: string): EngineError {
    this.#isBroken = true;
    return broken(reason);
  }
}

function parseChannelKey(channelKey: string): Bytes {
  const bytes = fromBase64(channelKey);
  if (bytes.length !== KEY_BYTES) throw broken('the channel key is not 32 bytes');
  return bytes;
}

function streamCipher(keys: ChannelKeys, salt: Bytes, context: string) {
  return keys.stream(salt, `frames|${context}`);
}

/** None of the parts holds a `|`: ids are digits and hex, authors a word or an address. */
function contextOf(sessionId: SessionId, taskId: TaskId, author: string): string {
  return `${sessionId}|${taskId.toLowerCase()}|${author.toLowerCase()}`;
}

function termsOf(context: string, seq: number, isLast: boolean): FrameTerms {
  const nonce = new Uint8Array(NONCE_BYTES);
  new DataView(nonce.buffer).setBigUint64(NONCE_BYTES - 8, BigInt(seq));
  return { nonce, context: toUtf8(`${context}|${seq}|${isLast ? 'last' : 'more'}`) };
}

function concat(head: Uint8Array, tail: Uint8Array): Bytes {
  const bytes = new Uint8Array(head.length + tail.length);
  bytes.set(head);
  bytes.set(tail, head.length);
  return bytes;
}

function broken(reason: string): EngineError {
  return new EngineError('SEAL_BROKEN', { reason });
}
