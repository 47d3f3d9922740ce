/**
 * Age files of any size, in memory of a few chunks: age seals 64 KiB at a time, each with its number
 * and whether it is the last, so what is altered, swapped or cut short is an error and never data.
 * Node only.
 * @see https://c2sp.org/age
 */
import * as nodeCrypto from 'node:crypto';
import { EngineError } from '../../domain/errors.js';
import { headerEnd, writeHeader } from './age-header.js';
import { CHUNK_BYTES, chunkOpener, chunkSealer, SALT_BYTES, TAG_BYTES } from './age-payload.js';
import { decrypterFor, encrypterFor, openFailure } from './at-rest.js';

/** Longest header that is read, in bytes: of several hundred readers. */
const MAX_HEADER_BYTES = 1024 * 1024;

/** Seals a stream as an age file that each of the recipients opens alone.
 * @throws REQUEST_INVALID — no recipient, or a text that is none; or what `source` throws. */
export async function* sealStream(
  source: AsyncIterable<Uint8Array>,
  recipients: readonly string[],
): AsyncGenerator<Uint8Array> {
  const { head, fileKey } = await writeHeader(encrypterFor(recipients));
  const salt = nodeCrypto.randomBytes(SALT_BYTES);
  const seal = chunkSealer(fileKey, salt, nodeCrypto);
  const input = new Input(source);
  let start: Uint8Array = Buffer.concat([head, salt]);
  try {
    for (let isLast = false; !isLast;) {
      const chunk = await input.take(CHUNK_BYTES);
      isLast = await input.isEnded();
      const sealed = Buffer.allocUnsafe(start.length + chunk.length + TAG_BYTES);
      sealed.set(start);
      seal(chunk, isLast, sealed.subarray(start.length));
      start = new Uint8Array();
      yield sealed;
    }
  } finally {
    await input.close();
  }
}

/** Opens an age file as it comes. What was given out before an error was authentic, and not all: who
 * needs the whole must wait for the end.
 * @param identity - as `openAtRest` takes it.
 * @throws as `openAtRest`, or what `source` throws. */
export async function* openStream(
  source: AsyncIterable<Uint8Array>,
  identity: string,
): AsyncGenerator<Uint8Array> {
  const decrypter = decrypterFor(identity);
  const input = new Input(source);
  try {
    const header = await input.takeHeader();
    // Errors of the source are its own; those of what came out of it say what is wrong with the file.
    const fileKey = await opened(() => decrypter.decryptHeader(header));
    const salt = await input.take(SALT_BYTES);
    const open = chunkOpener(fileKey, salt, nodeCrypto);
    for (let isLast = false; !isLast;) {
      const chunk = await input.take(CHUNK_BYTES + TAG_BYTES);
      isLast = await input.isEnded();
      const plain = Buffer.allocUnsafe(Math.max(0, chunk.length - TAG_BYTES));
      await opened(() => open(chunk, isLast, plain));
      yield plain;
    }
  } finally {
    await input.close();
  }
}

async function opened<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw openFailure(cause);
  }
}

/** A stream, by as many bytes as are wanted. */
class Input {
  readonly #source: AsyncIterator<Uint8Array>;
  /** What has come and was not taken yet. */
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #hasEnded = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Takes so many bytes; fewer where the stream ends before. */
  async take(bytes: number): Promise<Uint8Array> {
    while (this.#bytes < bytes && (await this.#pull()));
    return this.#cut(Math.min(bytes, this.#bytes));
  }

  /** Takes the header of an age file. @throws SEAL_BROKEN — there is none. */
  async takeHeader(): Promise<Uint8Array> {
    for (let looked = 0; looked <= MAX_HEADER_BYTES; looked = this.#bytes) {
      const end = headerEnd(this.#joined());
      if (end !== null) return this.#cut(end);
      if (!(await this.#pull())) break;
    }
    throw new EngineError('SEAL_BROKEN', { reason: 'no age file' });
  }

  /** True when all of the stream was taken. */
  async isEnded(): Promise<boolean> {
    return this.#bytes === 0 && !(await this.#pull());
  }

  /** Lets go of the source. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  /** @returns false at the end of the stream. */
  async #pull(): Promise<boolean> {
    while (!this.#hasEnded) {
      const { done, value } = await this.#source.next();
      if (done === true) this.#hasEnded = true;
      else if (value.length > 0) {
        this.#parts.push(value);
        this.#bytes += value.length;
        return true;
      }
    }
    return false;
  }

  #joined(): Uint8Array {
    const [only, ...more] = this.#parts;
    const joined = more.length === 0 && only !== undefined ? only : Buffer.concat(this.#parts);
    this.#parts = [joined];
    return joined;
  }

  #cut(bytes: number): Uint8Array {
    const joined = this.#joined();
    this.#parts = [joined.subarray(bytes)];
    this.#bytes -= bytes;
    return joined.subarray(0, bytes);
  }
}
