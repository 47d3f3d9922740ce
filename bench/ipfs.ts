/**
 * What hashing every block costs: content of 256 MiB in and out through the engine beside Kubo's own
 * client, which believes what it gets, in turns against one Kubo; and the memory of this process
 * while 1 GiB streams in and out. Both sides write under the same options, so the CIDs are the same.
 */
import { randomBytes } from 'node:crypto';
import { create } from 'kubo-rpc-client';
import { openContentStore } from '../adapters/ipfs/content-store.js';
import { LEAF_BYTES, NODE_LINKS } from '../adapters/ipfs/unixfs.js';
import { startKubo } from '../servers/start/index.js';
import type { Bench } from './bench.js';
import { quantile } from './network/ask.js';

const MEBIBYTE = 1024 * 1024;
const SIZE = 256 * MEBIBYTE;
const LARGE = 1024 * MEBIBYTE;
/** Of each side; the first is its warm-up. */
const TURNS = 5;
/** In each turn: they are shorter, and vary more. */
const READS = 3;
const TIMEOUT_MS = 60_000;

export const ipfs: Bench = {
  name: 'ipfs',
  what: "content of 256 MiB in and out beside Kubo's own client; memory of a stream of 1 GiB",
  target: { add_ratio: { max: 1.1 }, read_ratio: { max: 1.1 }, peak_mb_1gib: { max: 256 } },
  async run({ data, say, defer }) {
    const kubo = await startKubo({ data, onProgress: ({ message }) => say(message) });
    defer(() => kubo.stop());
    const store = openContentStore({ apiUrl: kubo.apiUrl, timeoutMs: TIMEOUT_MS });
    const peak = watchMemory();
    const large = await store.add(fresh(LARGE), { maxBytes: LARGE });
    await drain(store.read(large.cid, { maxBytes: LARGE }));
    const peakMb = peak() / 1e6;
    say(`1 GiB in and out: at most ${peakMb.toFixed(0)} MB of this process`);
    const stock = create({ url: kubo.apiUrl });
    const sides = {
      own: {
        add: async () => (await store.add(fresh(SIZE), { maxBytes: SIZE })).cid,
        read: (cid: string) => drain(store.read(cid, { maxBytes: SIZE })),
      },
      stock: {
        add: async () => (await stock.add(fresh(SIZE), OPTIONS)).cid.toString(),
        read: (cid: string) => drain(stock.cat(cid)),
      },
    };
    const times = { add: { own: [], stock: [] }, read: { own: [], stock: [] } } as Times;
    for (let turn = 0; turn < TURNS; turn++) {
      for (const side of turn % 2 === 0 ? SIDES : [...SIDES].reverse()) {
        const [addMs, cid] = await timed(sides[side].add);
        if (turn > 0) times.add[side].push(addMs);
        for (let read = 0; read < READS; read++) {
          const [readMs] = await timed(() => sides[side].read(cid));
          if (turn > 0) times.read[side].push(readMs);
        }
      }
      say(`turn ${turn + 1} of ${TURNS}`);
    }
    const rate = (list: readonly number[]) => SIZE / MEBIBYTE / (quantile(list, 0.5) / 1_000);
    const { add, read } = times;
    return {
      add_ratio: quantile(add.own, 0.5) / quantile(add.stock, 0.5),
      read_ratio: quantile(read.own, 0.5) / quantile(read.stock, 0.5),
      add_mib_per_s: rate(add.own),
      add_mib_per_s_kubo_client: rate(add.stock),
      read_mib_per_s: rate(read.own),
      read_mib_per_s_kubo_client: rate(read.stock),
      peak_mb_1gib: peakMb,
    };
  },
};

const SIDES = ['own', 'stock'] as const;
type Side = (typeof SIDES)[number];
type Times = Readonly<Record<'add' | 'read', Record<Side, number[]>>>;

const OPTIONS = {
  cidVersion: 1,
  rawLeaves: true,
  chunker: `size-${LEAF_BYTES}`,
  maxFileLinks: NODE_LINKS,
  pin: true,
} as const;

/** Content that no Kubo has seen: what it has, it would not write again. */
async function* fresh(bytes: number): AsyncGenerator<Uint8Array> {
  const leaf = randomBytes(MEBIBYTE);
  for (let at = 0; at < bytes; at += MEBIBYTE) {
    leaf.writeUInt32LE(at / MEBIBYTE);
    yield Uint8Array.from(leaf);
  }
}

async function drain(stream: AsyncIterable<Uint8Array>): Promise<void> {
  let bytes = 0;
  for await (const part of stream) bytes += part.length;
  if (bytes === 0) throw new Error('nothing was read');
}

async function timed<T>(work: () => Promise<T>): Promise<[ms: number, result: T]> {
  const startedAt = performance.now();
  const result = await work();
  return [performance.now() - startedAt, result];
}

/** Looks at the memory of this process until it is asked for the most that it was, in bytes. */
function watchMemory(): () => number {
  let peak = 0;
  const look = () => void (peak = Math.max(peak, process.memoryUsage.rss()));
  const timer = setInterval(look, 20);
  return () => {
    clearInterval(timer);
    look();
    return peak;
  };
}
