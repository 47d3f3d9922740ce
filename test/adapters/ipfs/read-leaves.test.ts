/** Leaves out of a stream that may be anything: what comes out is right, or does not come out. */
import assert from 'node:assert/strict';
import test, { after } from 'node:test';
import fc from 'fast-check';
import type { CallOptions } from '../../../adapters/ipfs/block-store.js';
import { cidOf } from '../../../adapters/ipfs/cid.js';
import { openFileStream, type FileStream } from '../../../adapters/ipfs/file-stream.js';
import { readContent, readWhole } from '../../../adapters/ipfs/read-content.js';
import { readLeaves, type Leaf } from '../../../adapters/ipfs/read-leaves.js';
import { FileTree, LEAF_BYTES } from '../../../adapters/ipfs/unixfs.js';
import { EngineError } from '../../../domain/errors.js';
import type { Cid } from '../../../domain/ids.js';
import { Fixture, inChunks, pattern } from './kubo-fixture.js';

const fixture = await Fixture.create();
after(() => fixture.close());

/** A file of small leaves, and where they are. */
const file = fc
  .array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 12 })
  .map((blocks) => {
    let at = 0;
    const leaves = blocks.map((block): Leaf => {
      const leaf = { cid: cidOf(block), at, bytes: block.length };
      at += block.length;
      return leaf;
    });
    return { blocks, leaves, bytes: Buffer.concat(blocks) };
  });

const EVERYTHING = { from: 0, to: Infinity };

async function collect(reading: AsyncGenerator<Uint8Array, number>) {
  const parts: Uint8Array[] = [];
  for (;;) {
    const { done, value } = await reading.next();
    if (done) return { bytes: Buffer.concat(parts), whole: value };
    parts.push(value);
  }
}

test('leaves come out of any cutting of their stream, and any range of them', async () => {
  const cut = fc.integer({ min: 1, max: 100 });
  await fc.assert(
    fc.asyncProperty(file, cut, fc.nat(500), fc.nat(500), async (whole, size, from, to) => {
      const { leaves, bytes } = whole;
      const read = await collect(readLeaves(inChunks(bytes, size), leaves, { from, to }));
      assert.equal(read.whole, leaves.length);
      assert.ok(read.bytes.equals(bytes.subarray(from, to)));
    }),
  );
});

test('a stream that is altered, cut, reordered, doubled or broken gives out what is right before it', async () => {
  const damage = fc.oneof(
    fc.record({ how: fc.constantFrom('flip', 'cut', 'break', 'drop', 'double', 'extend') }),
    fc.record({ how: fc.constant('swap') }),
  );
  const trial = fc.tuple(file, damage, fc.nat(), fc.integer({ min: 1, max: 100 }));
  await fc.assert(
    fc.asyncProperty(trial, async ([{ blocks, leaves, bytes }, { how }, where, size]) => {
      const at = where % bytes.length;
      const block = where % blocks.length;
      const other = (block + 1) % blocks.length;
      let stream = Buffer.from(bytes);
      if (how === 'flip') stream.writeUInt8(stream.readUInt8(at) ^ (1 << (where % 8)), at);
      if (how === 'cut' || how === 'break') stream = stream.subarray(0, at);
      if (how === 'drop') stream = Buffer.concat(blocks.toSpliced(block, 1));
      if (how === 'double')
        stream = Buffer.concat(blocks.toSpliced(block, 0, blocks[block] ?? bytes));
      if (how === 'extend') stream = Buffer.concat([stream, Uint8Array.of(0)]);
      if (how === 'swap') {
        const swapped = [...blocks];
        [swapped[block], swapped[other]] = [blocks[other] ?? bytes, blocks[block] ?? bytes];
        stream = Buffer.concat(swapped);
      }
      async function* parts(): AsyncGenerator<Uint8Array> {
        yield* inChunks(stream, size);
        if (how === 'break') throw new Error('the connection broke');
      }
      const read = await collect(readLeaves(parts(), leaves, EVERYTHING));
      // As many as are there before the first byte that is another.
      const first = [...bytes].findIndex((byte, i) => stream[i] !== byte);
      const right = leaves.filter((leaf) => first < 0 || leaf.at + leaf.bytes <= first).length;
      assert.equal(read.whole, right);
      const end = leaves[right]?.at ?? bytes.length;
      assert.ok(read.bytes.equals(bytes.subarray(0, end)));
    }),
    { numRuns: 500 },
  );
});

// --- a whole file -------------------------------------------------------------------------------

const CONTENT = pattern(3 * LEAF_BYTES + 99, 5);
const blocks = new Map<Cid, Uint8Array>();
const tree = new FileTree((node, cid) => blocks.set(cid, node));
for (let at = 0; at < CONTENT.length; at += LEAF_BYTES) {
  const leaf = CONTENT.subarray(at, at + LEAF_BYTES);
  blocks.set(tree.addLeaf(leaf), leaf);
}
const { cid: ROOT } = tree.finish();
const LIMITS = { maxBytes: CONTENT.length };

/** Blocks as a store gives them out; tells which were asked for. */
function storeOf(held: ReadonlyMap<Cid, Uint8Array>) {
  const asked: Cid[] = [];
  return {
    asked,
    async get(cid: Cid, { signal }: CallOptions = {}): Promise<Uint8Array> {
      signal?.throwIfAborted();
      asked.push(cid);
      const block = held.get(cid);
      if (block === undefined) throw new EngineError('CONTENT_MISSING', { cid });
      return block;
    },
  };
}

const honest: FileStream = (_, { from, to }) => inChunks(CONTENT.subarray(from, to));

test('leaves in a stream are not asked for again, and a range asks for no more than its leaves', async () => {
  const store = storeOf(blocks);
  const ranges: [number, number][] = [];
  const stream: FileStream = (cid, range) => {
    ranges.push([range.from, range.to]);
    return honest(cid, range);
  };
  const [from, to] = [LEAF_BYTES + 5, 2 * LEAF_BYTES + 6];
  const read = await readWhole({ get: store.get, stream }, ROOT, { ...LIMITS, from, to });
  assert.ok(Buffer.from(read).equals(CONTENT.subarray(from, to)));
  assert.deepEqual(store.asked, [ROOT]);
  assert.deepEqual(ranges, [[LEAF_BYTES, 3 * LEAF_BYTES]]);
});

test('where a stream goes wrong the blocks are read one by one, and say what is wrong', async () => {
  const stream: FileStream = (_, { from, to }) => {
    const altered = Buffer.from(CONTENT);
    altered[LEAF_BYTES + 1] = (altered[LEAF_BYTES + 1] ?? 0) ^ 1;
    return inChunks(altered.subarray(from, to));
  };
  const store = storeOf(blocks);
  const read = await readWhole({ get: store.get, stream }, ROOT, LIMITS);
  assert.ok(Buffer.from(read).equals(CONTENT));
  assert.equal(store.asked.length, 4, 'the root, and all leaves but the first');
  const [, second = ''] = [...blocks.keys()];
  const lossy = storeOf(new Map([...blocks].filter(([cid]) => cid !== second)));
  await assert.rejects(readWhole({ get: lossy.get, stream }, ROOT, LIMITS), {
    code: 'CONTENT_MISSING',
    details: { cid: second },
  });
});

test('a server that refuses, hangs or breaks off a stream only costs time', async () => {
  let requests = 0;
  const apiUrl = await fixture.server((request, response) => {
    request.resume();
    requests++;
    if (requests === 1) return void response.writeHead(500).end('no');
    if (requests === 2) return;
    response.writeHead(200, { 'content-length': CONTENT.length });
    response.write(CONTENT.subarray(0, LEAF_BYTES + 7));
    if (requests === 3) response.on('drain', () => response.destroy());
  });
  const down = openFileStream('http://127.0.0.1:1');
  const stream = openFileStream(apiUrl);
  for (const way of [down, stream, stream, stream, stream]) {
    const { get } = storeOf(blocks);
    const read = await readWhole({ get, stream: way }, ROOT, LIMITS);
    assert.ok(Buffer.from(read).equals(CONTENT));
  }
  assert.equal(requests, 4);
});

test('who leaves a stream early, or is told to, leaves no connection behind', async () => {
  const closed: Promise<unknown>[] = [];
  const apiUrl = await fixture.server((request, response) => {
    request.resume();
    closed.push(new Promise((resolve) => response.once('close', resolve)));
    response.write(CONTENT.subarray(0, 2 * LEAF_BYTES));
  });
  const { get } = storeOf(blocks);
  const source = { get, stream: openFileStream(apiUrl) };
  for await (const part of readContent(source, ROOT, LIMITS)) {
    assert.ok(part.length > 0);
    break;
  }
  const reason = new Error('had enough');
  const stop = new AbortController();
  await assert.rejects(async () => {
    let read = 0;
    for await (const part of readContent(source, ROOT, { ...LIMITS, signal: stop.signal })) {
      read += part.length;
      if (read >= 2 * LEAF_BYTES) stop.abort(reason);
    }
  }, reason);
  assert.equal(closed.length, 2);
  await Promise.all(closed);
});
