/**
 * A user's own store: a Kubo, a trustless HTTP gateway, or an S3-compatible bucket whose objects are
 * named by CID. The engine keeps the CIDs only. Every block that comes is hashed before use, and
 * every connection goes to an address that the deployment allows.
 */
import { createHash, randomUUID } from 'node:crypto';
import { request as requestHttp, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { AwsV4Signer } from 'aws4fetch';
import type { HostConfig } from '../../domain/config.js';
import type { ContentRef } from '../../domain/content.js';
import { anyOf, deadlineIn } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import { checkHost, findRefusal, guardedLookup } from '../net/address-guard.js';
import type { BlockStore, CallOptions } from './block-store.js';
import { cidOf, codecOf, isBlock, MAX_BLOCK_BYTES, parseContentCid } from './cid.js';
import { leavesOf } from './content-store.js';
import { FileTree } from './unixfs.js';

/** Longest error answer that is looked into. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** A user's store. It has no pins of ours: what lies there is the user's to keep. */
export type Host = Pick<BlockStore, 'get' | 'put'>;

/** Opens a user's store. Connects on the first call.
 * @param options - `name`: as the configuration names it, for errors; `timeoutMs`: of each call;
 *   `credentials`: of a bucket, `id:secret`.
 * @returns a store that throws `HOST_UNREACHABLE` — away, or it answers what is no success;
 *   `ADDRESS_REFUSED` — it is where it must not be; `CONTENT_MISSING`, `CONTENT_MISMATCH` and
 *   `CONTENT_TOO_LARGE` as IPFS does. A gateway refuses writes with `REQUEST_INVALID`.
 * @throws CONFIG_INVALID — credentials that are not `id:secret`. */
export function openHost(
  config: Pick<HostConfig, 'kind' | 'url' | 'allowPrivate' | 'region'>,
  options: {
    readonly name: string;
    readonly timeoutMs: number;
    readonly credentials?: string;
  },
): Host {
  const send = sender(config, options);
  const kinds = { kubo: kuboOf, gateway: gatewayOf, s3: bucketOf };
  const { read, write } = kinds[config.kind](config, options);

  return {
    async get(cid, { maxBytes = MAX_BLOCK_BYTES, ...call } = {}) {
      parseContentCid(cid);
      const { status, body } = await send(await read(cid), maxBytes, call);
      if (status === 404 || isAbsent(status, body)) {
        throw new EngineError('CONTENT_MISSING', { cid, host: options.name });
      }
      if (status !== 200) throw away(options.name, `no success, status ${status}`);
      if (!isBlock(cid, body)) throw new EngineError('CONTENT_MISMATCH', { cid });
      return body;
    },

    async put(bytes, { codec = 'raw', ...call } = {}) {
      if (bytes.length > MAX_BLOCK_BYTES) {
        throw new EngineError('CONTENT_TOO_LARGE', {
          bytes: bytes.length,
          maxBytes: MAX_BLOCK_BYTES,
        });
      }
      const cid = cidOf(bytes, codec);
      const { status } = await send(await write(cid, bytes), MAX_ANSWER_BYTES, call);
      if (status !== 200) throw away(options.name, `no success, status ${status}`);
      return cid;
    },
  };
}

/** Streams content to a user's store, block by block, and its nodes after its leaves.
 * @param maxBytes - longer content is refused as soon as it shows.
 * @throws CONTENT_TOO_LARGE — more than `maxBytes`; else as `Host.put`. */
export async function addToHost(
  host: Pick<Host, 'put'>,
  source: AsyncIterable<Uint8Array>,
  { maxBytes, ...call }: CallOptions & { readonly maxBytes: number },
): Promise<ContentRef> {
  let nodes: Uint8Array[] = [];
  const tree = new FileTree((node) => nodes.push(node));
  let bytes = 0;
  const flush = async (): Promise<void> => {
    for (const node of nodes) await host.put(node, { ...call, codec: 'dag-pb' });
    nodes = [];
  };
  for await (const leaf of leavesOf(source, maxBytes)) {
    await host.put(leaf, call);
    tree.addLeaf(leaf);
    bytes += leaf.length;
    await flush();
  }
  if (bytes === 0) await host.put(new Uint8Array(), call);
  const { cid } = tree.finish();
  await flush();
  return { cid, bytes };
}

// --- the kinds ----------------------------------------------------------------------------------

/** One HTTP request. */
interface Ask {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

interface Kind {
  readonly read: (cid: Cid) => Promise<Ask>;
  readonly write: (cid: Cid, bytes: Uint8Array) => Promise<Ask>;
}

function kuboOf({ url }: Pick<HostConfig, 'url'>): Kind {
  const rpc = (path: string, params: Record<string, string>): URL =>
    new URL(`/api/v0/${path}?${new URLSearchParams(params).toString()}`, url);
  return {
    read: async (cid) => ({ url: rpc('block/get', { arg: cid }), method: 'POST', headers: {} }),
    write: async (cid, bytes) => {
      const boundary = randomUUID();
      const head =
        `--${boundary}\r\nContent-Disposition: form-data; name="data"; filename="block"\r\n` +
        'Content-Type: application/octet-stream\r\n\r\n';
      return {
        // The user's own node keeps it: nothing else would.
        url: rpc('block/put', {
          'cid-codec': codecOf(cid),
          mhtype: 'sha2-256',
          pin: isPinned(cid),
        }),
        method: 'POST',
        headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
        body: Buffer.concat([Buffer.from(head), bytes, Buffer.from(`\r\n--${boundary}--\r\n`)]),
      };
    },
  };
}

/** All but documents with links, which would pin what they link as well. */
const isPinned = (cid: Cid): string => String(codecOf(cid) !== 'dag-cbor');

function gatewayOf({ url }: Pick<HostConfig, 'url'>): Kind {
  return {
    read: async (cid) => ({
      url: below(url, `ipfs/${cid}?format=raw`),
      method: 'GET',
      headers: { accept: 'application/vnd.ipld.raw' },
    }),
    write: async () => {
      throw new EngineError('REQUEST_INVALID', { field: 'host', expected: 'a store to write to' });
    },
  };
}

function bucketOf(
  { url, region }: Pick<HostConfig, 'url' | 'region'>,
  { name, credentials = '' }: { readonly name: string; readonly credentials?: string },
): Kind {
  const [, accessKeyId, secretAccessKey] = /^([^:\s]+):(\S+)$/.exec(credentials.trim()) ?? [];
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new EngineError('CONFIG_INVALID', {
      path: `hosts.${name}.credentials`,
      expected: 'id:secret',
    });
  }
  const sign = async (method: string, cid: Cid, body?: Uint8Array): Promise<Ask> => {
    const object = below(url, cid);
    const digest = createHash('sha256')
      .update(body ?? '')
      .digest('hex');
    const signed = await new AwsV4Signer({
      method,
      url: object.href,
      // The bucket compares it with what arrives.
      headers: { 'x-amz-content-sha256': digest },
      accessKeyId,
      secretAccessKey,
      service: 's3',
      region,
    }).sign();
    const headers = Object.fromEntries(signed.headers.entries());
    return { url: object, method, headers, ...(body === undefined ? {} : { body }) };
  };
  return { read: (cid) => sign('GET', cid), write: (cid, bytes) => sign('PUT', cid, bytes) };
}

// --- the wire -----------------------------------------------------------------------------------

interface Answer {
  readonly status: number;
  readonly body: Uint8Array;
}

function sender(
  config: Pick<HostConfig, 'allowPrivate'>,
  { name, timeoutMs }: { readonly name: string; readonly timeoutMs: number },
) {
  const lookup = guardedLookup(config);
  return async (ask: Ask, maxBytes: number, { signal }: CallOptions): Promise<Answer> => {
    signal?.throwIfAborted();
    const deadline = deadlineIn(timeoutMs);
    const either = anyOf(deadline, signal);
    try {
      checkHost(ask.url.hostname, config);
      return await exchange(ask, maxBytes, { lookup, signal: either });
    } catch (cause) {
      signal?.throwIfAborted();
      const refusal = findRefusal(cause);
      if (refusal !== undefined) throw refusal;
      if (cause instanceof EngineError) throw cause;
      throw away(name, deadline.aborted ? 'no answer in time' : 'no success', cause);
    }
  };
}

/** One request and its whole answer. Redirects are not followed: they could lead anywhere. */
function exchange(
  { url, method, headers, body }: Ask,
  maxBytes: number,
  {
    lookup,
    signal,
  }: { readonly lookup: ReturnType<typeof guardedLookup>; readonly signal: AbortSignal },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = url.protocol === 'https:' ? requestHttps : requestHttp;
    const length = body === undefined ? {} : { 'content-length': String(body.length) };
    const outgoing = request(url, { method, headers: { ...headers, ...length }, lookup, signal });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      readAnswer(incoming, maxBytes).then(resolve, reject);
    });
    outgoing.end(body);
  });
}

async function readAnswer(incoming: IncomingMessage, maxBytes: number): Promise<Answer> {
  const status = incoming.statusCode ?? 0;
  // What is no success is only looked into.
  const limit = status === 200 ? maxBytes : MAX_ANSWER_BYTES;
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of incoming as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > limit) {
      incoming.destroy();
      throw new EngineError('CONTENT_TOO_LARGE', { bytes, maxBytes: limit });
    }
    parts.push(part);
  }
  return { status, body: Buffer.concat(parts) };
}

/** What an offline Kubo answers at once about a block it does not have. */
function isAbsent(status: number, body: Uint8Array): boolean {
  return status === 500 && /ipld: could not find/.test(Buffer.from(body).toString('utf8'));
}

/** A place below a URL that may have a path. */
function below(base: string, path: string): URL {
  return new URL(path, base.endsWith('/') ? base : `${base}/`);
}

function away(host: string, reason: string, cause?: unknown): EngineError {
  return new EngineError('HOST_UNREACHABLE', { host, reason }, { cause });
}
