/**
 * Writing and pinning raw blocks, many to one request. Kubo takes any number in one `block/put`; one
 * request a block costs the writer three milliseconds of CPU, most of it for the request itself.
 * @see https://docs.ipfs.tech/reference/kubo/rpc/#api-v0-block-put
 */
import { randomBytes } from 'node:crypto';
import * as http from 'node:http';
import * as https from 'node:https';
import { deadlineIn } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import type { CallOptions } from './block-store.js';
import { MAX_BLOCK_BYTES } from './cid.js';
import { rpcUrl } from './rpc-url.js';
import { unreachable } from './unreachable.js';

/** Requests under way; what comes meanwhile gathers for the next. */
const MAX_REQUESTS = 2;
const MAX_BLOCKS = 64;
/** Of one request; a single block is always taken. */
const MAX_BYTES = 4 * MAX_BLOCK_BYTES;
/** An answer has a hundred bytes a block. */
const MAX_ANSWER_BYTES = 64 * 1024;
const QUERY = 'cid-codec=raw&mhtype=sha2-256&pin=true';

interface Waiting {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
  /** Milliseconds on the clock of `performance`. */
  readonly dueAt: number;
  isDropped: boolean;
  readonly settle: (error?: unknown) => void;
}

/** Writes and pins one raw block; resolves when Kubo has said so under this CID.
 * @throws CONTENT_MISMATCH — Kubo stored something under another CID.
 * @throws IPFS_UNREACHABLE — no answer in time, or one that is no success.
 * @throws the signal's reason. */
export type RawWriter = (cid: Cid, bytes: Uint8Array, options: CallOptions) => Promise<void>;

/** Opens a writer to one Kubo. A lonely block leaves at once.
 * @param config - `timeoutMs`: for each block, waiting for its turn included. */
export function openRawWriter(config: {
  readonly apiUrl: string;
  readonly timeoutMs: number;
}): RawWriter {
  const send = openSender(config.apiUrl);
  const waiting: Waiting[] = [];
  let requests = 0;
  let isScheduled = false;

  function take(): Waiting[] {
    const batch: Waiting[] = [];
    for (let size = 0; batch.length < MAX_BLOCKS;) {
      const next = waiting[0];
      if (next === undefined) break;
      size += next.bytes.length;
      if (size > MAX_BYTES && batch.length > 0) break;
      waiting.shift();
      if (!next.isDropped) batch.push(next);
    }
    return batch;
  }

  /** Gathers what is written in the same turn of the event loop. */
  function schedule(): void {
    if (isScheduled || requests >= MAX_REQUESTS || waiting.length === 0) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      void write(take());
    });
  }

  async function write(batch: readonly Waiting[]): Promise<void> {
    if (batch.length === 0) return schedule();
    requests++;
    const leftMs = Math.min(...batch.map(({ dueAt }) => dueAt)) - performance.now();
    try {
      const keys = await send(batch, deadlineIn(Math.max(1, Math.ceil(leftMs))));
      batch.forEach(({ cid, settle }, i) => {
        const key = keys[i];
        if (key === cid) settle();
        else if (key === undefined) settle(unreachable(undefined, 'no success'));
        else settle(new EngineError('CONTENT_MISMATCH', { cid }));
      });
    } catch (cause) {
      const isLate = cause instanceof Error && cause.name === 'TimeoutError';
      const reason = isLate ? 'no answer in time' : 'no success';
      for (const { settle } of batch) settle(unreachable(cause, reason));
    } finally {
      requests--;
      schedule();
    }
  }

  return (cid, bytes, { signal }) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error);
      const drop = (): void => {
        item.isDropped = true;
        item.settle(signal?.reason);
      };
      const item: Waiting = {
        cid,
        bytes,
        dueAt: performance.now() + config.timeoutMs,
        isDropped: false,
        settle: (error) => {
          signal?.removeEventListener('abort', drop);
          if (error === undefined) resolve();
          else reject(error as Error);
        },
      };
      signal?.addEventListener('abort', drop, { once: true });
      waiting.push(item);
      // Its deadline is later than those of all that are under way: its turn comes in time.
      schedule();
    });
}

type Sender = (
  blocks: readonly { readonly bytes: Uint8Array }[],
  signal: AbortSignal,
) => Promise<readonly Cid[]>;

function openSender(apiUrl: string): Sender {
  const url = rpcUrl(apiUrl, `block/put?${QUERY}`);
  const client = url.protocol === 'https:' ? https : http;
  const agent = new client.Agent({ keepAlive: true, maxSockets: MAX_REQUESTS });
  return (blocks, signal) =>
    new Promise((resolve, reject) => {
      const boundary = randomBytes(16).toString('hex');
      const body = multipart(blocks, boundary);
      const headers = {
        'content-type': `multipart/form-data; boundary=${boundary}`,
        'content-length': body.length,
      };
      const request = client.request(url, { method: 'POST', agent, headers, signal }, (answer) => {
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (part: string) => {
          text += part;
          if (text.length > MAX_ANSWER_BYTES) answer.destroy(new Error('the answer is too long'));
        });
        answer.on('error', reject);
        answer.on('end', () => {
          if (answer.statusCode === 200) resolve(keysOf(text));
          else reject(new Error(`status ${answer.statusCode}`));
        });
      });
      // Node wraps the signal's reason into an error of its own.
      request.on('error', (cause) => reject(signal.aborted ? (signal.reason as Error) : cause));
      request.end(body);
    });
}

function multipart(blocks: readonly { readonly bytes: Uint8Array }[], boundary: string): Buffer {
  const parts = blocks.flatMap(({ bytes }, i) => [
    Buffer.from(
      `--${boundary}\r\ncontent-disposition: form-data; name="data"; filename="${i}"\r\n` +
        `content-type: application/octet-stream\r\n\r\n`,
    ),
    bytes,
    Buffer.from('\r\n'),
  ]);
  return Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)]);
}

/** One line a block, in their order; a line that is none ends them: Kubo failed in the middle. */
function keysOf(text: string): Cid[] {
  const keys: Cid[] = [];
  for (const line of text.split('\n')) {
    try {
      const { Key: key } = JSON.parse(line) as { Key?: unknown };
      if (typeof key !== 'string') break;
      keys.push(key);
    } catch {
      break;
    }
  }
  return keys;
}
