import assert from 'node:assert/strict';
import test, { after } from 'node:test';
import fc from 'fast-check';
import { openBlockStore } from '../../../adapters/ipfs/block-store.js';
import { cidOf, codecOf } from '../../../adapters/ipfs/cid.js';
import { addContent, leavesOf } from '../../../adapters/ipfs/content-store.js';
import { linksOf } from '../../../adapters/ipfs/links.js';
import { readContent, readWhole, type ContentSource } from '../../../adapters/ipfs/read-content.js';
import { openFileStream } from '../../../adapters/ipfs/file-stream.js';
import { FileTree, LEAF_BYTES, NODE_LINKS } from '../../../adapters/ipfs/unixfs.js';
import { EngineError } from '../../../domain/errors.js';
import type { Cid } from '../../../domain/ids.js';
import { heldBytes } from '../../support/collect.js';
import { api, blocksOf, Fixture, inChunks, pattern, stockAdd } from './kubo-fixture.js';

const fixture = await Fixture.create();
after(() => fixture.close());
const kubo = await fixture.kubo('kubo');
const config = { apiUrl: kubo.apiUrl, timeoutMs: 10_000 };
const store = openBlockStore(config);
/** Block by block, and in streams where there are several leaves. */
const SOURCES: readonly ContentSource[] = [
  store,
  { get: store.get, stream: openFileStream(kubo.apiUrl) },
];
const MIB = 1024 * 1024;
/** CI streams so much; more by hand. */
const STREAM_MIB = Number(process.env['CORTENSOR_STREAM_MIB'] ?? 64);
/** Trials of each property over damaged results. */
const TRIALS = Number(process.env['CORTENSOR_TAMPER_TRIALS'] ?? 40);

test('content of every shape reads back, under the CID that stock Kubo gives it', async () => {
  const profile = {
    'cid-version': '1',
    'raw-leaves': 'true',
    chunker: `size-${LEAF_BYTES}`,
    'max-file-links': String(NODE_LINKS),
    'only-hash': 'true',
  };
  for (const length of [0, 1, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, 3 * LEAF_BYTES + 7]) {
    const bytes = pattern(length);
    const { cid, bytes: counted } = await addContent(config, inChunks(bytes), { maxBytes: length });
    assert.equal(counted, length);
    assert.equal(cid, await stockAdd(kubo, bytes, profile));
    for (const source of SOURCES) {
      const read = await readWhole(source, cid, { maxBytes: length });
      assert.ok(Buffer.from(read).equals(bytes));
    }
  }
});

test('a file of one block has the CID of its bytes, as every document has', async () => {
  const bytes = pattern(1_000);
  const { cid } = await addContent(config, inChunks(bytes), { maxBytes: 1_000 });
  assert.equal(cid, cidOf(bytes));
});

test('trees of several rows are the ones that Kubo builds', async () => {
  // Leaves of one byte, so that a few thousand of them make three rows.
  for (const length of [2, NODE_LINKS, NODE_LINKS + 1, 2 * NODE_LINKS, 2 * NODE_LINKS + 1]) {
    const bytes = pattern(length);
    const nodes = new Map<Cid, Uint8Array>();
    const tree = new FileTree((node, cid) => nodes.set(cid, node));
    for (const byte of bytes) tree.addLeaf(Uint8Array.of(byte));
    const root = tree.finish();
    const options = { 'cid-version': '1', 'raw-leaves': 'true', chunker: 'size-1' };
    const links = { 'max-file-links': String(NODE_LINKS) };
    assert.equal(root.cid, await stockAdd(kubo, bytes, { ...options, ...links }));
    assert.equal(root.bytes, length);
    for (const source of SOURCES) {
      const read = await readWhole(source, root.cid, { maxBytes: length });
      assert.ok(Buffer.from(read).equals(bytes));
    }
    for (const [cid, node] of nodes) assert.equal(cid, cidOf(node, 'dag-pb'));
  }
});

test('files that stock clients have written in other ways read back too', async () => {
  const bytes = pattern(700_001);
  const ways = [
    { 'cid-version': '1', 'raw-leaves': 'false', chunker: 'size-1000' },
    { 'cid-version': '1', trickle: 'true', chunker: 'size-1000', 'raw-leaves': 'false' },
    { 'cid-version': '1', chunker: 'rabin' },
    { 'cid-version': '1', trickle: 'true', chunker: 'size-1000', 'raw-leaves': 'true' },
    { 'cid-version': '1', 'raw-leaves': 'false', chunker: 'size-1000000' },
  ];
  for (const way of ways) {
    const cid = await stockAdd(kubo, bytes, way);
    for (const source of SOURCES) {
      assert.ok(Buffer.from(await readWhole(source, cid, { maxBytes: 700_001 })).equals(bytes));
    }
  }
});

test('any range of a file reads as the same range of its bytes', async () => {
  const bytes = pattern(3 * LEAF_BYTES + 99);
  const { cid } = await addContent(config, inChunks(bytes), { maxBytes: bytes.length });
  const place = fc.integer({ min: 0, max: bytes.length + 10 });
  await fc.assert(
    fc.asyncProperty(place, place, fc.constantFrom(...SOURCES), async (from, to, source) => {
      const read = await readWhole(source, cid, { maxBytes: bytes.length, from, to });
      assert.ok(Buffer.from(read).equals(bytes.subarray(from, to)));
    }),
    { numRuns: 30, examples: SOURCES.map((source) => [LEAF_BYTES, 3 * LEAF_BYTES, source]) },
  );
});

test(`${STREAM_MIB} MiB stream in and out without being held in memory`, async () => {
  const leaf = pattern(MIB);
  async function* source(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < STREAM_MIB; i++) {
      leaf[0] = i % 256;
      leaf[1] = i >> 8;
      yield leaf;
    }
  }
  let peak = 0;
  const before = await heldBytes();
  const { cid, bytes } = await addContent(config, source(), { maxBytes: STREAM_MIB * MIB });
  assert.equal(bytes, STREAM_MIB * MIB);
  for (const source of SOURCES) {
    let read = 0;
    for await (const part of readContent(source, cid, { maxBytes: bytes })) {
      if (read % MIB === 0) assert.equal((part[0] ?? 0) + 256 * (part[1] ?? 0), read / MIB);
      read += part.length;
      if (read % (4 * MIB) === 0) peak = Math.max(peak, (await heldBytes()) - before);
    }
    assert.equal(read, bytes);
  }
  assert.ok(peak > 0 && peak < 24 * MIB, `held ${Math.round(peak / MIB)} MiB`);
});

test('an upload of 5 GB stops at its limit, and nothing of it is pinned or stays', async () => {
  await api(kubo, 'repo/gc');
  const [pins, blocks] = [await api(kubo, 'pin/ls'), (await blocksOf(kubo)).sort()];
  let sent = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (; sent < 5_000_000_000; sent += MIB) yield pattern(MIB, sent + 7);
  }
  const upload = addContent(config, endless(), { maxBytes: 8 * MIB });
  await assert.rejects(upload, { code: 'CONTENT_TOO_LARGE' });
  assert.ok(sent <= 9 * MIB, `${sent} bytes were taken`);
  assert.equal(await api(kubo, 'pin/ls'), pins);
  await api(kubo, 'repo/gc');
  assert.deepEqual((await blocksOf(kubo)).sort(), blocks);
});

test('content longer than the reader allows is refused before its first byte', async () => {
  const { cid } = await addContent(config, inChunks(pattern(2 * MIB)), { maxBytes: 2 * MIB });
  const parts = readContent(store, cid, { maxBytes: 2 * MIB - 1 });
  await assert.rejects(parts.next(), { code: 'CONTENT_TOO_LARGE' });
});

test('a source that breaks, and a caller that gives up, leave nothing pinned', async () => {
  const pins = await api(kubo, 'pin/ls');
  const broken = new Error('the source broke');
  async function* breaking(): AsyncGenerator<Uint8Array> {
    yield pattern(2 * MIB, 11);
    throw broken;
  }
  await assert.rejects(addContent(config, breaking(), { maxBytes: 5 * MIB }), broken);
  const controller = new AbortController();
  async function* leaving(): AsyncGenerator<Uint8Array> {
    yield pattern(2 * MIB, 12);
    controller.abort(broken);
    yield pattern(2 * MIB, 13);
  }
  const { signal } = controller;
  await assert.rejects(addContent(config, leaving(), { maxBytes: 5 * MIB, signal }), broken);
  assert.equal(await api(kubo, 'pin/ls'), pins);
});

test('a Kubo that hangs, is down, fails or lies acknowledges nothing', async () => {
  const once = () => inChunks(pattern(2 * MIB, 21));
  const limits = { maxBytes: 2 * MIB };
  const down = { apiUrl: 'http://127.0.0.1:1', timeoutMs: 1_000 };
  await assert.rejects(addContent(down, once(), limits), { code: 'IPFS_UNREACHABLE' });
  const hanging = { apiUrl: await fixture.server(() => {}), timeoutMs: 300 };
  await assert.rejects(addContent(hanging, once(), limits), { code: 'IPFS_UNREACHABLE' });
  const full = await fixture.server((request, response) => {
    request.resume();
    response.writeHead(500).end('{"Message":"no space left on device"}');
  });
  const fails = { apiUrl: full, timeoutMs: 1_000 };
  await assert.rejects(addContent(fails, once(), limits), { code: 'IPFS_UNREACHABLE' });
  const lying = await fixture.server((request, response) => {
    request
      .resume()
      .on('end', () => response.end(JSON.stringify({ Hash: cidOf(new Uint8Array()) })));
  });
  const lies = { apiUrl: lying, timeoutMs: 5_000 };
  await assert.rejects(addContent(lies, once(), limits), { code: 'CONTENT_MISMATCH' });
});

// --- altered, truncated, swapped ----------------------------------------------------------------

const DAMAGE = ['flip', 'cut', 'extend', 'swap'] as const;
const DAMAGE_FOUND =
  /CONTENT_MISMATCH|CONTENT_TOO_LARGE|do not match their CID|larger than allowed/;

/** A result of several blocks as Kubo answers it: all bytes are looked at again by the real store. */
interface Stored {
  readonly root: Cid;
  readonly bytes: Uint8Array;
  readonly cids: readonly Cid[];
  readonly blocks: Map<Cid, Uint8Array>;
}

async function storeResult(): Promise<Stored> {
  const bytes = pattern(5 * LEAF_BYTES + 321, 33);
  const { cid: root } = await addContent(config, inChunks(bytes), { maxBytes: bytes.length });
  const blocks = new Map<Cid, Uint8Array>();
  for (const cid of [root, ...linksOf(root, await store.get(root))]) {
    blocks.set(cid, await store.get(cid));
  }
  return { root, bytes, cids: [...blocks.keys()], blocks };
}

/** The engine's own ways to read, in front of a Kubo that answers from `blocks`: one by one, and the
 * leaves strung together as they are. */
async function storeOver(blocks: ReadonlyMap<Cid, Uint8Array>): Promise<ContentSource> {
  const apiUrl = await fixture.server((request, response) => {
    const { pathname, searchParams: query } = new URL(request.url ?? '', 'http://kubo');
    request.resume();
    const block = blocks.get(query.get('arg') ?? '');
    if (pathname !== '/api/v0/cat') return void response.end(block);
    const leaves = [...blocks].filter(([cid]) => codecOf(cid) === 'raw').map(([, leaf]) => leaf);
    const from = Number(query.get('offset'));
    const to = from + Number(query.get('length'));
    response.end(Buffer.concat(leaves).subarray(from, to));
  });
  const { get } = openBlockStore({ apiUrl, timeoutMs: 10_000 });
  return { get, stream: openFileStream(apiUrl) };
}

test('a result of which any block is altered, cut short or swapped is an error, and never such data', async () => {
  const { root, bytes, cids, blocks } = await storeResult();
  const broken = new Map(blocks);
  const liar = await storeOver(broken);
  const ways: readonly ContentSource[] = [{ get: liar.get }, liar];
  const damage = fc.record({
    how: fc.constantFrom(...DAMAGE),
    index: fc.nat({ max: cids.length - 1 }),
    bit: fc.nat(),
    way: fc.constantFrom(...ways),
  });
  const each = cids.flatMap((_, index) =>
    DAMAGE.flatMap((how) =>
      ways.map((way): [typeof damage extends fc.Arbitrary<infer T> ? T : never] => [
        { how, index, bit: 0, way },
      ]),
    ),
  );
  await fc.assert(
    fc.asyncProperty(damage, async ({ how, index: at, bit, way }) => {
      const cid = cids[at] ?? root;
      const other = cids[(at + 1 + (bit % (cids.length - 1))) % cids.length] ?? root;
      const whole = blocks.get(cid) ?? new Uint8Array();
      broken.set(cid, damaged(how, whole, bit, blocks.get(other) ?? whole));
      let read = 0;
      const reading = async (): Promise<void> => {
        for await (const part of readContent(way, root, { maxBytes: bytes.length })) {
          // What comes before the damage is right, byte for byte.
          assert.ok(Buffer.from(part).equals(bytes.subarray(read, read + part.length)));
          read += part.length;
        }
      };
      const error: unknown = await reading().then(
        () => null,
        (reason: unknown) => reason,
      );
      if (error === null) {
        // By stream, what is too much in a leaf only shifts the next; that one is read alone.
        assert.ok(way === liar && how === 'extend' && at > 0);
        assert.equal(read, bytes.length);
      } else {
        assert.ok(error instanceof Error);
        assert.match(error.message, DAMAGE_FOUND);
        assert.ok(read < bytes.length);
      }
      broken.set(cid, whole);
    }),
    { numRuns: TRIALS + each.length, examples: each },
  );
  assert.ok(Buffer.from(await readWhole(liar, root, { maxBytes: bytes.length })).equals(bytes));
});

test('a tree whose hashes hold but whose sizes or order do not is an error', async () => {
  const blocks = new Map<Cid, Uint8Array>();
  const tree = new FileTree((node, cid) => blocks.set(cid, node));
  for await (const leaf of leavesOf(inChunks(pattern(3 * LEAF_BYTES)), Infinity)) {
    blocks.set(tree.addLeaf(leaf), leaf);
  }
  const root = tree.finish();
  const node = Buffer.from(blocks.get(root.cid) ?? []);
  const sizeOf = (size: number) =>
    Uint8Array.of(0x20, (size & 127) | 128, ((size >> 7) & 127) | 128, size >> 14);
  const at = node.indexOf(Buffer.concat([sizeOf(LEAF_BYTES), sizeOf(LEAF_BYTES)]));
  assert.ok(at > 0);
  // One size that does not add up, and two that do.
  const forgeries = [
    [LEAF_BYTES - 1, LEAF_BYTES],
    [LEAF_BYTES - 1, LEAF_BYTES + 1],
    [LEAF_BYTES + 1, LEAF_BYTES - 1],
  ];
  for (const [first = 0, second = 0] of forgeries) {
    const forged = Buffer.from(node);
    forged.set(Buffer.concat([sizeOf(first), sizeOf(second)]), at);
    const cid = cidOf(forged, 'dag-pb');
    const forgery = await storeOver(new Map([...blocks, [cid, forged]]));
    await assert.rejects(readWhole(forgery, cid, { maxBytes: 4 * LEAF_BYTES }), {
      code: 'CONTENT_MISMATCH',
    });
  }
});

test('bytes of any kind under the CID of a node are an error of ours and never a crash', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), async (bytes) => {
      const cid = cidOf(bytes, 'dag-pb');
      assert.equal(codecOf(cid), 'dag-pb');
      const only = { get: async () => bytes };
      const read = readWhole(only, cid, { maxBytes: 100 });
      await read.catch((error: unknown) => assert.ok(error instanceof EngineError));
    }),
    { numRuns: 300 },
  );
});

function damaged(
  how: (typeof DAMAGE)[number],
  whole: Uint8Array,
  bit: number,
  other: Uint8Array,
): Uint8Array {
  if (how === 'swap') return other;
  if (how === 'cut') return whole.subarray(0, bit % whole.length);
  if (how === 'extend') return Buffer.concat([whole, Uint8Array.of(bit % 256)]);
  const flipped = Uint8Array.from(whole);
  const at = Math.floor(bit / 8) % whole.length;
  flipped[at] = (flipped[at] ?? 0) ^ (1 << (bit % 8));
  return flipped;
}
