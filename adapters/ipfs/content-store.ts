/**
 * Content of any size, in and out by stream with flat memory. What goes in is cut and hashed here as
 * well, and the CID that Kubo answers with must be the same; what comes out is hashed block by block
 * before a byte of it is handed on, however it came.
 */
import { randomUUID } from 'node:crypto';
import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { once } from 'node:events';
import { json } from 'node:stream/consumers';
import { EngineError } from '../../domain/errors.js';
import type { ContentRef } from '../../domain/content.js';
import type { Cid } from '../../domain/ids.js';
import { openBlockStore, type BlockStoreConfig, type CallOptions } from './block-store.js';
import { openFileStream } from './file-stream.js';
import { openKubo } from './kubo.js';
import { readContent, type ReadOptions } from './read-content.js';
import { rpcUrl } from './rpc-url.js';
import { unreachable } from './unreachable.js';
import { FileTree, LEAF_BYTES, NODE_LINKS } from './unixfs.js';

export interface AddOptions extends CallOptions {
  /** Longer content is refused while it streams, and nothing of it stays. */
  readonly maxBytes: number;
}

/** Streams content into a Kubo and pins it. Repeating it is harmless: the same bytes have the same
 * CID. At most two leaves are in memory.
 * @param config - `timeoutMs`: longest time in which Kubo takes nothing; when it has all, it has a
 *   tenth of a second more for each MiB. The source has its own deadlines.
 * @throws CONTENT_TOO_LARGE — more than `maxBytes`; nothing is pinned.
 * @throws CONTENT_MISMATCH — Kubo has stored something else.
 * @throws IPFS_UNREACHABLE — no answer in time, or one that is no success; nothing is acknowledged.
 *   What the source throws is thrown as it is. */
export async function addContent(
  config: { readonly apiUrl: string; readonly timeoutMs: number },
  source: AsyncIterable<Uint8Array>,
  options: AddOptions,
): Promise<ContentRef> {
  const { signal } = options;
  signal?.throwIfAborted();
  const upload = openUpload(config.apiUrl);
  const { outgoing, answer } = upload;
  const onAbort = () => outgoing.destroy();
  signal?.addEventListener('abort', onAbort, { once: true });
  const tree = new FileTree();
  let bytes = 0;
  try {
    await within(config.timeoutMs, outgoing, write(outgoing, upload.head), answer);
    for await (const leaf of leavesOf(source, options.maxBytes)) {
      signal?.throwIfAborted();
      tree.addLeaf(leaf);
      bytes += leaf.length;
      await within(config.timeoutMs, outgoing, write(outgoing, leaf), answer);
    }
    outgoing.end(upload.tail);
    const patienceMs = config.timeoutMs + bytes / 10_486;
    const stored = await within(patienceMs, outgoing, answer);
    const root = tree.finish();
    if (stored !== root.cid) throw new EngineError('CONTENT_MISMATCH', { cid: root.cid });
    return { cid: root.cid, bytes };
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    // Cut short, it is no file to Kubo: nothing gets pinned.
    outgoing.destroy();
  }
}

/** The CID that content has wherever it is added.
 * @throws CONTENT_TOO_LARGE — more than `maxBytes`. What the source throws is thrown as it is. */
export async function cidOfContent(
  source: AsyncIterable<Uint8Array>,
  { maxBytes }: { readonly maxBytes: number },
): Promise<Cid> {
  const tree = new FileTree();
  for await (const leaf of leavesOf(source, maxBytes)) tree.addLeaf(leaf);
  return tree.finish().cid;
}

/** Content of any size in the store of a deployment. */
export interface ContentStore {
  /** Streams content in; every node that must hold it has it pinned then.
   * @throws as `addContent`. */
  add(source: AsyncIterable<Uint8Array>, options: AddOptions): Promise<ContentRef>;
  /** Streams content out, hashed; order, sizes and ranges are checked.
   * @throws as `readContent`. */
  read(cid: Cid, options: ReadOptions): AsyncIterable<Uint8Array>;
}

/** Opens a deployment's store for content of any size. Connects on the first call. */
export function openContentStore(config: BlockStoreConfig): ContentStore {
  const { apiUrl, timeoutMs, replicas = [], minReplicas = 1 } = config;
  const { get } = openBlockStore(config);
  const source = { get, stream: openFileStream(apiUrl) };
  return {
    async add(source, options) {
      const content = await addContent({ apiUrl, timeoutMs }, source, options);
      const first = openKubo({ apiUrl, timeoutMs });
      const copies = await Promise.allSettled(
        replicas.map((url) =>
          addContent({ apiUrl: url, timeoutMs }, readContent(first, content.cid, options), options),
        ),
      );
      const failed = copies.filter((copy) => copy.status === 'rejected');
      const [failure] = failed;
      // A repair brings the others what they miss.
      if (failure !== undefined && 1 + copies.length - failed.length < minReplicas) {
        throw failure.reason;
      }
      return content;
    },
    read: (cid, options) => readContent(source, cid, options),
  };
}

/** Cuts a stream into leaves: all but the last are `LEAF_BYTES` long.
 * @throws CONTENT_TOO_LARGE — more than `maxBytes`, as soon as it shows. */
export async function* leavesOf(
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  let leaf = Buffer.allocUnsafe(LEAF_BYTES);
  let [filled, bytes] = [0, 0];
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new EngineError('CONTENT_TOO_LARGE', { bytes, maxBytes });
    for (let at = 0; at < chunk.length;) {
      const taken = chunk.subarray(at, at + LEAF_BYTES - filled);
      leaf.set(taken, filled);
      filled += taken.length;
      at += taken.length;
      if (filled === LEAF_BYTES) {
        yield leaf;
        // Who was handed the last one may still be sending it.
        leaf = Buffer.allocUnsafe(LEAF_BYTES);
        filled = 0;
      }
    }
  }
  if (filled > 0) yield leaf.subarray(0, filled);
}

interface Upload {
  readonly outgoing: ClientRequest;
  /** CID of the root, once Kubo has pinned it. */
  readonly answer: Promise<string>;
  readonly head: string;
  readonly tail: string;
}

function openUpload(apiUrl: string): Upload {
  const url = rpcUrl(apiUrl, 'add');
  url.search = new URLSearchParams({
    // Under one lock with the write: garbage collection cannot come between.
    pin: 'true',
    'cid-version': '1',
    'raw-leaves': 'true',
    hash: 'sha2-256',
    chunker: `size-${LEAF_BYTES}`,
    'max-file-links': String(NODE_LINKS),
    trickle: 'false',
    inline: 'false',
    progress: 'false',
  }).toString();
  const boundary = randomUUID();
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  const outgoing = request(url, {
    method: 'POST',
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
  });
  const answer = readAnswer(outgoing);
  // Looked at when it is waited for.
  answer.catch(() => {});
  const headers =
    'Content-Disposition: form-data; name="file"; filename="content"\r\n' +
    'Content-Type: application/octet-stream\r\n';
  return {
    outgoing,
    answer,
    head: `--${boundary}\r\n${headers}\r\n`,
    tail: `\r\n--${boundary}--\r\n`,
  };
}

async function readAnswer(outgoing: ClientRequest): Promise<string> {
  try {
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    const answer = (await json(response)) as { readonly Hash?: unknown };
    if (response.statusCode !== 200 || typeof answer.Hash !== 'string') {
      throw unreachable(undefined, `no success, status ${response.statusCode ?? 0}`);
    }
    return answer.Hash;
  } catch (cause) {
    throw cause instanceof EngineError ? cause : unreachable(cause, 'no success');
  }
}

/** Resolves when the connection takes more. */
function write(outgoing: ClientRequest, bytes: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    outgoing.write(bytes, (error) => {
      if (error) reject(unreachable(error, 'no success'));
      else resolve();
    });
  });
}

/** Waits for a step. One that an early answer overtakes has failed, as Kubo answers only at the end. */
async function within<T>(
  limitMs: number,
  outgoing: ClientRequest,
  step: Promise<T>,
  answer?: Promise<unknown>,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(unreachable(undefined, 'no answer in time'));
      outgoing.destroy();
    }, limitMs);
  });
  const early = answer?.then(() => {
    throw unreachable(undefined, 'answered before it had all');
  });
  try {
    return await Promise.race(early === undefined ? [step, late] : [step, late, early]);
  } finally {
    clearTimeout(timer);
  }
}
