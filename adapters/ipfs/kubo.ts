/**
 * One Kubo node, call by call. What it adds to `kubo-rpc-client`: a deadline for every call (the
 * client's own `timeout` does nothing), a limit on calls in flight (its `maxSockets` does nothing
 * either), and that bytes count only once they hash to the CID they were asked for by.
 */
import PQueue from 'p-queue';
import { create, type KuboRPCClient } from 'kubo-rpc-client';
import type { CID } from 'multiformats/cid';
import { anyOf, deadlineIn } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import type { BlockStore, CallOptions, PutOptions } from './block-store.js';
import { openBlockReader } from './block-reader.js';
import { asBytes, cidOf, codecOf, isBlock, MAX_BLOCK_BYTES, parseContentCid } from './cid.js';
import { openRawWriter } from './raw-writer.js';
import { unreachable } from './unreachable.js';

/** Calls in flight to one Kubo; more only queue up inside it. */
const MAX_CALLS = 16;
/** Milliseconds that a Kubo which let a call time out has to say that it is there at all. */
const PROBE_MS = 2_000;
/** A block store that can also be looked after. A pin holds what it names and all that this links;
 * a block that is to be held alone is pinned as bytes, under which nothing hangs: Kubo keeps blocks by
 * their hash, whatever they hold. */
export interface KuboNode extends BlockStore {
  /** True when a block is pinned, alone or with what it links; not when only through another.
   * @throws IPFS_UNREACHABLE — no answer in time, or one that is no success. */
  isPinned(cid: Cid, options?: CallOptions): Promise<boolean>;
  /** Bytes of a block in the node's own repository; `null` where it is not in it. They are not
   * hashed: a block of the right size may be damaged.
   * @throws IPFS_UNREACHABLE — no answer in time, or one that is no success. */
  sizeOf(cid: Cid, options?: CallOptions): Promise<number | null>;
  /** Every block that the node has pinned with what it links, without an order. Each must come in time;
   * the whole list may take as long as it takes.
   * @throws IPFS_UNREACHABLE — no answer in time, or one that is no success. */
  pins(options?: CallOptions): AsyncIterable<Cid>;
  /** Pins a block that the node has, with all that it links.
   * @throws CONTENT_MISSING — it has not all of it. @throws IPFS_UNREACHABLE — as `isPinned`. */
  pin(cid: Cid, options?: CallOptions): Promise<void>;
  /** Writes a block in place of what the node holds under its CID, without pinning it: Kubo keeps
   * damaged bytes when it is handed the right ones.
   * @throws IPFS_UNREACHABLE — as `isPinned`, or the block is pinned. */
  rewrite(cid: Cid, bytes: Uint8Array, options?: CallOptions): Promise<void>;
}

/** Opens one Kubo. Connects on the first call.
 * @param config - `timeoutMs`: deadline of each call, waiting for its turn included. */
export function openKubo(config: {
  readonly apiUrl: string;
  readonly timeoutMs: number;
}): KuboNode {
  const kubo = create({ url: config.apiUrl });
  const queue = new PQueue({ concurrency: MAX_CALLS });
  const writeRaw = openRawWriter(config);
  const readBlock = openBlockReader(config.apiUrl);

  /** Runs one call under the deadline. `timedOut` decides what no answer in time means. */
  async function call<T>(
    options: CallOptions,
    run: (signal: AbortSignal) => Promise<T>,
    timedOut?: () => Promise<EngineError>,
  ): Promise<T> {
    options.signal?.throwIfAborted();
    const deadline = deadlineIn(config.timeoutMs);
    const signal = anyOf(deadline, options.signal);
    let hasStarted = false;
    try {
      return await queue.add(
        () => {
          hasStarted = true;
          return run(signal);
        },
        { signal },
      );
    } catch (cause) {
      options.signal?.throwIfAborted();
      if (cause instanceof EngineError) throw cause;
      if (deadline.aborted && hasStarted && timedOut) throw await timedOut();
      throw unreachable(cause, deadline.aborted ? 'no answer in time' : 'no success');
    }
  }

  /** Without a pin: the next garbage collection may take it. */
  async function write(cid: Cid, bytes: Uint8Array, options: CallOptions): Promise<void> {
    const stored = await call(options, (signal) =>
      kubo.block.put(bytes, {
        format: codecOf(cid),
        mhtype: 'sha2-256',
        version: 1,
        pin: false,
        signal,
      }),
    );
    if (stored.toString() !== cid) throw new EngineError('CONTENT_MISMATCH', { cid });
  }

  async function drop(cid: Cid, options: CallOptions): Promise<void> {
    const name = parseContentCid(cid);
    await call(options, async (signal) => {
      for await (const { error } of kubo.block.rm(name, { force: true, signal })) {
        if (error != null) throw error;
      }
    });
  }

  const node: KuboNode = {
    async put(bytes, { codec = 'raw', ...options }: PutOptions = {}) {
      if (bytes.length > MAX_BLOCK_BYTES) throw tooLarge(bytes.length, MAX_BLOCK_BYTES);
      const cid = cidOf(bytes, codec);
      // Written and pinned in one call, so that no garbage collection comes between; and as bytes,
      // since what it links has a life of its own.
      await writeRaw(asBytes(cid), bytes, options);
      return cid;
    },

    async get(cid, { maxBytes = MAX_BLOCK_BYTES, ...options } = {}) {
      parseContentCid(cid);
      const bytes = await call(
        options,
        (signal) => readBlock(cid, { signal, maxBytes }),
        async () => {
          const reason = await probe(kubo);
          return reason === undefined
            ? new EngineError('CONTENT_MISSING', { cid })
            : unreachable(reason, 'no answer in time');
        },
      );
      if (!isBlock(cid, bytes)) throw new EngineError('CONTENT_MISMATCH', { cid });
      return bytes;
    },

    async unpin(cid, options = {}) {
      for (const name of namesOf(cid)) {
        await call(options, async (signal) => {
          try {
            await kubo.pin.rm(name, { signal });
          } catch (cause) {
            if (!(cause instanceof Error && /not pinned/.test(cause.message))) throw cause;
          }
        });
      }
    },

    async remove(cid, options = {}) {
      await node.unpin(cid, options);
      await drop(cid, options);
    },

    async isPinned(cid, options = {}) {
      const names = namesOf(cid);
      return await call(options, async (signal) => {
        for (const paths of names) {
          try {
            for await (const _ of kubo.pin.ls({ paths, type: 'recursive', signal })) return true;
          } catch (cause) {
            if (!(cause instanceof Error && /is not pinned/.test(cause.message))) throw cause;
          }
        }
        return false;
      });
    },

    async sizeOf(cid, options = {}) {
      const name = parseContentCid(cid);
      return await call(options, async (signal) => {
        try {
          return (await kubo.block.stat(name, { signal, ...LOCAL })).size;
        } catch (cause) {
          if (isNotFound(cause)) return null;
          throw cause;
        }
      });
    },

    async *pins({ signal } = {}) {
      const idle = new AbortController();
      const timer = setTimeout(() => idle.abort(), config.timeoutMs);
      try {
        const found = kubo.pin.ls({ type: 'recursive', signal: anyOf(idle.signal, signal) });
        for await (const { cid } of found) {
          // Pins of others: what the engine does not write, it does not look after.
          if (isOurs(cid.toString())) yield cid.toString();
          timer.refresh();
        }
      } catch (cause) {
        signal?.throwIfAborted();
        throw unreachable(cause, idle.signal.aborted ? 'no answer in time' : 'no success');
      } finally {
        clearTimeout(timer);
      }
    },

    async pin(cid, options = {}) {
      const name = parseContentCid(cid);
      await call(options, async (signal) => {
        try {
          await kubo.pin.add(name, { signal });
        } catch (cause) {
          if (isNotFound(cause)) throw new EngineError('CONTENT_MISSING', { cid }, { cause });
          throw cause;
        }
      });
    },

    async rewrite(cid, bytes, options = {}) {
      await drop(cid, options);
      await write(cid, bytes, options);
    },
  };
  return node;
}

/** Asks a Kubo with peers for what it has itself. */
const LOCAL = { offline: true };

/** Asks for the version: `undefined` when Kubo answers, else the reason it does not. */
async function probe(kubo: KuboRPCClient): Promise<unknown> {
  try {
    await kubo.version({ signal: deadlineIn(PROBE_MS) });
    return undefined;
  } catch (reason) {
    return reason;
  }
}

/** True for what an offline Kubo answers at once about a block it does not have. Told by its own
 * words: a proxy's `404 page not found` is no word about the block. */
function isNotFound(error: unknown): boolean {
  return error instanceof Error && /ipld: could not find/.test(error.message);
}

/** The names under which a block may be pinned: with what it links, and alone. */
function namesOf(cid: Cid): readonly CID[] {
  const names = new Set([cid, asBytes(cid)]);
  return [...names].map(parseContentCid);
}

function isOurs(cid: string): boolean {
  try {
    parseContentCid(cid);
    return true;
  } catch {
    return false;
  }
}

function tooLarge(bytes: number, maxBytes: number): EngineError {
  return new EngineError('CONTENT_TOO_LARGE', { bytes, maxBytes });
}
