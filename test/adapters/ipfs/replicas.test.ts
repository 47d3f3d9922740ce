import assert from 'node:assert/strict';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { openBlockStore } from '../../../adapters/ipfs/block-store.js';
import { cidOf } from '../../../adapters/ipfs/cid.js';
import { addContent } from '../../../adapters/ipfs/content-store.js';
import { openKubo } from '../../../adapters/ipfs/kubo.js';
import { linksOf } from '../../../adapters/ipfs/links.js';
import { readWhole } from '../../../adapters/ipfs/read-content.js';
import { repairNodes } from '../../../adapters/ipfs/repair.js';
import type { Cid } from '../../../domain/ids.js';
import { api, Fixture, inChunks, pattern } from './kubo-fixture.js';

const fixture = await Fixture.create();
after(() => fixture.close());
const kubos = await Promise.all(['a', 'b'].map((name) => fixture.kubo(name)));
const [a, b] = kubos.map(({ apiUrl }) => apiUrl) as [string, string];
const nodes = [a, b].map((apiUrl) => openKubo({ apiUrl, timeoutMs: 20_000 }));
const [first, second] = nodes as [(typeof nodes)[0], (typeof nodes)[0]];
const both = openBlockStore({ apiUrl: a, replicas: [b], minReplicas: 2, timeoutMs: 20_000 });
const text = (value: string) => new TextEncoder().encode(value);
const all = { part: 0, of: 1 };

/** The file in which a node of the fixture keeps a block, found by its bytes. */
async function fileOf(name: string, cid: Cid): Promise<string> {
  const multihash = Buffer.from(cid).toString().toUpperCase().slice(1);
  const root = join(fixture.data, name, 'ipfs', 'blocks');
  const files = await readdir(root, { recursive: true });
  // Kubo names files by multihash alone: a CID of it is `b` and two bytes of version and kind first.
  const found = files.find((file) => file.endsWith('.data') && sameHash(file, multihash));
  assert.ok(found, `no file of ${cid}`);
  return join(root, found);
}

/** Base32 of a multihash and of a CID are shifted against each other; they are compared as bytes. */
function sameHash(file: string, cidText: string): boolean {
  const name = file.split('/').at(-1)?.slice(0, -'.data'.length) ?? '';
  return base32(cidText).subarray(2).equals(base32(name));
}

function base32(encoded: string): Buffer {
  const bytes: number[] = [];
  let [bits, value] = [0, 0];
  for (const letter of encoded) {
    value = (value << 5) | 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter);
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >> bits) & 255);
      value &= (1 << bits) - 1;
    }
  }
  return Buffer.from(bytes);
}

test('a block is acknowledged once every node that is asked for has proven it', async () => {
  const cid = await both.put(text('on both'));
  for (const node of nodes) {
    assert.equal(await node.isPinned(cid), true);
    assert.equal(await node.sizeOf(cid), 7);
  }
  await api({ apiUrl: a }, 'repo/gc');
  assert.deepEqual(await both.get(cid), text('on both'));
});

test('a document with links is pinned alone, so that what it links keeps a life of its own', async () => {
  const bytes = Uint8Array.of(0xa1, 0x61, 0x61, 0x01);
  const cid = await both.put(bytes, { codec: 'dag-cbor' });
  assert.equal(cid, cidOf(bytes, 'dag-cbor'));
  assert.equal(await first.isPinned(cid), true);
  await both.unpin(cid);
  assert.equal(await first.isPinned(cid), false);
});

test('with a node away, writes count where enough others remain, and not where they do not', async () => {
  const gone = 'http://127.0.0.1:1';
  const enough = { apiUrl: gone, replicas: [a, b], minReplicas: 2, timeoutMs: 2_000 };
  const cid = await openBlockStore(enough).put(text('two of three'));
  assert.equal(await second.isPinned(cid), true);
  assert.deepEqual(await openBlockStore(enough).get(cid), text('two of three'));
  const tooFew = openBlockStore({ ...enough, minReplicas: 3 });
  await assert.rejects(tooFew.put(text('three')), { code: 'IPFS_UNREACHABLE' });
  await assert.rejects(openBlockStore(enough).unpin(cid), { code: 'IPFS_UNREACHABLE' });
  assert.throws(() => openBlockStore({ ...enough, minReplicas: 4 }), { code: 'CONFIG_INVALID' });
});

test('reads go on to another node when one hangs, lies or has lost the block', async () => {
  const cid = await both.put(text('read me'));
  const hanging = await fixture.server(() => {});
  const lying = await fixture.server((_, response) => response.end('other bytes'));
  const lost = openBlockStore({ apiUrl: a, replicas: [b], timeoutMs: 20_000 });
  for (const wrong of [hanging, lying]) {
    const store = openBlockStore({ apiUrl: wrong, replicas: [b], timeoutMs: 20_000 });
    assert.deepEqual(await store.get(cid), text('read me'));
  }
  await first.unpin(cid);
  await api({ apiUrl: a }, 'repo/gc');
  assert.equal(await first.sizeOf(cid), null);
  assert.deepEqual(await lost.get(cid), text('read me'));
});

test('a block is missing only when every node says so; with one away, nobody knows', async () => {
  const cid = cidOf(text('never written'));
  await assert.rejects(both.get(cid), { code: 'CONTENT_MISSING' });
  const away = { apiUrl: a, replicas: ['http://127.0.0.1:1'], timeoutMs: 2_000 };
  await assert.rejects(openBlockStore(away).get(cid), { code: 'IPFS_UNREACHABLE' });
  const reason = new Error('no longer needed');
  const signal = AbortSignal.abort(reason);
  await assert.rejects(both.get(cid, { signal }), reason);
});

test('a node that has lost everything gets it all back from the other, pins included', async () => {
  const single = await both.put(text('a single block'));
  const bytes = pattern(3 * 1024 * 1024 + 5);
  const { cid: file } = await addContent({ apiUrl: b, timeoutMs: 20_000 }, inChunks(bytes), {
    maxBytes: bytes.length,
  });
  for await (const cid of first.pins()) await first.unpin(cid);
  await api({ apiUrl: a }, 'repo/gc');
  const report = await repairNodes(nodes, all);
  assert.equal(report.missing, report.restored);
  assert.ok(report.restored >= 6, JSON.stringify(report));
  assert.equal(report.lost, 0);
  assert.equal(await first.isPinned(single), true);
  assert.equal(await first.isPinned(file), true);
  await api({ apiUrl: a }, 'repo/gc');
  assert.ok(Buffer.from(await readWhole(first, file, { maxBytes: bytes.length })).equals(bytes));
  const again = await repairNodes(nodes, all);
  assert.deepEqual({ ...again, pins: 0, blocks: 0 }, NOTHING);
});

test('damaged blocks, single ones and leaves of files, are found by their hash and restored', async () => {
  const single = await both.put(text('damage me'));
  const bytes = pattern(2 * 1024 * 1024 + 9, 5);
  const { cid: file } = await addContent({ apiUrl: b, timeoutMs: 20_000 }, inChunks(bytes), {
    maxBytes: bytes.length,
  });
  await repairNodes(nodes, all);
  const [leaf = ''] = linksOf(file, await second.get(file));
  await writeFile(await fileOf('a', single), 'damage ME');
  await writeFile(await fileOf('a', leaf), pattern(1024 * 1024, 77));
  await assert.rejects(first.get(leaf), { code: 'CONTENT_MISMATCH' });
  assert.ok(Buffer.from(await readWhole(both, file, { maxBytes: bytes.length })).equals(bytes));
  const { corrupt, restored, lost } = await repairNodes(nodes, all);
  assert.deepEqual({ corrupt, restored, lost }, { corrupt: 2, restored: 2, lost: 0 });
  assert.deepEqual(await first.get(single), text('damage me'));
  assert.ok(Buffer.from(await readWhole(first, file, { maxBytes: bytes.length })).equals(bytes));
  assert.equal(await first.isPinned(file), true);
});

test('what no node has whole is counted as lost, and nothing else of it is given up', async () => {
  const cid = await both.put(text('gone on both'));
  for (const name of ['a', 'b']) await rm(await fileOf(name, cid));
  const report = await repairNodes(nodes, all);
  assert.equal(report.lost, 2);
  assert.equal(await first.isPinned(cid), true);
  await both.put(text('gone on both'));
  assert.equal((await repairNodes(nodes, all)).lost, 0);
});

test('a node that is away is counted, and with none at all a repair has failed', async () => {
  const away = openKubo({ apiUrl: 'http://127.0.0.1:1', timeoutMs: 500 });
  const report = await repairNodes([first, away], all);
  assert.equal(report.away, 1);
  assert.equal(report.lost, 0);
  await assert.rejects(repairNodes([away], all), { code: 'IPFS_UNREACHABLE' });
});

test('parts of a repair look at every pin once', async () => {
  const whole = await repairNodes(nodes, all);
  let pins = 0;
  for (let part = 0; part < 4; part++) pins += (await repairNodes(nodes, { part, of: 4 })).pins;
  assert.equal(pins, whole.pins);
});

const NOTHING = { pins: 0, blocks: 0, missing: 0, corrupt: 0, restored: 0, lost: 0, away: 0 };
