/**
 * CAR files: a tree of blocks as one file that every IPFS implementation reads. Both ways each block
 * is hashed, and an import takes only what hangs on the root.
 * @see https://ipld.io/specs/transport/car/carv1/
 */
import { CarBlockIterator, CarWriter } from '@ipld/car';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import type { BlockStore, CallOptions } from './block-store.js';
import { codecOf, isBlock, parseContentCid } from './cid.js';
import { linksOf } from './links.js';

/** What a transfer has carried. */
export interface CarReport {
  readonly root: Cid;
  readonly blocks: number;
  readonly bytes: number;
  /** Links to what the store did not have. */
  readonly missing: readonly Cid[];
}

/** Writes a tree as a CAR, root first, each block once. Blocks that are not there are left out and
 * counted; the root must be.
 * @param onEnd - is told what was written.
 * @throws as `BlockStore.get`, but for links that lead to nothing. */
export async function* exportCar(
  store: Pick<BlockStore, 'get'>,
  root: Cid,
  onEnd: (report: CarReport) => void,
  options: CallOptions = {},
): AsyncGenerator<Uint8Array> {
  const { writer, out } = CarWriter.create([parseContentCid(root)]);
  const parts = out[Symbol.asyncIterator]();
  const missing: Cid[] = [];
  const seen = new Set<Cid>();
  let [blocks, bytes] = [0, 0];
  const walk = async (): Promise<void> => {
    const left = [root];
    for (let cid = left.pop(); cid !== undefined; cid = left.pop()) {
      if (seen.has(cid)) continue;
      seen.add(cid);
      const block = await found(store, cid, options);
      if (block === null) {
        if (cid === root) throw new EngineError('CONTENT_MISSING', { cid });
        missing.push(cid);
        continue;
      }
      blocks++;
      bytes += block.length;
      // Taken by the reader before the next is fetched: the file is never in memory.
      await writer.put({ cid: parseContentCid(cid), bytes: block });
      left.push(...[...linksOf(cid, block)].reverse());
    }
    onEnd({ root, blocks, bytes, missing });
  };
  // Its failure ends the file, and is thrown after what was written by then.
  const write = async (): Promise<void> => {
    try {
      await walk();
    } finally {
      await writer.close();
    }
  };
  const writing = write();
  writing.catch(() => {});
  for (;;) {
    const part = await parts.next();
    if (part.done === true) break;
    yield part.value;
  }
  await writing;
}

/** Reads a CAR into a store and pins what it brings, block by block.
 * @param options - `root`: the tree that is expected; the file's one root where not given.
 * @throws CONTENT_MISMATCH — a block is not that of its CID, or hangs on nothing before it.
 * @throws REQUEST_INVALID — no CAR, or one with another root; else as `BlockStore.put`. */
export async function importCar(
  store: Pick<BlockStore, 'put'>,
  source: AsyncIterable<Uint8Array>,
  options: CallOptions & { readonly root?: Cid } = {},
): Promise<CarReport> {
  const { root: expected, ...call } = options;
  try {
    const car = await CarBlockIterator.fromIterable(source);
    const [first, ...more] = await car.getRoots();
    const root = first?.toString();
    if (root === undefined || more.length > 0 || (expected ?? root) !== root) throw unfit(expected);
    const wanted = new Set<Cid>([root]);
    const taken = new Set<Cid>();
    let [blocks, bytes] = [0, 0];
    for await (const { cid: name, bytes: block } of car) {
      const cid = name.toString();
      if (!isBlock(cid, block) || !wanted.delete(cid)) {
        throw new EngineError('CONTENT_MISMATCH', { cid });
      }
      taken.add(cid);
      for (const link of linksOf(cid, block)) if (!taken.has(link)) wanted.add(link);
      await store.put(block, { ...call, codec: codecOf(cid) });
      blocks++;
      bytes += block.length;
    }
    if (wanted.has(root)) throw unfit(expected);
    return { root, blocks, bytes, missing: [...wanted] };
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw cause instanceof EngineError ? cause : unfit(expected, cause);
  }
}

async function found(
  store: Pick<BlockStore, 'get'>,
  cid: Cid,
  options: CallOptions,
): Promise<Uint8Array | null> {
  try {
    return await store.get(cid, options);
  } catch (error) {
    if (error instanceof EngineError && error.code === 'CONTENT_MISSING') return null;
    throw error;
  }
}

function unfit(root?: Cid, cause?: unknown): EngineError {
  const expected = root === undefined ? 'a CAR file of one root' : `a CAR file of ${root}`;
  return new EngineError('REQUEST_INVALID', { field: 'car', expected }, { cause });
}
