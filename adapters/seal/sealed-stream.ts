/**
 * Age files of any size, in memory of a few chunks: age seals 64 KiB at a time, each with its number
 * and whether it is the last, so what is altered, swapped or cut short is an error and never data.
 * @see https://c2sp.org/age
 */
import { decrypterFor, encrypterFor, openFailure } from './at-rest.js';

/** Seals a stream as an age file that each of the recipients opens alone.
 * @throws REQUEST_INVALID — no recipient, or a text that is none; or what `source` throws. */
export async function* sealStream(
  source: AsyncIterable<Uint8Array>,
  recipients: readonly string[],
): AsyncGenerator<Uint8Array> {
  const encrypter = encrypterFor(recipients);
  yield* through(source, (plain) => encrypter.encrypt(plain));
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
  yield* through(source, (sealed) => decrypter.decrypt(sealed), openFailure);
}

/** Takes a source through what the library makes of a web stream. Errors of the source itself come
 * out as they are; when the reader has had enough, the source is let go. */
async function* through(
  source: AsyncIterable<Uint8Array>,
  transform: (stream: ReadableStream<Uint8Array>) => Promise<ReadableStream<Uint8Array>>,
  translate: (error: unknown) => Error = toError,
): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  let broken: { readonly error: unknown } | null = null;
  const input = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await iterator.next();
          if (done === true) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          broken = { error };
          controller.error(error);
        }
      },
    },
    { highWaterMark: 0 },
  );
  try {
    const reader = (await transform(input)).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    throw broken === null ? translate(error) : toError((broken as { error: unknown }).error);
  } finally {
    await iterator.return?.();
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error('the source broke', { cause: error });
}
