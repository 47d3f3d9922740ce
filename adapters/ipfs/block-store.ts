/**
 * Blocks on IPFS through a Kubo node. What it adds to `kubo-rpc-client`: a deadline for every call
 * (the client's own `timeout` does nothing), a limit on calls in flight (its `maxSockets` does
 * nothing either), and that bytes count only once they hash to the CID they were asked for by.
 */
import PQueue from 'p-queue';
import { create, type KuboRPCClient } from 'kubo-rpc-client';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import { encodeJson } from './canonical.js';
import { cidOf, parseCid } from './cid.js';

/** Largest block that is written or read, in bytes: what every IPFS implementation exchanges. */
export const MAX_BLOCK_BYTES = 1024 * 1024;

/** Calls in flight to one Kubo; more only queue up inside it. */
const MAX_CALLS = 16;
/** Milliseconds that a Kubo which let a call time out has to say that it is there at all. */
const PROBE_MS = 2_000;

export interface CallOptions {
  /** Gives the call up early; its reason is thrown as it is. */
  readonly signal?: AbortSignal;
}

export interface BlockStore {
  /** Writes and pins a block. Repeating it is harmless: the same bytes have the same CID.
   * @throws CONTENT_TOO_LARGE — more than `MAX_BLOCK_BYTES`.
   * @throws CONTENT_MISMATCH — Kubo stored something under another CID.
   * @throws IPFS_UNREACHABLE — no answer in time, or one that is no success. */
  put(bytes: Uint8Array, options?: CallOptions): Promise<Cid>;
  /** Reads a block and hashes it again before it returns.
   * @param options - `maxBytes`: larger blocks are refused; `MAX_BLOCK_BYTES` where not given.
   * @throws CONTENT_MISMATCH — the bytes are not those of the CID.
   * @throws CONTENT_MISSING — Kubo is there, and did not find the block in time.
   * @throws CONTENT_TOO_LARGE — the block is larger than `maxBytes`.
   * @throws IPFS_UNREACHABLE — Kubo is not there. */
  get(cid: Cid, options?: CallOptions & { readonly maxBytes?: number }): Promise<Uint8Array>;
  /** Gives a block up to garbage collection; one that is not pinned is left as it is.
   * @throws IPFS_UNREACHABLE — no answer in time, or one that is no success. */
  unpin(cid: Cid, options?: CallOptions): Promise<void>;
}

/** Opens the block store of one Kubo. Connects on the first call.
 * @param config - `timeoutMs`: deadline of each call, waiting for its turn included. */
export function openBlockStore(config: {
  readonly apiUrl: string;
  readonly timeoutMs: number;
}): BlockStore {
  const kubo = create({ url: config.apiUrl });
  const queue = new PQueue({ concurrency: MAX_CALLS });

  /** Runs one call under the deadline. `timedOut` decides what no answer in time means. */
  async function call<T>(
    options: CallOptions,
    run: (signal: AbortSignal) => Promise<T>,
    timedOut?: () => Promise<EngineError>,
  ): Promise<T> {
    options.signal?.throwIfAborted();
    const deadline = AbortSignal.timeout(config.timeoutMs);
    const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
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

  return {
    async put(bytes, options = {}) {
      if (bytes.length > MAX_BLOCK_BYTES) throw tooLarge(bytes.length, MAX_BLOCK_BYTES);
      const cid = cidOf(bytes);
      const stored = await call(options, (signal) =>
        kubo.block.put(bytes, {
          format: 'raw',
          mhtype: 'sha2-256',
          version: 1,
          // Not Kubo's default; without it the next garbage collection takes the block.
          pin: true,
          signal,
        }),
      );
      if (stored.toString() !== cid) throw new EngineError('CONTENT_MISMATCH', { cid });
      return cid;
    },

    async get(cid, { maxBytes = MAX_BLOCK_BYTES, ...options } = {}) {
      const name = parseCid(cid);
      const bytes = await call(
        options,
        async (signal) => {
          try {
            return await kubo.block.get(name, { signal });
          } catch (cause) {
            if (isNotFound(cause)) throw new EngineError('CONTENT_MISSING', { cid }, { cause });
            throw cause;
          }
        },
        async () => {
          const reason = await probe(kubo);
          return reason === undefined
            ? new EngineError('CONTENT_MISSING', { cid })
            : unreachable(reason, 'no answer in time');
        },
      );
      if (bytes.length > maxBytes) throw tooLarge(bytes.length, maxBytes);
      if (cidOf(bytes) !== cid) throw new EngineError('CONTENT_MISMATCH', { cid });
      return bytes;
    },

    async unpin(cid, options = {}) {
      const name = parseCid(cid);
      await call(options, async (signal) => {
        try {
          await kubo.pin.rm(name, { signal });
        } catch (cause) {
          if (!(cause instanceof Error && /not pinned/.test(cause.message))) throw cause;
        }
      });
    },
  };
}

/** Writes a document as canonical JSON.
 * @throws as `BlockStore.put`. */
export function putJson(store: BlockStore, value: unknown, options?: CallOptions): Promise<Cid> {
  return store.put(encodeJson(value), options);
}

/** Reads a document.
 * @param parse - checks what it is handed, and throws where it is not a `T`.
 * @throws REQUEST_INVALID — the block is not JSON; else as `BlockStore.get`, or what `parse` throws. */
export async function getJson<T>(
  store: BlockStore,
  cid: Cid,
  parse: (value: unknown) => T,
  options?: CallOptions,
): Promise<T> {
  const bytes = await store.get(cid, options);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    // The parser's own message quotes the document.
    throw new EngineError('REQUEST_INVALID', { field: 'content', expected: 'JSON', cid });
  }
  return parse(value);
}

/** Asks for the version: `undefined` when Kubo answers, else the reason it does not. */
async function probe(kubo: KuboRPCClient): Promise<unknown> {
  try {
    await kubo.version({ signal: AbortSignal.timeout(PROBE_MS) });
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

function tooLarge(bytes: number, maxBytes: number): EngineError {
  return new EngineError('CONTENT_TOO_LARGE', { bytes, maxBytes });
}

function unreachable(cause: unknown, reason: string): EngineError {
  return new EngineError('IPFS_UNREACHABLE', { reason }, { cause });
}
