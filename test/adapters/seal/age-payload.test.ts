/** Payloads that Node's cipher seals and opens, beside the age library, which does so in JavaScript. */
import assert from 'node:assert/strict';
import * as nodeCrypto from 'node:crypto';
import test from 'node:test';
import { Decrypter, Encrypter } from 'age-encryption';
import fc from 'fast-check';
import { writeHeader } from '../../../adapters/seal/age-header.js';
import {
  CHUNK_BYTES,
  chunkSealer,
  SALT_BYTES,
  TAG_BYTES,
} from '../../../adapters/seal/age-payload.js';
import { encrypterFor, openAtRest, sealAtRest } from '../../../adapters/seal/at-rest.js';
import { createIdentity } from '../../../adapters/seal/identity.js';
import { openStream, sealStream } from '../../../adapters/seal/sealed-stream.js';

const SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 150_007];
const reader = await createIdentity({ postQuantum: true });
const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i % 251);

async function* parts(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function whole(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const read: Uint8Array[] = [];
  for await (const part of source) read.push(part);
  return Buffer.concat(read);
}

test('the age library opens what was sealed here for a hybrid recipient, whole or in a stream', async () => {
  const library = new Decrypter();
  library.addIdentity(reader.identity);
  for (const size of SIZES) {
    const plain = bytesOf(size);
    for (const file of [
      await sealAtRest(plain, [reader.recipient]),
      await whole(sealStream(parts(plain, 40_000), [reader.recipient])),
    ]) {
      assert.ok(Buffer.from(await library.decrypt(file)).equals(plain), String(size));
    }
  }
});

test('what the age library has sealed opens here, whole or cut into any parts', async () => {
  const library = new Encrypter();
  library.addRecipient(reader.recipient);
  const files = await Promise.all(SIZES.map((size) => library.encrypt(bytesOf(size))));
  for (const [i, file] of files.entries()) {
    const opened = await openAtRest(file, reader.identity);
    assert.ok(Buffer.from(opened).equals(bytesOf(SIZES[i] ?? 0)));
  }
  const which = fc.nat({ max: files.length - 1 });
  await fc.assert(
    fc.asyncProperty(which, fc.integer({ min: 200, max: 200_000 }), async (i, size) => {
      const file = files[i] ?? new Uint8Array();
      const opened = await whole(openStream(parts(file, size), reader.identity));
      assert.ok(opened.equals(bytesOf(SIZES[i] ?? 0)));
    }),
    { numRuns: 30 },
  );
});

test('a header comes to its end whatever falls between its bytes', async () => {
  const plain = bytesOf(10);
  const file = await sealAtRest(plain, [reader.recipient]);
  assert.ok((await whole(openStream(parts(file, 1), reader.identity))).equals(plain));
});

test('a last chunk that is empty, though others came before it, is an error', async () => {
  const { head, fileKey } = await writeHeader(encrypterFor([reader.recipient]));
  const salt = nodeCrypto.randomBytes(SALT_BYTES);
  const seal = chunkSealer(fileKey, salt, nodeCrypto);
  const chunks = [Buffer.alloc(CHUNK_BYTES + TAG_BYTES), Buffer.alloc(TAG_BYTES)] as const;
  seal(bytesOf(CHUNK_BYTES), false, chunks[0]);
  seal(new Uint8Array(), true, chunks[1]);
  const file = Buffer.concat([head, salt, ...chunks]);
  await assert.rejects(openAtRest(file, reader.identity), { code: 'SEAL_BROKEN' });
  const stream = whole(openStream(parts(file, 9_000), reader.identity));
  await assert.rejects(stream, { code: 'SEAL_BROKEN' });
});

test('chunks of a file at rest that are altered, left out, swapped or cut short are an error', async () => {
  const file = await sealAtRest(bytesOf(3 * CHUNK_BYTES), [reader.recipient]);
  const sealed = CHUNK_BYTES + TAG_BYTES;
  const start = file.length - 3 * sealed;
  const [a, b, c] = [0, 1, 2].map((i) =>
    file.subarray(start + i * sealed, start + (i + 1) * sealed),
  ) as [Uint8Array, Uint8Array, Uint8Array];
  const flipped = (chunk: Uint8Array) => chunk.with(70, (chunk[70] ?? 0) ^ 1);
  const bad = [
    [],
    [a, b],
    [a, c],
    [b, a, c],
    [a, b, c, c],
    [a, b, c.subarray(0, -1)],
    [a, b, c.subarray(0, 10)],
    [flipped(a), b, c],
    [a, flipped(b), c],
    [a, b, flipped(c)],
  ];
  for (const [i, chunks] of bad.entries()) {
    const altered = Buffer.concat([file.subarray(0, start), ...chunks]);
    await assert.rejects(openAtRest(altered, reader.identity), { code: 'SEAL_BROKEN' }, String(i));
  }
});

test('a header without an end is given up, and no more of it is read', async () => {
  let read = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    const line = Buffer.from('age-encryption.org/v1\n'.repeat(5_000));
    for (; read < 100_000_000; read += line.length) yield line;
  }
  await assert.rejects(whole(openStream(endless(), reader.identity)), { code: 'SEAL_BROKEN' });
  assert.ok(read < 2_000_000, `${read} bytes`);
});
