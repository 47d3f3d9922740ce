import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { openAtRest, sealAtRest } from '../../../adapters/seal/at-rest.js';
import { createIdentity } from '../../../adapters/seal/identity.js';
import { openStream, sealStream } from '../../../adapters/seal/sealed-stream.js';
import { heldBytes } from '../../support/collect.js';

const MIB = 1024 * 1024;

const CHUNK = 64 * 1024;
const reader = await createIdentity({ postQuantum: true });
const stranger = await createIdentity({ postQuantum: true });

async function* parts(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function whole(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const read: Uint8Array[] = [];
  for await (const part of source) read.push(part);
  return Buffer.concat(read);
}

const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i % 251);

test('a stream is the same age file, however it is cut into parts', async () => {
  const sizes = fc.constantFrom(0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7);
  await fc.assert(
    fc.asyncProperty(sizes, fc.integer({ min: 1_000, max: 2 * CHUNK }), async (length, size) => {
      const bytes = bytesOf(length);
      const sealed = await whole(sealStream(parts(bytes, size), [reader.recipient]));
      assert.ok(Buffer.from(await openAtRest(sealed, reader.identity)).equals(bytes));
      const file = await sealAtRest(bytes, [reader.recipient]);
      assert.ok((await whole(openStream(parts(file, size), reader.identity))).equals(bytes));
    }),
    { numRuns: 25 },
  );
});

test('every chunk altered, left out, swapped or cut short ends in an error', async () => {
  const bytes = bytesOf(4 * CHUNK);
  const sealed = await sealAtRest(bytes, [reader.recipient]);
  const body = sealed.length - 4 * (CHUNK + 16);
  const chunk = (n: number) =>
    sealed.subarray(body + n * (CHUNK + 16), body + (n + 1) * (CHUNK + 16));
  const head = sealed.subarray(0, body);
  const all = [0, 1, 2, 3].map(chunk);
  const [a, b, c, d] = all as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  const bad = [
    [head, b, a, c, d],
    [head, a, b, d],
    [head, a, b, c],
    [head, a, b, c, d, d],
    [head, a, b, c, d.subarray(0, 100)],
    [head],
    ...all.map((_, i) => [
      head,
      ...all.map((one, n) => (n === i ? one.with(9, (one[9] ?? 0) ^ 1) : one)),
    ]),
  ];
  for (const file of bad) {
    const opening = whole(openStream(parts(Buffer.concat(file), 50_000), reader.identity));
    await assert.rejects(opening, { code: 'SEAL_BROKEN' });
  }
});

test('a stranger gets nothing, and what is no age file is said to be none', async () => {
  const sealed = await sealAtRest(bytesOf(10), [reader.recipient]);
  const strange = whole(openStream(parts(sealed, 100), stranger.identity));
  await assert.rejects(strange, { code: 'SEAL_NOT_RECIPIENT' });
  const other = whole(openStream(parts(bytesOf(500), 100), reader.identity));
  await assert.rejects(other, { code: 'SEAL_BROKEN' });
  await assert.rejects(whole(sealStream(parts(bytesOf(5), 1), [])), { code: 'REQUEST_INVALID' });
});

test('what breaks the source comes out as it is, and a reader that stops lets it go', async () => {
  const broken = new Error('the disk is gone');
  let isLetGo = false;
  async function* source(isBroken: boolean): AsyncGenerator<Uint8Array> {
    try {
      for (let i = 0; i < 100; i++) {
        if (isBroken && i === 5) throw broken;
        yield bytesOf(CHUNK);
      }
    } finally {
      isLetGo = true;
    }
  }
  await assert.rejects(whole(sealStream(source(true), [reader.recipient])), broken);
  isLetGo = false;
  for await (const part of sealStream(source(false), [reader.recipient])) {
    if (part.length > 0) break;
  }
  assert.ok(isLetGo);
});

test('a stream of 64 MiB passes through a few chunks of memory', async () => {
  async function* large(): AsyncGenerator<Uint8Array> {
    const part = bytesOf(MIB);
    for (let i = 0; i < 64; i++) yield part;
  }
  const before = await heldBytes();
  let [length, looked, peak] = [0, 0, 0];
  const sealed = sealStream(large(), [reader.recipient]);
  for await (const part of openStream(sealed, reader.identity)) {
    length += part.length;
    if (length - looked < 4 * MIB) continue;
    looked = length;
    peak = Math.max(peak, (await heldBytes()) - before);
  }
  assert.equal(length, 64 * MIB);
  assert.ok(peak < 8 * MIB, `${peak} bytes`);
});
